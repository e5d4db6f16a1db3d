"""Which of a file's streams are used: the one that is the video, and the one that is its sound.

Runs inside the sandbox's child.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from gpu_kernels.sandbox import MediaError, Send

if TYPE_CHECKING:
    from av import Packet
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.stream import VideoStream

_PICTURES = {"mjpeg", "ljpeg", "jpegls", "jpeg2000", "png", "bmp", "webp", "tiff", "targa"}
"""Codecs of covers, and seldom of videos."""

_HEARD = 8
"""Packets of sound that have to be decoded before it counts as sound."""
_LEAST_SHARE = 1 / 10
"""Of all packets of a sound, if these few are not among the first."""
_PROGRESS_PACKETS = 1000


@dataclass(frozen=True)
class Sound:
    """A file's sound; all is None where it has none.

    Attributes:
        index: of its stream in the file.
        codec: None if it is not known.
        error: why it cannot be used; None if it can.
    """

    index: int | None = None
    codec: str | None = None
    sample_rate: int | None = None
    channels: int | None = None
    error: str | None = None


def video_streams(container: "InputContainer") -> list["VideoStream"]:
    """The video streams that are no cover pictures, best first, at least one; the first can be decoded.

    A stream that a player would show by default goes before others, and a stream of pictures before one that seems to
    be a single picture, as covers are that are not marked as such.

    Raises:
        MediaError: there is none, or none with a decoder.
    """
    from av.stream import Disposition

    covers = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = [stream for stream in container.streams.video if not stream.disposition & covers]
    if not streams:
        raise MediaError("the file has no video stream")
    # PyAV gives no context for an unknown codec, whatever its types say.
    streams.sort(
        key=lambda stream: (
            not stream.codec_context,
            _is_single(stream),
            not stream.disposition & Disposition.default,
            stream.index,
        )
    )
    if not streams[0].codec_context:
        raise MediaError("the video stream is in a codec that is not known")
    return streams


def video_stream(container: "InputContainer") -> "VideoStream":
    """The stream that is the video: everything that opens a file uses this one.

    Raises:
        MediaError: there is none, or none with a decoder.
    """
    return video_streams(container)[0]


def _is_single(stream: "VideoStream") -> bool:
    from av.stream import Disposition

    if stream.frames or not stream.codec_context:  # how many the container states: not all do
        return stream.frames == 1
    picture = stream.codec_context.codec.canonical_name in _PICTURES and len(stream.index_entries) <= 1
    return picture or bool(stream.disposition & Disposition.still_image)


def sound_stream(container: "InputContainer") -> "AudioStream | None":
    """The stream that is the sound: with a decoder rather than without, the default one rather than the first."""
    from av.stream import Disposition

    return min(
        container.streams.audio,
        key=lambda stream: (not stream.codec_context, not stream.disposition & Disposition.default, stream.index),
        default=None,
    )


def listen(send: Send, container: "InputContainer") -> Sound:
    """What a file says about its sound, and whether it can be decoded.

    Reads the beginning only where all is well; else to the end, with signs of life.
    """
    stream = sound_stream(container)
    if stream is None:
        return Sound()
    if not stream.codec_context:
        return Sound(stream.index, error="it is in a codec that is not known")
    codec = stream.codec_context.codec.canonical_name
    error = _fault(send, container, stream)
    rate, channels = stream.codec_context.sample_rate or None, stream.codec_context.channels or None
    return Sound(stream.index, codec, rate, channels, error)


def _fault(send: Send, container: "InputContainer", stream: "AudioStream") -> str | None:
    good = bad = 0
    for packet in _packets(send, container, stream):
        heard = _decoded(stream, packet)
        good, bad = good + heard, bad + (not heard and packet is not None)
        if good >= _HEARD and good >= bad:
            return None
    if good + bad == 0:
        return "there is nothing in it"
    return None if good >= _LEAST_SHARE * (good + bad) else "it is damaged throughout"


def _packets(send: Send, container: "InputContainer", stream: "AudioStream") -> "Iterator[Packet[AudioStream] | None]":
    """The packets of a stream, and None at the end."""
    import av.error

    try:
        for number, packet in enumerate(container.demux()):
            if number % _PROGRESS_PACKETS == 0:
                send({"kind": "progress"})
            if packet.stream.index == stream.index and packet.size:
                yield cast("Packet[AudioStream]", packet)
    except av.error.MemoryError:
        raise
    except av.FFmpegError:
        pass  # a truncated file ends here
    yield None


def _decoded(stream: "AudioStream", packet: "Packet[AudioStream] | None") -> bool:
    """Whether a decoder has something to hear, with this packet."""
    import av.error

    try:
        return bool(stream.codec_context.decode(packet))
    except av.error.MemoryError:
        raise
    except av.FFmpegError:
        return False
