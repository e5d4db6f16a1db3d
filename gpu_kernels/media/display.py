"""What a player shows of a decoded frame: which part, in which shape, which way up. Runs inside the sandbox's child.

A container can crop (`clap` in MP4, `PixelCrop` in Matroska), stretch and turn what is in its packets, and the packets
can say so themselves. The ffmpeg program and ffplay do here what this module says, in the same order: crop, turn,
stretch. A picture turned by anything but quarter turns keeps its size: its corners are lost and black ones come in.
"""

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from av import VideoFrame
    from av.filter import Graph
    from av.video.stream import VideoStream

_IDENTITY = (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)

_WITHOUT_SHAPE = ("mpegts", "mpeg", "mpegvideo", "m4v", "h264", "hevc", "av1", "obu", "ivf", "flv", "vc1", "cavsvideo")
"""Containers that say nothing of a pixel's shape: each frame's own counts."""

_MOST_STRETCHED = 16
"""A pixel that is this many times as wide as high, or as high as wide, is damage, and taken for a square one."""

Filters = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Shown:
    """How a frame is shown.

    Attributes:
        crop: left, top, width and height of the part that is shown, in decoded pixels.
        aspect: of the decoded pixels, width to height.
        turn: the filters that turn and mirror it, with their arguments.
        rotation, mirrored: clockwise degrees by which it is turned, and whether it is mirrored left to right then.
        width, height: as shown, with square pixels. They are stretched, never squeezed: no line or column is lost.
    """

    crop: tuple[int, int, int, int]
    aspect: Fraction
    turn: Filters
    rotation: int
    mirrored: bool
    width: int
    height: int


class Display:
    """Says of each frame of a stream how it is shown; frames must come as they are decoded."""

    def __init__(self, stream: "VideoStream") -> None:
        self._cropped = _cropping(stream)
        self._aspects = _Aspects(stream)
        self._rotation = 0
        self._matrix: tuple[int, ...] | None = None

    def __call__(self, frame: "VideoFrame") -> Shown:
        # What a stream says of its orientation at a keyframe holds until the next, though it is not on every frame.
        if self._matrix is None or frame.key_frame or frame.rotation not in (0, self._rotation):
            self._rotation, self._matrix = frame.rotation, _display_matrix(frame)
        turn, rotation, mirrored = _turn(self._matrix)
        crop = _part(frame, self._cropped)
        aspect = self._aspects(frame)
        width = max(1, round(crop[2] * max(aspect, 1)))
        height = max(1, round(crop[3] / min(aspect, 1)))
        if rotation in (90, 270):
            width, height = height, width
        return Shown(crop, aspect, turn, rotation, mirrored, width, height)


