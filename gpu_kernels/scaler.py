"""Decoded frames as the pictures that signals are measured on. Runs inside the sandbox's child."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from gpu_kernels.containers import clockwise

if TYPE_CHECKING:
    from av import VideoFrame
    from av.filter import Graph
    from av.video.stream import VideoStream


class Scaler:
    """Scales, turns and converts frames through one filter graph, rebuilt when the stream changes its size.

    Args:
        size: width and height of the picture, from a frame and the clockwise degrees by which it is turned.
        pixels: the pixel format to convert to.
        upright: whether pictures are turned as the video is displayed.
        even: whether both sides have to be even, as 4:2:0 chroma wants them; an odd last line or column is left out.
    """

    def __init__(
        self,
        size: Callable[["VideoFrame", int], tuple[int, int]],
        pixels: str,
        stream: "VideoStream",
        upright: bool = True,
        even: bool = False,
    ) -> None:
        self._size, self._pixels, self._stream, self._upright, self._even = size, pixels, stream, upright, even
        self._graph: Graph | None = None
        self._shape: tuple[int, int, str] | None = None

    def __call__(self, frame: "VideoFrame") -> np.ndarray:
        """The picture: uint8, [height, width] if it is grey, else [height, width, 3]."""
        picture = self.frame(frame).to_ndarray()
        return np.ascontiguousarray(picture)  # rows may come padded; OpenCV wants no gaps

    def frame(self, frame: "VideoFrame") -> "VideoFrame":
        """The picture as a frame, for an encoder."""
        shape = (frame.width, frame.height, frame.format.name)
        if self._graph is None or shape != self._shape:
            self._graph, self._shape = self._built(frame), shape
        self._graph.vpush(frame)
        return self._graph.vpull()

    def _built(self, frame: "VideoFrame") -> "Graph":
        from av.filter import Graph

        rotation = clockwise(frame.rotation) if self._upright else 0
        width, height = self._size(frame, rotation)
        whole_chroma: list[tuple[str, str]] = []
        if self._even:
            width, height = max(2, width // 2 * 2), max(2, height // 2 * 2)
            whole_chroma = [("crop", "trunc(iw/2)*2:trunc(ih/2)*2:0:0")]
        turn = {90: [("transpose", "clock")], 180: [("hflip", ""), ("vflip", "")], 270: [("transpose", "cclock")]}
        graph = Graph()
        graph.threads = 1  # more cost more than they gain, and there is a worker per core
        last = graph.add_buffer(
            template=self._stream,
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=frame.time_base,
        )
        # The picture is turned at its full size and then scaled, as ffmpeg itself does it.
        for name, arguments in [
            *turn.get(rotation, []),
            *whole_chroma,
            ("scale", f"{width}:{height}:flags=bicubic"),
            ("format", self._pixels),
        ]:
            node = graph.add(name, arguments)
            last.link_to(node)
            last = node
        sink = graph.add("buffersink")
        last.link_to(sink)
        graph.configure()
        return graph
