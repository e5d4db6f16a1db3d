"""Where the picture is in the frame: bars around it, constant frames, split screens and insets.

A bar has one colour over its whole length, or never changes while the rest moves, and ends at a straight edge that lies
at the same place in all pictures. Flatness alone is no border: a table, a wall and the sky are flat, too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise, product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Layout = Literal["plain", "split", "inset"]

MOST_PICTURES = 120
"""Of a longer clip, so many are enough, evenly spread."""

_SAME = 14
"""Grey levels within which a bar is one colour: what H.264 and JPEG leave of it."""
_FILLED = 0.97
"""Share of a line of a bar that has its colour, or never changes."""
_BARE = 0.6
"""Share of the lines of a bar that no subtitle crosses."""
_CONTRAST = 24
_EDGE = 0.45
"""Along an edge, the share that differs by the contrast from the bar at some time."""
_BLACK, _WHITE = 40, 215
"""Bars of other colours are on two opposite sides, or they are none."""
_DEEPEST = 0.46
"""The share of the picture's width or height that a bar can take."""
_LEAST = 2
_RINGING = 8
"""Lines beside an edge that compression leaves unclean."""
_FROZEN, _MOVING = 2.5, 6.0
"""Standard deviations over time, in grey levels: of what never changes, and of what does."""
_FRAME_EDGE = 0.3
"""As _EDGE, of what moves beside what never changes."""
_TO_SEE_CHANGE = 4
"""So many pictures, at least, say whether something changes."""
_WINDOW = 8
"""Pictures of which the bars are the same, at least, where they change."""
_SEAM, _SEAM_RATIO = 8.0, 1.8
"""Mean difference across a seam between panes, in grey levels, and how many times that of its surroundings it is."""
_BLOCK = 8
"""Length of the pieces of a seam that are looked at each by itself."""
_LEAST_PIECES = 6
"""Of the shortest seam."""
_UNBROKEN = 0.85
"""Share of its pieces that a seam shows in."""
_UNBROKEN_STILL, _CORNER_STILL = 0.9, 0.97
"""The same where little moves on one of its sides, as with the edge of a table; and with an inset in a corner, which
has but two seams."""
_STRAIGHT, _ASKEW = 0.8, 0.4
"""Share of a seam's pieces that show it in one and the same column, at least; or else, where it lies between two
columns, by how much of one its ends are apart, at most. Edges of tables and floors, which can run across a narrow
picture, are a little askew."""
_TO_TELL = 0.3
"""The share of a seam's length where something moves that is enough to tell by."""
_TOGETHER = 0.25
"""Correlation over time of what lies on its two sides, at most: what passes a door frame comes out behind it."""
_SMALLEST, _LARGEST = 0.02, 0.5
"""Share of the active picture that an inset takes."""
_LONGEST = 2.5
"""Its longer side, by its shorter one, at most."""
_NARROWEST = 0.15
"""Of the active picture's width or height, the share that a pane takes at least."""
_BLURRED, _FILL_SEAM = 0.35, 0.4
"""Where an enlarged, blurred copy fills both sides: its detail to that of the picture between, and the share of either
seam that shows."""