def even_size(width: int, height: int) -> tuple[int, int]:
    """The size without an odd last column and line, for which 4:2:0 has no chroma."""
    return max(2, width // 2 * 2), max(2, height // 2 * 2)


# ---------------------------------------------------------------- which way up


def _display_matrix(frame: "VideoFrame") -> tuple[int, ...]:
    data = side_data(frame, "DISPLAYMATRIX")
    if data is None and frame.rotation:
        angle = math.radians(-frame.rotation)
        sine, cosine = round(math.sin(angle) * (1 << 16)), round(math.cos(angle) * (1 << 16))
        return (cosine, sine, 0, -sine, cosine, 0, 0, 0, 1 << 30)
    return tuple(np.frombuffer(bytes(data), np.int32).tolist()) if data is not None else _IDENTITY


def side_data(frame: "VideoFrame", kind: str) -> Any:
    """What a decoder says beside the picture; None if it says nothing of that kind.

    Some kinds are not known to PyAV. It then gives none at all of a frame that has such.
    """
    try:
        return frame.side_data.get(kind)
    except ValueError:
        return None


def _turn(matrix: tuple[int, ...]) -> tuple[Filters, int, bool]:
    """The filters that ffmpeg turns and mirrors with, clockwise degrees, and whether it is mirrored after that."""
    a, b, c, d = matrix[0], matrix[1], matrix[3], matrix[4]
    across, down = math.hypot(a, c), math.hypot(b, d)
    if not across or not down:
        return (), 0, False
    angle = round(math.degrees(math.atan2(b / down, a / across))) % 360
    if angle == 90:
        return (("transpose", "cclock_flip" if c > 0 else "clock"),), 90, c > 0
    if angle == 270:
        return (("transpose", "clock_flip" if c < 0 else "cclock"),), 270, c < 0
    if angle == 180:
        flip = (("hflip", ""),)
        return ((*flip, ("vflip", "")), 180, False) if d < 0 else (flip, 0, True)
    if angle:
        return (("rotate", f"{angle}*PI/180"),), angle, False
    return ((("vflip", ""),), 180, True) if d < 0 else ((), 0, False)


# ---------------------------------------------------------------- which part


def _part(frame: "VideoFrame", cropped: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Left, top, width and height of what is left when so much is cropped, in whole samples of chroma."""
    left, top, right, bottom = cropped
    across, down = 4 // frame.format.chroma_width(4), 4 // frame.format.chroma_height(4)
    width, height = frame.width - left - right, frame.height - top - bottom
    if not any(cropped) or width < across or height < down:
        return 0, 0, frame.width, frame.height
    return left // across * across, top // down * down, width // across * across, height // down * down


_SEGMENT, _TRACKS, _TRACK, _VIDEO = 0x18538067, 0x1654AE6B, 0xAE, 0xE0
_CROPS = {0x54CC: 0, 0x54BB: 1, 0x54DD: 2, 0x54AA: 3}


def _cropping(stream: "VideoStream") -> tuple[int, int, int, int]:
    """Columns and lines at left, top, right and bottom that the container says are not shown.

    PyAV does not tell. But its muxer of Matroska does: it writes them into the header of a file for the same stream.
    """
    import av
    import av.error

    header = io.BytesIO()
    try:
        with av.open(header, "w", format="matroska", options={"fflags": "+bitexact"}) as container:
            container.add_stream_from_template(stream, opaque=True)
            container.start_encoding()
    except (av.error.FFmpegError, ValueError):  # a codec that Matroska has no name for
        return 0, 0, 0, 0
    found = [0, 0, 0, 0]
    for element, body in _elements(header.getvalue(), (_SEGMENT, _TRACKS, _TRACK, _VIDEO)):
        if element in _CROPS:
            found[_CROPS[element]] = int.from_bytes(body)
    left, top, right, bottom = found
    return left, top, right, bottom


def _elements(data: bytes, path: tuple[int, ...]) -> Iterator[tuple[int, bytes]]:
    """The EBML elements within those that `path` names, outermost first."""
    at = 0
    while at < len(data):
        length = 9 - data[at].bit_length()
        element = int.from_bytes(data[at : at + length])
        at += length
        length = 9 - data[at].bit_length()
        size = int.from_bytes(data[at : at + length]) & ~(1 << 7 * length)
        at += length
        body = data[at : at + size]  # a size that is not known is larger than what there is
        at += size
        if not path:
            yield element, body
        elif element == path[0]:
            yield from _elements(body, path[1:])


# ---------------------------------------------------------------- in which shape


class _Aspects:
    """The sample aspect ratio of each frame of a stream: the container's, where it states one, else the frame's own.

    A decoder knows of a change some frames before it gives the first that is changed, and PyAV does not say of a frame
    what its own is. A filter does.
    """

    def __init__(self, stream: "VideoStream") -> None:
        self._stream = stream
        self._stated = _aspect(stream.sample_aspect_ratio)
        container = set(stream.container.format.name.split(","))
        self._by_container = not container.intersection(_WITHOUT_SHAPE)
        self._always = "matroska" in container
        self._known: list[Fraction] = []
        self._measure: tuple[tuple[int, int, str], Graph] | None = None

    def __call__(self, frame: "VideoFrame") -> Fraction:
        if self._always:
            return self._stated
        current = _aspect(self._stream.codec_context.sample_aspect_ratio)
        if current not in self._known:
            if not self._known and self._by_container and current != self._stated:
                self._always = True
                return self._stated
            self._known.append(current)
        return current if len(self._known) == 1 else self._measured(frame)

    def _measured(self, frame: "VideoFrame") -> Fraction:
        from av.filter import Graph

        shape = (frame.width, frame.height, frame.format.name)
        if self._measure is None or self._measure[0] != shape:
            graph = Graph()
            graph.threads = 1
            source = graph.add_buffer(template=self._stream, width=shape[0], height=shape[1], format=frame.format)
            corner = graph.add("crop", "2:2:0:0:exact=1")
            wide = graph.add("scale", "w=clip(120*sar\\,1\\,8192):h=2:eval=frame:flags=neighbor")
            sink = graph.add("buffersink")
            source.link_to(corner)
            corner.link_to(wide)
            wide.link_to(sink)
            graph.configure()
            self._measure = shape, graph
        graph = self._measure[1]
        graph.vpush(frame)
        ratio = graph.vpull().width / 120
        return min(self._known, key=lambda known: abs(float(known) - ratio))


def _aspect(ratio: Fraction | None) -> Fraction:
    return ratio if ratio and Fraction(1, _MOST_STRETCHED) <= ratio <= _MOST_STRETCHED else Fraction(1)
