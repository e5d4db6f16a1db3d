"""Technical quality and the camera's motion at a few frames per second, as a scan goes by them. Runs inside the
sandbox's child."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from gpu_kernels.media.luma import Luma
from gpu_kernels.media.scaler import Scaler
from gpu_kernels.media.storyboards import Cadence
from gpu_kernels.scores.camera_motion import UNKNOWN_STEP, Step, camera_step
from gpu_kernels.scores.picture_quality import PictureQuality, blur_size, picture_quality
from gpu_kernels.strict import StrictModel

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.stream import VideoStream

_LONG_SIDE = 240
_SAME = 0.02
"""Mean difference, in grey levels, of a frame that repeats the one before: the camera's motion is not in it."""
_LOOKS = 3


class FrameSignalsConfig(StrictModel):
    """What the scan samples for measurements, where one is enabled that needs it."""

    samples_per_second: float = Field(default=2.0, gt=0)
    """Frames per second of video whose technical quality, and the camera's motion in them, are measured."""


@dataclass(frozen=True)
class FrameSample:
    """One frame, and what the camera does until frame `other`, `step_ns` later."""

    frame: int
    other: int
    step_ns: int
    quality: PictureQuality
    step: Step


class FrameSampler:
    """Takes samples of quality and of the camera's motion; the latter to the next frame that is not the same again.

    Args:
        origin_ns: time of the video's first frame, where later ones are looked at without it.
    """

    def __init__(self, config: FrameSignalsConfig, stream: "VideoStream", origin_ns: int | None) -> None:
        self._cadence = Cadence(config.samples_per_second, origin_ns)
        self.memory_ns = 3 * self._cadence.period_ns
        self._full = Luma(stream)
        self._reduced = Scaler(blur_size, "gray", stream, upright=False, flags="area")
        self._small = Scaler(small_size, "gray", stream, flags="area")
        self._begun: tuple[int, int, PictureQuality, np.ndarray] | None = None
        self._looks = 0

    def take(self, index: int, pts_ns: int, frame: "VideoFrame") -> FrameSample | None:
        """Look at the next frame: the sample that is complete with it, of an earlier one."""
        due = self._cadence.due(pts_ns)
        found = self._completed(index, pts_ns, frame, due)
        if due:
            quality = picture_quality(*self._full(frame), self._reduced(frame))
            self._begun, self._looks = (index, pts_ns, quality, self._small(frame)), 0
        return found

    def _completed(self, index: int, pts_ns: int, frame: "VideoFrame", last: bool) -> FrameSample | None:
        if self._begun is None:
            return None
        first, began_ns, quality, before = self._begun
        after = self._small(frame)
        self._looks += 1
        alike = before.shape == after.shape
        if alike and self._looks < _LOOKS and not last and _difference(before, after) <= _SAME:
            return None
        self._begun = None
        step = camera_step(before, after) if alike else UNKNOWN_STEP
        return FrameSample(first, index, pts_ns - began_ns, quality, step)


def small_size(width: int, height: int) -> tuple[int, int]:
    """Width and height of the pictures in which features are followed."""
    scale = min(1.0, _LONG_SIDE / max(width, height))
    return max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    import cv2

    return float(np.mean(cv2.absdiff(one, other)))
