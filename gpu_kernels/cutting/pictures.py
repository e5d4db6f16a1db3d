"""Whether a clip's file shows its source: its first, middle and last frame are held against the source's.

Runs inside the sandbox's child.
"""

import io
from typing import TYPE_CHECKING

import numpy as np

from gpu_kernels.sandbox import MediaError

if TYPE_CHECKING:
    from av import VideoFrame

_SIDE = 64
"""Of the pictures that are compared, in pixels."""

_CLOSE = 1.0
"""Grey levels by which a picture of another frame may be nearer: in a still shot, all of them are as near."""

_FARTHEST = 16.0
"""Grey levels, on average, by which encoding changes a picture at most, even with the highest crf."""


class Pictures:
    """Small pictures of some of a clip's frames, as they went into the encoder.

    Args:
        frames: of the clip.
    """

    def __init__(self, frames: int) -> None:
        self._frames, self._taken = frames, 0
        self._compared = {0, frames // 2, frames - 1}
        beside = {index + step for index in self._compared for step in (-1, 0, 1)}
        self._wanted = {index for index in beside if 0 <= index < frames}
        self._pictures: dict[int, np.ndarray] = {}

    def take(self, frame: "VideoFrame") -> None:
        """The next frame."""
        if self._taken in self._wanted:
            self._pictures[self._taken] = small_picture(frame)
        self._taken += 1

    def compare(self, clip: memoryview) -> None:
        """Hold a finished file against them.

        Raises:
            MediaError: it has more or fewer frames, or its first, middle or last frame is another one.
        """
        shown, frames = _decoded(clip, self._compared)
        if frames != self._frames:
            raise MediaError(f"the clip file has {frames} frames, its span has {self._frames}")
        for index in sorted(self._compared):
            if index not in shown:
                raise MediaError(f"frame {index} of the clip file cannot be decoded")
            distances = {other: _distance(shown[index], picture) for other, picture in self._pictures.items()}
            if distances[index] > min(min(distances.values()) + _CLOSE, _FARTHEST):
                raise MediaError(f"frame {index} of the clip file is not the source's")


def small_picture(frame: "VideoFrame") -> np.ndarray:
    """Luminance of a frame in yuv420p: float32 [64, 64]."""
    import cv2

    plane = frame.planes[0]
    luma = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
    return cv2.resize(luma, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).mean())


def _decoded(clip: memoryview, wanted: set[int]) -> tuple[dict[int, np.ndarray], int]:
    """Pictures of the wanted frames of a file, and how many frames it has."""
    import av

    with av.open(io.BytesIO(clip), "r") as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        context.thread_count = 1
        packets = [packet for packet in container.demux(stream) if packet.size]
        order = {pts: index for index, pts in enumerate(sorted(packet.pts or 0 for packet in packets))}
        shown: dict[int, np.ndarray] = {}
        for packet in [*packets, None]:
            # What no other frame refers to need not be decoded.
            needed = packet is None or order[packet.pts or 0] in wanted
            context.skip_frame = "DEFAULT" if needed else "NONREF"
            for frame in context.decode(packet):
                if (index := order.get(frame.pts or 0, -1)) in wanted:
                    shown[index] = small_picture(frame)
        return shown, len(packets)
