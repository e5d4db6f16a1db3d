"""What small pictures of every frame tell: change, contrast, colourfulness, and how even they are."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_EVEN = 10
"""Grey levels by which a pixel of an even picture may differ from its median colour, in each channel."""


class ThumbnailSignals(NamedTuple):
    """Of each picture, float32 [n].

    Attributes:
        change: mean difference to the picture before, in grey levels of 255; 0 where there is none before.
        contrast: standard deviation of luma, as a share of white.
        colourfulness: of Hasler and Suesstrunk 2003, in grey levels: 0 for grey pictures, 33 for moderately colourful
            ones, 82 for highly colourful ones.
        uniform: share of pixels that have nearly the median colour.
    """

    change: NDArray[np.float32]
    contrast: NDArray[np.float32]
    colourfulness: NDArray[np.float32]
    uniform: NDArray[np.float32]


def thumbnail_signals(frames: NDArray[np.uint8], before: NDArray[np.uint8] | None = None) -> ThumbnailSignals:
    """Signals of successive small pictures.

    Args:
        frames: uint8 [n, h, w, 3], full-range RGB.
        before: [h, w, 3], the picture before the first.
    """
    earlier = np.concatenate([(frames[0] if before is None else before)[None], frames[:-1]])
    change = np.abs(frames.astype(np.int16) - earlier).mean((1, 2, 3), dtype=np.float64)
    colours = frames.astype(np.float32)
    contrast = (colours @ _LUMA).std((1, 2), dtype=np.float64) / 255
    red, green, blue = colours[..., 0], colours[..., 1], colours[..., 2]
    opponents = (red - green, (red + green) / 2 - blue)
    spread = np.hypot(*(each.std((1, 2), dtype=np.float64) for each in opponents))
    centre = np.hypot(*(each.mean((1, 2), dtype=np.float64) for each in opponents))
    median = np.median(frames, axis=(1, 2), keepdims=True)
    uniform = (np.abs(colours - median) <= _EVEN).all(-1).mean((1, 2))
    found = (change, contrast, spread + 0.3 * centre, uniform)
    return ThumbnailSignals(*(each.astype(np.float32) for each in found))
