import numpy as np
import pytest

from gpu_kernels.dedup.picture_track import PictureTrack, on_grid


def track(times_ns: np.ndarray) -> PictureTrack:
    random = np.random.default_rng(1)
    count = len(times_ns)
    return PictureTrack(
        times_ns,
        random.integers(0, 256, (count, 3, 32), np.uint8),
        random.integers(0, 256, (count, 9, 16), np.uint8),
    )


def test_the_grid_does_not_depend_on_where_one_begins_to_look():
    random = np.random.default_rng(1)
    pts_ns = np.cumsum(random.integers(1, 90_000_000, 500)) + 7_000_000_000
    pts_ns[300:] += 3_000_000_000  # a pause
    whole = on_grid(pts_ns, pts_ns[0])
    expected, seen = [], set()
    for time in pts_ns.tolist():
        cell = (time - int(pts_ns[0])) // 100_000_000
        expected.append(cell not in seen)
        seen.add(cell)
    assert whole.tolist() == expected
    for cut in (1, 99, 301, 499):
        assert np.array_equal(on_grid(pts_ns[cut:], pts_ns[0], pts_ns[cut - 1]), whole[cut:])


def test_between_takes_the_start_and_leaves_the_end():
    whole = track(np.arange(0, 10) * 100)
    part = whole.between(200, 500)
    assert part.times_ns.tolist() == [200, 300, 400]
    assert np.array_equal(part.hashes, whole.hashes[2:5])
    assert len(whole.between(950, 2000)) == 0


def test_a_track_whose_parts_do_not_fit_is_refused():
    with pytest.raises(ValueError, match="do not increase"):
        track(np.array([0, 2, 2]))
    good = track(np.arange(3))
    with pytest.raises(ValueError, match="2 times"):
        PictureTrack(good.times_ns[:2], good.hashes, good.greys)
