"""Which part of the picture a clip file keeps, without borders and bands of overlaid text. No pixel is looked at."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gpu_kernels.media.display import even_size
from gpu_kernels.scores.borders import Box

_BAND = 1 / 3
"""Of the picture's height: text that lies wholly in so much of it, at the top or at the bottom, is in a band."""
_MARGIN = 0.25
"""Of a line's height: what detectors leave out of strokes and shadows."""
_LEAST_SIDE = 32
"""Pixels: decord misreads narrower pictures."""

Undone = Literal["too_little_left", "borders_move", "size_changes"]


@dataclass(frozen=True)
class Line:
    """A line of text that was put over the picture: its upper edge and height, in shares of the frame's height."""

    y: float
    height: float


@dataclass(frozen=True)
class Cropping:
    """What is kept of a frame, in whole pixels as displayed, all even: 4:2:0 chroma then stays where it is.

    Attributes:
        box: what is kept; None: the whole frame.
        undone: why the whole frame is kept, though there is something to crop.
    """

    box: Box | None = None
    undone: Undone | None = None


def common_picture(box: Box, over_time: Sequence[Box]) -> Box | None:
    """The box of a clip's picture; None where its borders move so that nothing is picture throughout."""
    return box if box.area and all(box.within(each) == box for each in over_time) else None


def cropping(size: tuple[int, int], picture: Box | None, lines: Sequence[Line], least_share: float) -> Cropping:
    """What a clip file keeps.

    Args:
        size: width and height of the source as displayed.
        picture: what is picture throughout the clip, see `common_picture`.
        lines: those whose bands are to be dropped.
        least_share: of the frame's area that must be left. Where less would be, nothing is cropped.
    """
    if picture is None:
        return Cropping(undone="borders_move")
    frame = Box(0, 0, *even_size(*size))
    kept = _even(_without_bands(picture, lines, size[1]).within(frame))
    if kept == frame:
        return Cropping()
    if kept.area < least_share * frame.area or min(kept.width, kept.height) < _LEAST_SIDE:
        return Cropping(undone="too_little_left")
    return Cropping(kept)


def _without_bands(picture: Box, lines: Sequence[Line], height: int) -> Box:
    """The picture between the bands of text at its top and its bottom."""
    band = picture.height * _BAND
    top, bottom = float(picture.y), float(picture.y + picture.height)
    upper, lower = top + band, bottom - band
    for line in lines:
        first, last, margin = line.y * height, (line.y + line.height) * height, _MARGIN * line.height * height
        if last <= upper:
            top = max(top, last + margin)
        elif first >= lower:
            bottom = min(bottom, first - margin)
    first, last = -int(-top // 1), int(bottom)
    return Box(picture.x, first, picture.width, max(0, last - first))


def _even(box: Box) -> Box:
    """The largest box within it whose edges are even."""
    x, y = (box.x + 1) // 2 * 2, (box.y + 1) // 2 * 2
    right, bottom = (box.x + box.width) // 2 * 2, (box.y + box.height) // 2 * 2
    return Box(x, y, max(0, right - x), max(0, bottom - y))
