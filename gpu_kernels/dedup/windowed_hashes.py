"""Hashes of what is shown in windows, gathered as a video goes by."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.dedup.picture_hashes import BITS, GREY, VIEWS, luma_hashes, luma_of
from gpu_kernels.dedup.windows import BLOCK_FRAMES, shown_in, window_of


class InWindows(NamedTuple):
    """Of those samples that have a window.

    Attributes:
        frames: int32 [n], increasing.
        hashes: uint8 [n, len(VIEWS), 32]; greys: uint8 [n, 9, 16], of what the window shows.
    """

    frames: NDArray[np.int32]
    hashes: NDArray[np.uint8]
    greys: NDArray[np.uint8]


_NONE = InWindows(np.zeros(0, np.int32), np.zeros((0, len(VIEWS), BITS // 8), np.uint8), np.zeros((0, *GREY), np.uint8))


class WindowedHashes:
    """Looks for a window in each block of frames by itself: what is found depends on nothing else.

    Args:
        first: frame of the video to begin with, the first of a block.
    """

    def __init__(self, first: int = 0) -> None:
        self._block = first // BLOCK_FRAMES
        self._samples: dict[int, NDArray[np.uint8]] = {}
        self._overviews: dict[int, NDArray[np.uint8]] = {}
        self._done: list[InWindows] = []

    def add(
        self,
        samples: NDArray[np.int32],
        thumbnails: NDArray[np.uint8],
        overviews: NDArray[np.int32],
        pictures: NDArray[np.uint8],
        seen: int,
    ) -> None:
        """Take what comes next.

        Args:
            samples, thumbnails: int32 [n] and uint8 [n, 27, 48, 3], frames to hash.
            overviews, pictures: int32 [m] and uint8 [m, 81, 144], frames to find windows in, and these, grey.
            seen: frames of the video that are read by then.
        """
        self._samples |= dict(zip(samples.tolist(), thumbnails, strict=True))
        self._overviews |= dict(zip(overviews.tolist(), pictures, strict=True))
        while (end := (self._block + 1) * BLOCK_FRAMES) <= seen:
            self._done.append(_hashed(*(_before(end, each) for each in (self._samples, self._overviews))))
            self._samples, self._overviews = (
                {frame: each[frame] for frame in each if frame >= end} for each in (self._samples, self._overviews)
            )
            self._block += 1

    def found(self, ended: bool) -> InWindows:
        """What is in windows in all complete blocks; and in the last one, once the video has ended."""
        every = [_NONE, *self._done, *([_hashed(self._samples, self._overviews)] if ended else [])]
        return InWindows(*(np.concatenate(values) for values in zip(*every, strict=True)))


def _before(end: int, frames: dict[int, NDArray[np.uint8]]) -> dict[int, NDArray[np.uint8]]:
    return {frame: picture for frame, picture in frames.items() if frame < end}


def _hashed(samples: dict[int, NDArray[np.uint8]], overviews: dict[int, NDArray[np.uint8]]) -> InWindows:
    window = window_of(np.stack([*overviews.values()])) if samples and overviews else None
    if window is None:
        return _NONE
    shown = luma_hashes(shown_in(window, luma_of(np.stack([*samples.values()]))))
    return InWindows(np.array([*samples], np.int32), shown.hashes, shown.greys)
