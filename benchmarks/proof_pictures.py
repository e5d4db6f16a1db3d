"""Pictures of footage as storyboards have them."""

# pyright: basic

from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np

from gpu_kernels.media.storyboards import Cadence, StoryboardsConfig, decoded, storyboard_size


def as_stored(picture: np.ndarray, quality: int = StoryboardsConfig().jpeg_quality) -> np.ndarray:
    """A picture, uint8 RGB, after it was a JPEG."""
    bgr = np.ascontiguousarray(picture[:, :, ::-1])
    return decoded(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes())


def pictures_per_second(path: Path, most: int, per_second: float = 1.0) -> Iterator[np.ndarray]:
    """The pictures of a video that a storyboard of this rate holds."""
    cadence, given = Cadence(per_second), 0
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            if given == most:
                return
            if not cadence.due(round(frame.time * 1e9)):
                continue
            size = storyboard_size(frame.width, frame.height, StoryboardsConfig().short_side)
            picture = frame.to_ndarray(format="rgb24")
            yield as_stored(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
            given += 1
