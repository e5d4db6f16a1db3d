import numpy as np
import pytest

from gpu_kernels.captioners.windows import caption_windows, window_frames


@pytest.mark.parametrize(
    ("length", "lengths"),
    [
        (0, []),
        (3, []),
        (4, [4]),
        (256, [256]),
        (383, [383]),
        (384, [256, 128]),
        (511, [256, 255]),
        (512, [256, 256]),
        (639, [256, 383]),
        (640, [256, 256, 128]),
    ],
)
def test_windows_follow_the_remainder_rule_and_tile_the_clip(length: int, lengths: list[int]) -> None:
    windows = caption_windows(1000, 1000 + length)
    assert [end - start for start, end in windows] == lengths
    bounds = [1000, *(end for _, end in windows)]
    assert [start for start, _ in windows] == bounds[:-1]
    assert not windows or bounds[-1] == 1000 + length


def test_a_clip_that_ends_before_it_starts_is_an_error() -> None:
    with pytest.raises(ValueError, match="before its start"):
        caption_windows(10, 9)
    with pytest.raises(ValueError, match="remainder"):
        caption_windows(0, 100, window=64, remainder=65)


STORYBOARD = np.arange(0, 1200, 12)


def test_frames_inside_the_window_are_chosen_in_an_even_number() -> None:
    positions = window_frames(STORYBOARD, 256, 512)
    inside = [k for k, frame in enumerate(STORYBOARD) if 256 <= frame < 512]
    assert len(inside) == 21
    assert len(positions) == 20
    assert (positions[0], positions[-1]) == (inside[0], inside[-1])
    assert set(positions) < set(inside)


def test_many_frames_are_thinned_evenly_to_the_limit() -> None:
    positions = window_frames(np.arange(5000), 0, 5000, max_frames=768)
    assert len(positions) == 768
    assert (positions[0], positions[-1]) == (0, 4999)
    assert set(np.diff(positions)) == {6, 7}


def test_few_frames_inside_are_completed_by_the_nearest() -> None:
    assert window_frames(STORYBOARD, 600, 606) == [49, 50, 51, 52]  # frames 588, 600, 612, 624
    assert window_frames(STORYBOARD, 0, 13) == [0, 1, 2, 3]
    assert window_frames([0, 20, 40], 0, 50) == [0, 2]
    assert window_frames([7], 0, 50) == [0]


def test_a_storyboard_that_cannot_represent_a_window_is_an_error() -> None:
    for storyboard in ([], [3, 3], [5, 4]):
        with pytest.raises(ValueError, match="storyboard"):
            window_frames(storyboard, 0, 10)
