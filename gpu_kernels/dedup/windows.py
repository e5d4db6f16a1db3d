"""Where a picture lies in a window, on a desktop or in a frame that stands still: told by what moves over some seconds.

A window is a rectangle with all that moves in it. Along each of its sides, what is right inside differs from what is
right outside, at some time at least, and what is outside stands still; or the side is the frame's own. All sums are
whole numbers, so that a window is the same on every machine.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.dedup.picture_hashes import parts

PICTURE = (81, 144)
"""Height and width of the pictures in which windows are looked for: a thumbnail is too small to tell a window's side
from what is drawn beside it."""
PICTURES_PER_SECOND = 2.0
BLOCK_FRAMES = 250
"""Frames of a video that are looked at together. A segment of a long video has a whole number of them."""

_LEAST_PICTURES = 5
_LEAST_MOTION = 450
"""Of a window, the sum of its pixels' variances in squared grey levels, beyond one level each: what coding leaves."""
_STRAY = 100
"""One part in so many of all that moves may be beyond each side: a pointer, a clock, what coding leaves."""
_EDGE = 10
"""Grey levels by which the two pixels beside one of a side differ, root mean square over time."""
_CALM = 4
"""What is outside changes by a part of that difference at most, one in so many."""
_SHARE, _LESS_SURE = 0.75, 0.15
"""Of a side, the share that has such an edge at least; and by how much less of it the smallest rectangle may have than
the surest one: what is drawn around a window makes rectangles, too."""
_UNREACHED = 0.8
"""Instead of that share, of the frame's own side where nothing moves up to it."""
_STRONG = 60
"""Grey levels; more is no stronger an edge."""
_MOST_LINES = 16
"""Candidates for each side: the strongest."""
_SMALLEST, _LARGEST = 0.1, 0.9
"""Share of the frame that a window takes."""
_ALL_BUT = 0.1
"""Of a thumbnail's pixel, what may be missing from it while it counts as inside."""
_BLACK, _SHOWN = 48, 0.02
"""Grey level up to which what is outside is black; and the share of it, at least, that is not: black borders are taken
off frame by frame, and tell nothing."""
_FINE = 4
"""Edges are multiples of one by this many pixels."""


class Window(NamedTuple):
    """A rectangle: its edges in pixels of pictures of 144 by 81, multiples of a quarter."""

    left: float
    top: float
    right: float
    bottom: float


def window_of(pictures: NDArray[np.uint8]) -> Window | None:
    """The window in which the picture lies during some seconds; None where it fills the frame, or nobody can tell.

    Args:
        pictures: uint8 [n, 81, 144], grey, some moments of these seconds.

    Raises:
        ValueError: another shape or dtype.
    """
    if pictures.dtype != np.uint8 or pictures.shape[1:] != PICTURE:
        raise ValueError(
            f"pictures must be uint8 [n, {PICTURE[0]}, {PICTURE[1]}], not {pictures.dtype} {pictures.shape}"
        )
    count = len(pictures)
    if count < _LEAST_PICTURES:
        return None
    levels = pictures.astype(np.float32)  # sums of squares of a block's pictures are below 2**24, and so exact
    variances = count * _squares(levels) - levels.sum(0).astype(np.int64) ** 2  # times count squared
    moving = np.maximum(variances - count**2, 0)
    if moving.sum() < _LEAST_MOTION * count**2:
        return None
    rows, columns = (_most_of(moving.sum(axis)) for axis in (1, 0))
    if max(rows.start, columns.start) <= 1 and rows.stop >= PICTURE[0] - 1 and columns.stop >= PICTURE[1] - 1:
        return None
    turned = np.ascontiguousarray(levels.swapaxes(1, 2))
    left, right = _sides(turned, np.ascontiguousarray(variances.T), columns, rows)
    top, bottom = _sides(levels, variances, rows, columns)
    chosen = _chosen(left, top, right, bottom)
    if chosen is None:
        return None
    at_left, at_top, at_right, at_bottom = chosen
    beside = np.ones(PICTURE, np.bool_)
    beside[max(at_top, 0) : at_bottom + 1, max(at_left, 0) : at_right + 1] = False
    if (pictures.max(0)[beside] > _BLACK).mean() < _SHOWN:
        return None
    across, down = turned[:, :, max(at_top + 1, 0) : at_bottom], levels[:, :, max(at_left + 1, 0) : at_right]
    return Window(
        _edge(across, at_left, -1), _edge(down, at_top, -1), _edge(across, at_right, 1), _edge(down, at_bottom, 1)
    )


