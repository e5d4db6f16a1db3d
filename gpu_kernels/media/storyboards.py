"""Storyboards: a few frames per second of a video, small, as JPEG, with their exact presentation times."""

from typing import ClassVar

import numpy as np
from pydantic import Field

from gpu_kernels.strict import StrictModel


class StoryboardsConfig(StrictModel):
    """Which frames are kept, and how."""

    unless_default: ClassVar[frozenset[str]] = frozenset({"multiple_of"})

    frames_per_second: float = Field(default=2.0, gt=0)
    """Frames kept per second of video; models are shown no more. Where one wants more than the others need, a variant
    comes from the same decode ([variants](operations.md#variants))."""
    short_side: int = Field(default=480, ge=16)
    """Short side of a kept frame in pixels, at most; smaller videos keep their size."""
    jpeg_quality: int = Field(default=90, ge=1, le=100)
    """JPEG quality, 1 to 100."""
    multiple_of: int = Field(default=1, ge=1, le=64)
    """Both sides of a kept frame are rounded to multiples of this many pixels. Models cut frames into squares, of 28
    pixels in Qwen2.5-VL and of 32 in Qwen3-VL: what already fits need not be scaled for them."""


def decoded(jpeg: bytes) -> np.ndarray:
    """A stored picture, uint8 [height, width, 3], RGB.

    Raises:
        ValueError: it is not a JPEG.
    """
    import cv2

    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
    if picture is None:
        raise ValueError("a stored picture is not a JPEG: materialize its table again with force")
    return picture


class Cadence:
    """Picks the first frame at or after every multiple of a period, counted from the first frame.

    Args:
        origin_ns: time of the first frame, where later frames are looked at before it, or without it.
    """

    def __init__(self, per_second: float, origin_ns: int | None = None) -> None:
        self._period_ns = round(1_000_000_000 / per_second)
        self._origin_ns = origin_ns
        self._next = 0

    @property
    def period_ns(self) -> int:
        return self._period_ns

    def due(self, pts_ns: int) -> bool:
        """Whether the frame at `pts_ns` is one to take; frames must come in order."""
        if self._origin_ns is None:
            self._origin_ns = pts_ns
        position = pts_ns - self._origin_ns
        if position < self._next * self._period_ns:
            return False
        self._next = position // self._period_ns + 1
        return True


def storyboard_size(width: int, height: int, short_side: int, multiple_of: int = 1) -> tuple[int, int]:
    """Width and height of a storyboard frame: as displayed, but with a short side of `short_side` at most, and both
    sides rounded to multiples.

    A shrunken size is even, because scaling 4:2:0 pictures to an odd width takes four times as long.
    """
    short = min(width, height)
    if multiple_of > 1:
        scale = min(1.0, short_side / short)
        wide, high = (max(1, round(side * scale / multiple_of)) * multiple_of for side in (width, height))
        return wide, high
    if short <= short_side:
        return width, height
    return _even(width * short_side / short), _even(height * short_side / short)


def _even(length: float) -> int:
    return max(2, round(length / 2) * 2)
