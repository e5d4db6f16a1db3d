"""Where the picture is in a small frame: black bars above and below it, or beside it, to a quarter of a pixel.

Each frame is judged alone, so that what is found does not depend on which frames are looked at together. Bars are black
lines up to a straight edge. What is merely dark ends at no straight edge and is left as it is.
"""

import numpy as np
from numpy.typing import NDArray

BOX_STEP = 4
"""Edges are multiples of one by this many pixels."""

_BLACK = 48
"""Grey level of a bar, at most: who brightens a film brightens its bars, too."""
_EVEN = 6
"""Grey levels by which a bar differs from its outermost line: what compression and scaling leave."""
_FILLED = 0.97
"""Share of a bar's line that is so even."""
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
    depths = np.zeros((2, len(grey)))
    outer = grey[:, [0, -1]]
    (some,) = np.nonzero(((outer <= _BLACK + _EVEN) | ~looked[:, None]).mean(2).max(1) >= _FILLED)
    if len(some):  # others have no dark line at an edge
        depths[:, some] = _depths(grey[some], looked[some])
    return depths[0], depths[1]


def _depths(grey: NDArray[np.uint8], looked: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same of pictures that may have some."""
    (first, even), (last, even_last) = _depth(grey, looked), _depth(grey[:, ::-1], looked)
    first, last = (
        np.where((other - depth > _ALIKE) & _crossed(lines, other), other, depth)
        for depth, other, lines in ((first, last, even), (last, first, even_last))
    )
    both = (first > 0) & (last > 0) & (np.abs(first - last) <= _ALIKE)
    first, last = (np.where(both, (first + last) / 2, each) for each in (first, last))
    first, last = (np.rint(each * BOX_STEP) / BOX_STEP for each in (first, last))
    left = first + last <= (1 - _LEAST) * grey.shape[1]
    return first * left, last * left


def _crossed(even: NDArray[np.float64], depth: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether the first lines could be a bar of a depth, with text in it."""
    within = np.arange(even.shape[1]) < np.floor(depth)[:, None]
    return (depth >= 1) & ((even >= _CROSSED) | ~within).all(1)


def _depth(grey: NDArray[np.uint8], looked: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How deep the bar at the first lines is; and of each line, the share that could be one of it, [n, lines].

    A line that is part bar, part picture counts by its brightness.
    """
    count, lines, _ = grey.shape
    length = np.maximum(looked.sum(1), 1)
    bar = np.rint((grey[:, 0] * looked).sum(1) / length)
    above = grey.astype(np.int16) - bar.astype(np.int16)[:, None, None]
    even = ((np.abs(above) <= _EVEN) & looked[:, None]).sum(2) / length[:, None]
    deepest = min(int(lines * _DEEPEST), lines - 3)
    clean = np.cumprod(even[:, : deepest + 1] >= _FILLED, axis=1).sum(1)
    found = np.zeros(count)
    (some,) = np.nonzero((clean > 0) & (clean <= deepest) & (bar <= _BLACK))
    if len(some) == 0:
        return found, even
    near = np.arange(-1, 3) + clean[some, None]  # the last clean line, the edge, and the first that is all picture
    levels, shown, length = above[some[:, None], near], looked[some, None], length[some]
    bright = ((levels > _CONTRAST) & shown).sum(2) / length[:, None]
    sums = (levels * shown).sum(2, dtype=np.int64)
    part = sums[:, :3].sum(1) / np.maximum(sums[:, 3], 1)
    depth = np.clip(clean[some] + 2 - part, clean[some] - 1, clean[some] + 1)
    found[some] = np.where(bright[:, 1:3].max(1) >= _EDGE, depth, 0.0)
    return found, even