def shown_in(window: Window, luma: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a window shows, in the size of the whole.

    Pixels that it covers in part show what is beside it, too, and have the value of the next ones inside instead.

    Args:
        luma: float32 [n, h, w], of thumbnails; whole numbers, as those that are returned.
    """
    count, height, width = luma.shape
    across = _inside(width, window.left * width / PICTURE[1], window.right * width / PICTURE[1])
    down = _inside(height, window.top * height / PICTURE[0], window.bottom * height / PICTURE[0])
    rows = (luma.astype(np.float64).reshape(-1, width) @ across).reshape(count, height, width)
    sums = (np.ascontiguousarray(rows.swapaxes(1, 2)).reshape(-1, height) @ down).reshape(count, width, height)
    means = sums.swapaxes(1, 2) / (down.sum(0)[:, None] * across.sum(0))
    return np.ascontiguousarray(np.rint(means), np.float32)


def _inside(size: int, low: float, high: float) -> NDArray[np.float64]:
    """How much each pixel counts in each of `size` equal parts of [low, high], [size, size]."""
    weights = parts(size, size, low, high).copy()
    first, last = math.ceil(low - _ALL_BUT), math.floor(high + _ALL_BUT) - 1
    weights[first] += weights[:first].sum(0)
    weights[last] += weights[last + 1 :].sum(0)
    weights[:first] = weights[last + 1 :] = 0
    return weights


def _squares(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Sums over time, int64 [h, w], of squares of whole numbers [n, h, w]."""
    return np.einsum("nij,nij->ij", values, values).astype(np.int64)


def _most_of(moving: NDArray[np.int64]) -> slice:
    """The lines that hold all of what moves but for one part in _STRAY on either side."""
    sums = np.cumsum(moving) * _STRAY
    total = int(moving.sum())
    return slice(int(np.searchsorted(sums, total)), int(np.searchsorted(sums, (_STRAY - 1) * total)) + 1)


@dataclass(frozen=True)
class _Side:
    """Lines that could hold a window's side.

    Attributes:
        lines: int64 [k]: those that the window covers in part; last -1 or the number of lines, for the frame's own.
        edges: int64 [k, length + 1], how many of the first pixels of each have an edge.
        own: float64 [k], of those that are the frame's own, how sure they are a side; 0 of others.
    """

    lines: NDArray[np.int64]
    edges: NDArray[np.int64]
    own: NDArray[np.float64]

    def shares(self, firsts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.float64]:
        """The share of each line that has an edge, from pixel to pixel: float64 [k, firsts, ends]."""
        found = self.edges[:, None, ends] - self.edges[:, firsts, None]
        shares = found / np.maximum(ends - firsts[:, None], 1)
        return np.maximum(self.own[:, None, None], shares)


def _sides(
    levels: NDArray[np.float32], variances: NDArray[np.int64], core: slice, across: slice
) -> tuple[_Side, _Side]:
    """Candidates for the first side and the last of what moves.

    Args:
        levels: [n, lines, length]; variances: [lines, length], times n squared.
        core, across: the lines, and the parts of them, that hold most of what moves.
    """
    count, size, length = levels.shape
    squares = _squares(levels[:, 2:] - levels[:, :-2])
    strengths = np.minimum(np.sqrt(squares / count), _STRONG).astype(np.int64)
    sides: list[_Side] = []
    for outer, allowed, frame, reached in (
        (variances[:-2], slice(1, min(core.start + 3, size - 1)), -1, core.start <= 1),
        (variances[2:], slice(max(core.stop - 3, 1), size - 1), size, core.stop >= size - 1),
    ):
        edge = (squares >= _EDGE**2 * count) & (_CALM**2 * outer <= count * squares)
        parts_of = np.pad(edge, ((1, 1), (0, 0)))  # by line: the first and the last have no neighbour
        share = parts_of[:, across].sum(1) / (across.stop - across.start)
        strength = np.pad((strengths * edge)[:, across].sum(1), 1)
        peak = np.zeros(size, np.bool_)
        peak[1:-1] = (strength[1:-1] >= strength[:-2]) & (strength[1:-1] > strength[2:]) & (share[1:-1] >= _SHARE)
        lines = np.flatnonzero(peak)
        lines = lines[(lines >= allowed.start) & (lines < allowed.stop)]
        lines = np.sort(lines[np.argsort(-strength[lines], kind="stable")[:_MOST_LINES]])
        edges = np.zeros((len(lines), length + 1), np.int64)
        np.cumsum(parts_of[lines], axis=1, out=edges[:, 1:])
        own = np.zeros(len(lines) + 1)
        own[-1] = 1.0 if reached else _UNREACHED
        sides.append(_Side(np.append(lines, frame), np.pad(edges, ((0, 1), (0, 0))), own))
    return sides[0], sides[1]


def _chosen(left: _Side, top: _Side, right: _Side, bottom: _Side) -> tuple[int, int, int, int] | None:
    """The lines of the smallest of the surest rectangles."""
    first_row, first_column = (np.maximum(each.lines + 1, 0) for each in (top, left))
    by_rows = [each.shares(first_row, bottom.lines) for each in (left, right)]  # [left or right, top, bottom]
    by_columns = [each.shares(first_column, right.lines) for each in (top, bottom)]  # [top or bottom, left, right]
    sure = np.minimum(by_rows[0][:, None], by_rows[1][None])  # [left, right, top, bottom]
    sure = np.minimum(sure, by_columns[0].transpose(1, 2, 0)[..., None])
    sure = np.minimum(sure, by_columns[1].transpose(1, 2, 0)[:, :, None])
    areas = (right.lines - first_column[:, None])[:, :, None, None] * (bottom.lines - first_row[:, None])
    shares = areas / (PICTURE[0] * PICTURE[1])
    good = (sure >= _SHARE) & (shares >= _SMALLEST) & (shares <= _LARGEST)
    if not good.any():
        return None
    good &= sure >= sure[good].max() - _LESS_SURE
    place = np.unravel_index(np.where(good, areas, areas.max() + 1).argmin(), areas.shape)
    sides = zip((left, right, top, bottom), place, strict=True)
    at_left, at_right, at_top, at_bottom = (int(side.lines[index]) for side, index in sides)
    return at_left, at_top, at_right, at_bottom


def _edge(levels: NDArray[np.float32], line: int, outwards: int) -> float:
    """Where the edge is within a line, of which the window covers a part: by least squares, between its neighbours.

    Args:
        levels: [n, lines, length of the side].
        outwards: -1 or 1.
    """
    size = levels.shape[1]
    if not 0 <= line < size:
        return float(np.clip(line, 0, size))
    outer = levels[:, line + outwards].astype(np.int64)
    part, inner = levels[:, line] - outer, levels[:, line - outwards] - outer
    covered = min(max(int((part * inner).sum()) / max(int((inner * inner).sum()), 1), 0.0), 1.0)
    covered = round(covered * _FINE) / _FINE
    return line + 1 - covered if outwards < 0 else line + covered
