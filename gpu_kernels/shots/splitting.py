"""Clips: spans of a source video, cut from its shot-transition curve or at a fixed stride. Pure and quick."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from gpu_kernels.shots.transitions import runs_above, shots_between
from gpu_kernels.strict import StrictModel

SECOND = 1_000_000_000

_TOLERANCE_NS = 1_000
"""Presentation times are whole ticks of the file's clock, so a length of exactly two seconds may read a little less."""


class ClipsConfig(StrictModel):
    """How a video is cut into clips."""

    splitter: Literal["shots", "fixed_stride"] = "shots"
    """`shots` cuts at shot transitions, `fixed_stride` every `stride_seconds` whatever the picture shows."""
    transition_threshold: float = Field(default=0.4, gt=0, lt=1)
    """Transition probability above which a frame belongs to a transition."""
    min_seconds: float = Field(default=2.0, ge=0)
    """A shorter clip is dropped."""
    min_frames: int = Field(default=48, ge=1)
    """A clip with fewer frames is dropped. Applies to `shots` only, as in the reference pipeline."""
    max_seconds: float = Field(default=60.0, gt=0)
    """A longer shot is divided or truncated."""
    longer: Literal["stride", "truncate"] = "stride"
    """What happens to a shot longer than `max_seconds`: cut into consecutive pieces, or only its beginning kept."""
    crop_seconds: float = Field(default=0.5, ge=0)
    """Cropped from both ends of a shot, where transitions leave their traces."""
    stride_seconds: float = Field(default=10.0, gt=0)
    """Length of a clip of the `fixed_stride` splitter."""

    @model_validator(mode="after")
    def _lengths_agree(self) -> "ClipsConfig":
        if self.min_seconds > self.max_seconds:
            raise ValueError(f"min_seconds ({self.min_seconds}) must not be more than max_seconds ({self.max_seconds})")
        return self


@dataclass(frozen=True)
class Span:
    """A piece of a shot, half open: [start_frame, end_frame) and [start_ns, end_ns).

    `dropped` says why it is not a clip: `too_short` in time, or else `too_few_frames`; None for a clip.
    """

    shot: int
    start_frame: int
    end_frame: int
    start_ns: int
    end_ns: int
    dropped: str | None


def clip_spans(
    transitions: np.ndarray,
    pts_ns: np.ndarray,
    end_ns: int,
    config: ClipsConfig,
    runs: Sequence[tuple[int, int]] | None = None,
) -> list[Span]:
    """Cut a video into clips.

    Lengths are measured by presentation times, so variable frame rates are cut in time, and every bound is a frame.

    Args:
        transitions: float32 [frames], transition probability per frame; not read by the fixed stride.
        pts_ns: int64 [frames], presentation times, increasing.
        end_ns: when the last frame has been shown.
        runs: of frames that part shots; where not given, those of transitions above the threshold.

    Returns:
        Spans in order; pieces that are too short, or have too few frames, come with a reason.
    """
    frames = len(pts_ns)
    if frames == 0:
        return []
    times = pts_ns.tolist()
    times.append(max(end_ns, times[-1] + 1))  # every frame below has an end, and none is shown for no time
    if config.splitter == "fixed_stride":
        # Not shorter than the stride, or strides of the least length would all be too short.
        strides = _pieces(times, 0, frames, config.stride_seconds, at_least=True)
        return [_span(times, index, *piece, config.min_seconds, 1) for index, piece in enumerate(strides)]
    spans: list[Span] = []
    parted = runs_above(transitions, config.transition_threshold) if runs is None else runs
    for shot, (start, end) in enumerate(shots_between(parted, frames)):
        pieces = _pieces(times, start, end, config.max_seconds, at_least=False)
        for piece in pieces if config.longer == "stride" else pieces[:1]:
            cropped = _cropped(times, *piece, round(config.crop_seconds * SECOND))
            spans.append(_span(times, shot, *(cropped or piece), config.min_seconds, config.min_frames, not cropped))
    return spans


def _pieces(times: list[int], start: int, end: int, seconds: float, at_least: bool) -> list[tuple[int, int]]:
    """Consecutive pieces of the frames [start, end), each of `seconds` rounded up or down to whole frames."""
    pieces: list[tuple[int, int]] = []
    length = round(seconds * SECOND)
    while start < end:
        if at_least:
            stop = bisect_left(times, times[start] + length - _TOLERANCE_NS, lo=start)
        else:
            stop = bisect_right(times, times[start] + length + _TOLERANCE_NS, lo=start) - 1
        stop = min(end, max(start + 1, stop))
        pieces.append((start, stop))
        start = stop
    return pieces


def _cropped(times: list[int], start: int, end: int, crop_ns: int) -> tuple[int, int] | None:
    first = bisect_right(times, times[start] + crop_ns + _TOLERANCE_NS, lo=start) - 1
    last = bisect_left(times, times[end] - crop_ns - _TOLERANCE_NS, lo=start)
    return (first, last) if first < last else None


def _span(
    times: list[int], shot: int, start: int, end: int, min_seconds: float, min_frames: int, all_cropped: bool = False
) -> Span:
    dropped = None
    if all_cropped or times[end] - times[start] + _TOLERANCE_NS < min_seconds * SECOND:
        dropped = "too_short"
    elif end - start < min_frames:
        dropped = "too_few_frames"
    return Span(shot, start, end, times[start], times[end], dropped)
