"""The luma of frames at full size, as it was decoded. Runs inside the sandbox's child."""

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from gpu_kernels.media.scaler import Scaler

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.stream import VideoStream

_LIMITED = {"yuv420p", "yuv422p", "yuv444p", "yuv440p", "yuv411p", "yuv410p", "yuva420p", "nv12", "nv21"}
_FULL = {"yuvj420p", "yuvj422p", "yuvj444p", "yuvj440p", "gray"}
"""Formats whose first plane is luma of 8 bits, of limited range if the frame does not say otherwise, and of full."""
_FULL_RANGE = 2
_AS_IT_IS = np.arange(256, dtype=np.uint8)
_STRETCHED = ((np.arange(256) - 16) * (255 / 219)).round().clip(0, 255).astype(np.uint8)


class Lines(NamedTuple):
    """The luma of a frame, neither cropped nor turned nor scaled.

    Attributes:
        values: uint8 [height, width]; valid as long as the frame is.
        levels: uint8 [256], what each value is in full range.
    """

    values: np.ndarray
    levels: np.ndarray


class Luma:
    """Takes the luma of frames, where it can without touching all of it."""

    def __init__(self, stream: "VideoStream") -> None:
        self._others = Scaler(lambda width, height: (width, height), "gray", stream, upright=False)

    def __call__(self, frame: "VideoFrame") -> Lines:
        """The luma of a frame."""
        plane = frame.planes[0]
        backwards = plane.line_size < frame.width  # lines in memory
        if backwards or frame.format.name not in _LIMITED | _FULL:
            return Lines(self._others(frame), _AS_IT_IS)
        full = frame.format.name in _FULL or int(frame.color_range) == _FULL_RANGE
        lines = np.frombuffer(cast("Any", plane), np.uint8)[: plane.line_size * frame.height].reshape(frame.height, -1)
        return Lines(lines[:, : frame.width], _AS_IT_IS if full else _STRETCHED)
