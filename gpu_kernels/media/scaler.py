"""Decoded frames as pictures: upright, of ordinary colours, in the wanted size. Runs inside the sandbox's child."""

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import numpy as np

from gpu_kernels.media.display import Display, Filters, Shown, even_size
from gpu_kernels.media.tone_mapping import DEEP, Lookup, needs_mapping, table

if TYPE_CHECKING:
    from av import VideoFrame
    from av.filter import Graph
    from av.filter.context import FilterContext
    from av.video.stream import VideoStream


_UNKNOWN = 2
"""The matrix of a frame's luma and chroma that is not said."""


class Scaler:
    """Crops, turns, maps and scales frames through one filter graph, rebuilt when the stream changes its looks.

    Args:
        size: width and height of the picture, from those of the frame as it is displayed.
        pixels: the pixel format to convert to.
        upright: whether pictures are as the video is displayed; else they are as they are coded, colours included.
        even: whether both sides have to be even, as 4:2:0 chroma wants them; an odd last line or column is left out.
        flags: how ffmpeg scales; `area` costs a third, for pictures that nobody looks at.
    """

    def __init__(
        self,
        size: Callable[[int, int], tuple[int, int]],
        pixels: str,
        stream: "VideoStream",
        upright: bool = True,
        even: bool = False,
        flags: str = "bicubic",
    ) -> None:
        self._size, self._pixels, self._stream, self._even, self._flags = size, pixels, stream, even, flags
        self._display = Display(stream) if upright else None
        self._pipeline: _Pipeline | None = None
        self._looks: tuple[object, ...] | None = None

    def __call__(self, frame: "VideoFrame") -> np.ndarray:
        """The picture: uint8, [height, width] if it is grey, else [height, width, 3]."""
        picture = self.frame(frame).to_ndarray()
        return np.ascontiguousarray(picture)  # rows may come padded; OpenCV wants no gaps

    def frame(self, frame: "VideoFrame") -> "VideoFrame":
        """The picture as a frame, for an encoder."""
        shown = self._display(frame) if self._display else None
        colours = (frame.colorspace, frame.color_range, frame.color_trc, frame.color_primaries)
        looks = (frame.width, frame.height, frame.format.name, *colours, shown)
        if self._pipeline is None or looks != self._looks:
            self._pipeline, self._looks = self._built(frame, shown), looks
        return self._pipeline(frame)

    def _built(self, frame: "VideoFrame", shown: Shown | None) -> "_Pipeline":
        width, height = self._size(*(shown.width, shown.height) if shown else (frame.width, frame.height))
        upright = _upright(shown, frame) if shown else ()
        if self._even:
            width, height = even_size(width, height)
            upright += (("crop", "trunc(iw/2)*2:trunc(ih/2)*2:0:0"),)
        mapped = shown is not None and needs_mapping(frame)
        matrix = ":in_color_matrix=bt2020" if mapped and frame.colorspace == _UNKNOWN else ""
        # The picture is turned at its full size and then scaled, as ffmpeg itself does it.
        filters = (*upright, ("scale", f"{width}:{height}:flags={self._flags}{matrix}"))
        return _Pipeline(frame, filters, self._pixels, mapped)


def _upright(shown: Shown, frame: "VideoFrame") -> Filters:
    left, top, width, height = shown.crop
    whole = (width, height) == (frame.width, frame.height)
    crop = () if whole else (("crop", f"{width}:{height}:{left}:{top}"),)
    # `vflip` gives lines that go backwards in memory, which not all that read frames know of.
    forward = (("copy", ""),) if ("vflip", "") in shown.turn else ()
    return (*crop, *shown.turn, *forward)


class _Pipeline:
    """One filter graph, for frames of the same looks.

    Args:
        mapped: whether colours are to be mapped to those of ordinary screens.
    """

    def __init__(self, frame: "VideoFrame", filters: Filters, pixels: str, mapped: bool) -> None:
        from av.filter import Graph

        graph = Graph()
        graph.threads = 1  # more cost more than they gain, and there is a worker per core
        colours = {"colorspace": str(int(frame.colorspace)), "range": str(int(frame.color_range))}
        base = str(frame.time_base or Fraction(1, 1000))
        size = f"{frame.width}x{frame.height}"
        source = graph.add("buffer", video_size=size, pix_fmt=frame.format.name, time_base=base, **colours)
        last = _chained(graph, source, filters)
        lookup = None
        if mapped:
            lookup = Lookup(graph, _chained(graph, last, (("format", DEEP),)))
            tags = ("setparams", "color_primaries=bt709:color_trc=bt709")
            last = _chained(graph, lookup.node, (tags, ("scale", "out_color_matrix=bt709:out_range=tv")))
        last = _chained(graph, last, (("format", pixels),))
        self._sink = _chained(graph, last, (("buffersink", ""),))
        graph.configure()
        if lookup is not None:
            lookup.fill(table(frame.color_trc, frame.color_primaries))
        self._graph, self._source, self._frames = graph, source, 0

    def __call__(self, frame: "VideoFrame") -> "VideoFrame":
        pts, frame.pts = frame.pts, self._frames  # a lookup wants times that do not go back
        self._frames += 1
        self._source.push(frame)
        picture = cast("VideoFrame", self._sink.pull())
        frame.pts = picture.pts = pts
        return picture


def _chained(graph: "Graph", last: "FilterContext", filters: Filters) -> "FilterContext":
    for name, arguments in filters:
        node = graph.add(name, arguments)
        last.link_to(node)
        last = node
    return last
