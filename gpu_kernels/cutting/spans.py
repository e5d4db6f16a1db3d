"""The frames of a source that become a clip, and how to decode just those. Runs inside the sandbox's child."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from gpu_kernels.media.containers import open_media
from gpu_kernels.media.decoder import Decoder, seek_before
from gpu_kernels.media.streams import video_stream
from gpu_kernels.sandbox import DecodingLimits, MediaError, Send

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.stream import VideoStream

SECOND = 1_000_000_000

_PROGRESS_FRAMES = 10


@dataclass(frozen=True)
class Span:
    """The frames [start_frame, end_frame) of a source, shown from `start_ns` until `end_ns`.

    Attributes:
        clock_restarts: how often the source's clock starts again. Times are on the running clock, by which frames of
            such a source cannot be looked up.
        with_sound: whether the source's sound can be used.
    """

    start_frame: int
    end_frame: int
    start_ns: int
    end_ns: int
    clock_restarts: int = 0
    with_sound: bool = True

    @property
    def frames(self) -> int:
        """How many they are."""
        return self.end_frame - self.start_frame

    @property
    def start(self) -> Fraction:
        """When it begins, in seconds."""
        return Fraction(self.start_ns, SECOND)

    @property
    def end(self) -> Fraction:
        """When it ends, in seconds."""
        return Fraction(self.end_ns, SECOND)

    @property
    def seconds(self) -> Fraction:
        """How long it is."""
        return self.end - self.start


class SpanNotFound(MediaError):
    """The file does not give the frames of the span."""


def span_frames(
    send: Send, path: str, span: Span, limits: DecodingLimits, look_up: bool
) -> Iterator[tuple[int, "VideoFrame", "VideoStream"]]:
    """A span's frames as the scan saw them: their times in nanoseconds, they, and the stream that they are of.

    Args:
        look_up: whether to find them by their times, from the keyframe before. Else the file is decoded from its
            beginning and they are counted, as the scan counted them.

    Raises:
        SpanNotFound: they are not all there. What was given does not count.
        MediaError: the file cannot be decoded.
    """
    given = 0
    with open_media(path) as container:
        stream = video_stream(container)
        decoder = Decoder(container, stream, limits, motion_vectors=False)
        if look_up:
            try:
                seek_before(container, stream, span.start_ns)
            except MediaError as error:
                raise SpanNotFound(str(error)) from error
        for number, (pts_ns, frame) in enumerate(decoder.frames()):
            if number % _PROGRESS_FRAMES == 0:
                send({"kind": "progress"})
            place, start, end = (
                (pts_ns, span.start_ns, span.end_ns) if look_up else (number, span.start_frame, span.end_frame)
            )
            if place >= end:
                break
            if place >= start:
                if look_up and (decoder.guessed or (given == 0 and place != start)):
                    break
                given += 1
                yield pts_ns, frame, stream
    if given != span.frames:
        raise SpanNotFound(f"{given} of the span's {span.frames} frames are found in the file")