@dataclass(frozen=True)
class Box:
    """A rectangle: left upper corner and size, in pixels."""

    x: int
    y: int
    width: int
    height: int

    @property
    def area(self) -> int:
        return self.width * self.height

    def within(self, other: "Box") -> "Box":
        """What both have in common."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        right = min(self.x + self.width, other.x + other.width)
        bottom = min(self.y + self.height, other.y + other.height)
        return Box(x, y, max(0, right - x), max(0, bottom - y))

    def scaled(self, wide: float, high: float) -> "Box":
        """The whole pixels that lie within it when the picture has another size."""
        x, y = int(np.ceil(self.x * wide - 1e-6)), int(np.ceil(self.y * high - 1e-6))
        right = int(np.floor((self.x + self.width) * wide + 1e-6))
        bottom = int(np.floor((self.y + self.height) * high + 1e-6))
        return Box(x, y, max(0, right - x), max(0, bottom - y))

    def of(self, pictures: NDArray[np.generic]) -> NDArray[np.generic]:
        """What lies in it of pictures [n, height, width, ...]."""
        return pictures[:, self.y : self.y + self.height, self.x : self.x + self.width]


@dataclass(frozen=True)
class Stretch:
    """Pictures first to last that have the same active picture."""

    first: int
    last: int
    box: Box


@dataclass(frozen=True)
class Borders:
    """The active picture of a clip.

    Attributes:
        box: what is picture at all times.
        stretches: the active picture over time; one where it does not change.
        share: share of the frame that is border, over time.
        colour: of the bars, as RGB; None without bars, or where they have no single colour.
        layout: whether straight seams divide the active picture: over its whole width or height, or around an inset.
        panes: the parts of a split screen, or the inset.
        undecidable: whether there is nothing to see: all pictures have one colour.
    """

    box: Box
    stretches: list[Stretch]
    share: float
    colour: tuple[int, int, int] | None
    layout: Layout
    panes: list[Box]
    undecidable: bool


def borders(pictures: Sequence[Pixels]) -> Borders:
    """What surrounds and divides the picture.

    Args:
        pictures: of a clip, in order, uint8 RGB [height, width, 3], all of one size; one or more.
    """
    stack = np.stack(pictures)
    whole = Box(0, 0, stack.shape[2], stack.shape[1])
    bars = _bars(stack, whole)
    stretches = [Stretch(0, len(stack) - 1, bars.box)]
    if bars.box == whole and len(stack) >= 2 * _WINDOW:
        stretches = _over_time(stack, whole)
    box = whole
    for stretch in stretches:
        box = box.within(stretch.box)
    if box.area == 0:  # what is picture at one time is border at another
        box = max((stretch.box for stretch in stretches), key=lambda each: each.area)
    layout, panes = "plain", list[Box]()
    if box.area and len(stretches) == 1:
        layout, panes, filled = _seams(stack, box)
        if filled is not None:
            box, stretches = filled, [Stretch(0, len(stack) - 1, filled)]
    shown = sum((each.last - each.first + 1) * each.box.area for each in stretches) / len(stack)
    return Borders(
        box=box,
        stretches=stretches,
        share=1 - shown / whole.area,
        colour=bars.colour,
        layout=layout,
        panes=panes,
        undecidable=bars.blank,
    )


@dataclass(frozen=True)
class _Bars:
    box: Box
    colour: tuple[int, int, int] | None
    blank: bool


@dataclass(frozen=True)
class _Bar:
    """A side: how deep its bar is, and its colour; whether it has one colour as far as one looks."""

    depth: int
    colour: tuple[int, int, int] | None = None
    blank: bool = False

    @property
    def usual(self) -> bool:
        """Whether it may be on one side alone."""
        return self.colour is not None and (max(self.colour) <= _BLACK or min(self.colour) >= _WHITE)


def _bars(stack: Pixels, whole: Box) -> _Bars:
    box, colours, blank = whole, list[tuple[int, int, int]](), False
    for _ in range(3):  # bars within bars: letterboxed, and then put between pillars
        inner = box.of(stack)
        upright, across = _pair(inner), _pair(inner.swapaxes(1, 2))
        blank = blank or all(bar.blank for bar in (*upright, *across))
        top, bottom, left, right = (bar.depth for bar in (*upright, *across))
        colours += [bar.colour for bar in (*upright, *across) if bar.depth and bar.colour]
        if not (top or bottom or left or right):
            break
        box = Box(box.x + left, box.y + top, box.width - left - right, box.height - top - bottom)
    one = len(colours) > 0 and np.ptp(np.array(colours), axis=0).max() <= 2 * _SAME
    return _Bars(box, colours[0] if one else None, blank and box == whole)


def _pair(stack: NDArray[np.generic]) -> tuple[_Bar, _Bar]:
    """The bars at the first and at the last lines of pictures [n, lines, length, 3]."""
    first, last = _bar(stack), _bar(stack[:, ::-1])
    if first.depth and last.depth and (first.colour is None) == (last.colour is None):
        return first, last
    return tuple(bar if bar.usual else _Bar(0, blank=bar.blank) for bar in (first, last))  # type: ignore[return-value]


def _bar(stack: NDArray[np.generic]) -> _Bar:
    """The bar at the first lines."""
    lines = int(stack.shape[1] * _DEEPEST)
    if lines <= _LEAST:
        return _Bar(0)
    colour = np.median(np.asarray(stack[:, 0], np.uint8).reshape(-1, 3), axis=0).astype(np.uint8)
    if (_difference(stack[:, :_LEAST], colour) <= _SAME).mean(2).min() >= _FILLED:
        difference = _difference(stack[:, :lines], colour)
        filled = (difference <= _SAME).mean(2).min(0) >= _FILLED
        if filled.all():
            return _Bar(0, blank=bool((_difference(stack[:, lines:], colour) <= _SAME).mean() >= _FILLED))
        red, green, blue = (int(level) for level in colour)
        return _Bar(_edge(filled, np.asarray((difference > _CONTRAST).any(0)), _EDGE), (red, green, blue))
    if len(stack) >= _TO_SEE_CHANGE and (_grey(stack[:, :_LEAST]).std(0) <= _FROZEN).mean(1).min() >= _FILLED:
        change = _grey(stack[:, :lines]).std(0)
        return _Bar(_edge((change <= _FROZEN).mean(1) >= _FILLED, change >= _MOVING, _FRAME_EDGE))
    return _Bar(0)


def _edge(filled: NDArray[np.bool_], other: NDArray[np.bool_], least: float) -> int:
    """How many lines there are before the straight edge of a bar.

    Args:
        filled: of each line, whether it can be one of the bar.
        other: of each point of each line, whether it is surely none of a bar.
        least: the share of the edge's length where it is.
    """
    along = other.mean(1)
    for line in np.flatnonzero(~filled):
        if line < _LEAST or not filled[max(0, line - _RINGING) : line].any() or filled[:line].mean() < _BARE:
            continue
        if along[line] >= least:
            return int(line)
        if line + 1 < len(along) and along[line + 1] >= least:  # scaled: the line is of both
            return int(line) + 1
    return 0


def _over_time(stack: Pixels, whole: Box) -> list[Stretch]:
    """The active picture of windows; neighbours that are alike are one stretch."""
    starts = list(range(0, len(stack) - _WINDOW + 1, _WINDOW))
    stretches: list[Stretch] = []
    for start, end in zip(starts, [*starts[1:], len(stack)], strict=True):
        bars = _bars(stack[start:end], whole)
        before = stretches[-1] if stretches else None
        if before is not None and (bars.blank or _alike(before.box, bars.box)):
            stretches[-1] = Stretch(before.first, end - 1, before.box.within(bars.box))
        else:
            stretches.append(Stretch(start, end - 1, bars.box))
    return stretches


def _alike(one: Box, other: Box) -> bool:
    sides = ((each.x, each.y, each.x + each.width, each.y + each.height) for each in (one, other))
    return all(abs(a - b) <= _LEAST for a, b in zip(*sides, strict=True))


@dataclass(frozen=True)
class _Seams:
    """Seams that run down the picture, each between the columns x - 1 and x.

    Attributes:
        step: of pieces of _BLOCK lines and every column, the mean difference to the column before.
        shown: likewise, whether a seam shows.
        change: of the pictures, [n, lines, columns]: grey levels less their mean over time.
    """

    step: NDArray[np.float32]
    shown: NDArray[np.bool_]
    change: NDArray[np.float32]

    def share(self, column: int, first: int, last: int) -> float:
        """Of the lines first to last, the share that shows a seam at a column."""
        return float(self.shown[self._pieces(first, last), column - 1 : column + 2].any(1).mean())

    def divides(self, column: int, first: int, last: int, still: float) -> bool:
        """Whether the lines first to last are a seam at a column, with something else on either side.

        Args:
            still: share of its pieces that must show it where too little moves to tell.
        """
        left, right = (self.change[:, first:last, column + aside] for aside in (-4, 3))
        together = (left * right).sum() / np.sqrt(max(1.0, float((left**2).sum() * (right**2).sum())))
        moving = min(float((np.sqrt((side**2).mean(0)) >= _MOVING).mean()) for side in (left, right))
        least = _UNBROKEN if moving >= _TO_TELL else still
        shows = self.share(column, first, last) >= least and together <= _TOGETHER
        return shows and self.straight(column, first, last)

    def straight(self, column: int, first: int, last: int) -> bool:
        """Whether the seam of the lines first to last keeps to its column, as drawn ones do."""
        near = self.step[self._pieces(first, last), column - 3 : column + 4]
        if np.bincount(near.argmax(1)).max() >= _STRAIGHT * len(near):
            return True
        weight = near**2
        centre = (weight @ np.arange(7)) / np.maximum(weight.sum(1), 1e-6)
        ends = max(1, len(near) // 3)
        return abs(float(np.median(centre[:ends]) - np.median(centre[-ends:]))) <= _ASKEW

    def _pieces(self, first: int, last: int) -> slice:
        start = -(-first // _BLOCK)
        return slice(start, max(last // _BLOCK, start + 1))

    def columns(self, least: float) -> Iterator[int]:
        """Those that show a seam over a share of their length, at least; the clearest of neighbours."""
        share = self.shown.mean(0)
        for column in np.argsort(-share, kind="stable"):
            if share[column] < least:
                return
            room = 4 <= column < share.size - 4
            if room and share[column] == share[max(0, column - 4) : column + 5].max():
                yield int(column)


def _seams(stack: Pixels, box: Box) -> tuple[Layout, list[Box], Box | None]:
    """The panes of the active picture; and what is picture where a blurred copy fills both sides."""
    if len(stack) < _TO_SEE_CHANGE or min(box.width, box.height) < 2 * _LEAST_PIECES * _BLOCK:
        return "plain", [], None
    grey = _grey(box.of(stack))
    down, across = _seams_of(grey), _seams_of(grey.swapaxes(1, 2))
    if (filled := _filled(stack, box, down)) is not None:
        return "plain", [], filled
    for seams, length, size in ((down, box.height, box.width), (across, box.width, box.height)):
        least = int(size * _NARROWEST)
        cuts = [0]
        for cut in sorted(
            cut for cut in seams.columns(_UNBROKEN / 2) if seams.divides(cut, 0, length, _UNBROKEN_STILL)
        ):
            if least <= cut - cuts[-1] and cut <= size - least:
                cuts.append(cut)
        if len(cuts) > 1:
            return "split", [_pane(box, a, b, seams is down) for a, b in pairwise([*cuts, size])], None
    inset = _inset(down, across, box)
    return ("inset", [inset], None) if inset is not None else ("plain", [], None)


def _pane(box: Box, first: int, last: int, beside: bool) -> Box:
    if beside:
        return Box(box.x + first, box.y, last - first, box.height)
    return Box(box.x, box.y + first, box.width, last - first)


def _filled(stack: Pixels, box: Box, seams: _Seams) -> Box | None:
    """The picture in the middle of one that is filled up by a blurred copy of it."""
    cuts = sorted(cut for cut in _some(seams.columns(_FILL_SEAM / 2)) if seams.share(cut, 0, box.height) >= _FILL_SEAM)
    for left, right in combinations(cuts, 2):
        least = _NARROWEST * box.width
        if abs(left - (box.width - right)) > _LEAST + 0.01 * box.width or min(left, right - left) < least:
            continue
        outer, inner, other = (_pane(box, a, b, True) for a, b in pairwise((0, left, right, box.width)))
        if max(_detail(outer.of(stack)), _detail(other.of(stack))) <= _BLURRED * _detail(inner.of(stack)):
            return inner
    return None


def _seams_of(grey: NDArray[np.float32]) -> _Seams:
    """Differences across columns that stand out from those beside them at the same place in all pictures."""
    import cv2

    step = np.zeros(grey.shape[1:], np.float32)
    for picture in grey:
        step[:, 1:] += np.abs(picture[:, 1:] - picture[:, :-1])
    pieces = grey.shape[1] // _BLOCK
    step = (step[: pieces * _BLOCK] / len(grey)).reshape(pieces, _BLOCK, -1).mean(1)
    wide, narrow = (cv2.blur(step, (size, 1), borderType=cv2.BORDER_REPLICATE) * size for size in (21, 7))
    return _Seams(step, (step >= _SEAM) & (step >= _SEAM_RATIO * (wide - narrow) / 14), grey - grey.mean(0))


def _inset(down: _Seams, across: _Seams, box: Box) -> Box | None:
    """The rectangle all of whose sides within the active picture are seams; with the most of these, and the largest."""
    xs = sorted([0, box.width, *_some(down.columns(_NARROWEST))])
    ys = sorted([0, box.height, *_some(across.columns(_NARROWEST))])
    best: tuple[tuple[int, int], Box] | None = None
    for (left, right), (top, bottom) in product(combinations(xs, 2), combinations(ys, 2)):
        width, height = right - left, bottom - top
        inner_x = [x for x in (left, right) if 0 < x < box.width]
        inner_y = [y for y in (top, bottom) if 0 < y < box.height]
        fits = _SMALLEST <= width * height / box.area <= _LARGEST and min(width, height) >= _LEAST_PIECES * _BLOCK
        fits = fits and max(width, height) <= _LONGEST * min(width, height)
        rank = len(inner_x) + len(inner_y), width * height
        if not (fits and inner_x and inner_y) or (best is not None and rank <= best[0]):
            continue
        still = _UNBROKEN_STILL if rank[0] > 2 else _CORNER_STILL
        if all(down.divides(x, top, bottom, still) for x in inner_x) and all(
            across.divides(y, left, right, still) for y in inner_y
        ):
            best = rank, Box(box.x + left, box.y + top, width, height)
    return best[1] if best is not None else None


def _some(columns: Iterator[int]) -> list[int]:
    return [column for column, _ in zip(columns, range(8), strict=False)]


def _detail(stack: NDArray[np.generic]) -> float:
    """Mean difference of neighbours along both directions, in grey levels."""
    grey = _grey(stack)
    return float(np.abs(np.diff(grey, axis=1)).mean() + np.abs(np.diff(grey, axis=2)).mean())


def _difference(stack: NDArray[np.generic], colour: Pixels) -> Pixels:
    """Greatest difference of a channel from a colour, per pixel."""
    pixels = np.asarray(stack, np.uint8)
    return (np.maximum(pixels, colour) - np.minimum(pixels, colour)).max(-1)


def _grey(stack: NDArray[np.generic]) -> NDArray[np.float32]:
    return np.asarray(stack, np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
