"""Where the picture is in a small frame: black bars above and below it, or beside it, to a quarter of a pixel.

Each frame is judged alone, so that what is found does not depend on which frames are looked at together. Bars are black
lines up to a straight edge. What is merely dark ends at no straight edge and is left as it is.
"""

import numpy as np
from numpy.typing import NDArray

BOX_STEP = 4
"""Edges are multiples of one by this many pixels."""

_BLACK = 32
"""Grey level of a bar, at most: compression and scaling leave more than 0."""
_FILLED = 0.95
"""Share of a bar's line that is black."""
_CROSSED = 0.3
"""The same of a bar with subtitles in it, where the opposite side has a clean one."""
_DEEPEST = 0.45
"""Share of the lines that one bar takes, at most."""
_CONTRAST, _EDGE = 20, 0.4
"""Right behind the edge, the share of the line that is brighter than the bar by this many grey levels."""
_ALIKE = 1.0
"""Bars on opposite sides whose depths differ by this many lines, at most, are as deep as each other."""
_LEAST = 0.2
"""Share of the lines that has to be left."""


def active_boxes(grey: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The active picture of each frame.

    Args:
        grey: uint8 [n, h, w], full range.

    Returns:
        float64 [n, 4]: left, top, right and bottom edge in pixels, multiples of 1 / BOX_STEP. A frame that is black or
        dark all over is all picture.
    """
    _, height, width = grey.shape
    top, bottom = _opposite(grey, np.ones((len(grey), width), np.bool_))
    lines = np.arange(height) + 0.5
    shown = (lines > top[:, None]) & (lines < height - bottom[:, None])
    left, right = _opposite(np.ascontiguousarray(grey.swapaxes(1, 2)), shown)
    return np.stack([left, top, width - right, height - bottom], 1)


def _opposite(grey: NDArray[np.uint8], looked: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Depths of the bars at the first and at the last lines of pictures [n, lines, length], float64 [n] each.

    Args:
        looked: [n, length], the part of the lines that is looked at.
    """
    length = np.maximum(looked.sum(1), 1)[:, None]
    black = ((grey <= _BLACK) & looked[:, None]).sum(2) / length
    first = _depth(grey, looked, black)
    last = _depth(grey[:, ::-1], looked, black[:, ::-1])
    first, last = (
        np.where((other - depth > _ALIKE) & _crossed(black_of, other), other, depth)
        for depth, other, black_of in ((first, last, black), (last, first, black[:, ::-1]))
    )
    both = (first > 0) & (last > 0) & (np.abs(first - last) <= _ALIKE)
    first, last = (np.where(both, (first + last) / 2, each) for each in (first, last))
    first, last = (np.rint(each * BOX_STEP) / BOX_STEP for each in (first, last))
    left = first + last <= (1 - _LEAST) * grey.shape[1]
    return first * left, last * left


def _crossed(black: NDArray[np.float64], depth: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether the first lines could be a bar of a depth, with text in it."""
    within = np.arange(black.shape[1]) < np.floor(depth)[:, None]
    return (depth >= 1) & ((black >= _CROSSED) | ~within).all(1)


def _depth(grey: NDArray[np.uint8], looked: NDArray[np.bool_], black: NDArray[np.float64]) -> NDArray[np.float64]:
    """How deep the bar at the first lines is: a line that is part bar, part picture counts by its brightness."""
    count, lines, _ = grey.shape
    deepest = min(int(lines * _DEEPEST), lines - 3)
    if deepest < 1:
        return np.zeros(count)
    clean = np.cumprod(black[:, : deepest + 1] >= _FILLED, axis=1).sum(1)
    found = np.zeros(count)
    (some,) = np.nonzero((clean > 0) & (clean <= deepest))
    if len(some) == 0:
        return found
    clean, mask = clean[some], looked[some]
    length = np.maximum(mask.sum(1), 1)
    near = np.arange(-1, 3) + clean[:, None]  # the last clean line, the edge, and the first that is all picture
    levels = grey[some[:, None], near].astype(np.int64) * mask[:, None]
    bar = (grey[some, 0] * mask.astype(np.int64)).sum(1) / length
    bright = ((levels - bar[:, None, None] > _CONTRAST) & mask[:, None]).sum(2) / length[:, None]
    above = levels.sum(2) - (bar * length)[:, None]  # by how much each line is brighter than a bar's
    part = above[:, :3].sum(1) / np.maximum(above[:, 3], 1e-9)
    depth = np.clip(clean + 2 - part, clean - 1, clean + 1)
    found[some] = np.where(bright[:, 1:3].max(1) >= _EDGE, depth, 0.0)
    return found
