"""The storyboard's frames, taken as a scan goes by them. Runs inside the sandbox's child."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gpu_kernels.media.scaler import Scaler
from gpu_kernels.media.storyboards import Cadence, StoryboardsConfig, storyboard_size
from gpu_kernels.sandbox import MediaError
from gpu_kernels.scores.luminance import sharpness

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.stream import VideoStream


@dataclass(frozen=True)
class StoryboardFrame:
    """One kept frame; `sharpness` is the variance of its Laplacian in squared grey levels."""

    frame: int
    pts_ns: int
    width: int
    height: int
    sharpness: float
    jpeg: memoryview


class StoryboardSampler:
    """Takes the storyboard's frames.

    Args:
        origin_ns: time of the video's first frame, where later ones are looked at without it.
    """

    def __init__(self, config: StoryboardsConfig, stream: "VideoStream", origin_ns: int | None) -> None:
        self._config = config
        self._cadence = Cadence(config.frames_per_second, origin_ns)
        short, multiple = config.short_side, config.multiple_of
        self._scaler = Scaler(lambda width, height: storyboard_size(width, height, short, multiple), "bgr24", stream)

    def due(self, pts_ns: int) -> bool:
        """Whether the frame at `pts_ns` is one to take; frames must come in order."""
        return self._cadence.due(pts_ns)

    def taken(self, index: int, pts_ns: int, frame: "VideoFrame") -> StoryboardFrame:
        """A frame as the storyboard keeps it.

        Raises:
            MediaError: it could not be encoded.
        """
        import cv2

        picture = self._scaler(frame)
        encoded, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, self._config.jpeg_quality])
        if not encoded:
            raise MediaError(f"frame {index} could not be encoded as JPEG")
        return StoryboardFrame(
            frame=index,
            pts_ns=pts_ns,
            width=picture.shape[1],
            height=picture.shape[0],
            sharpness=sharpness(np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)),
            jpeg=jpeg.data,
        )
