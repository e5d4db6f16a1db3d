"""Which of a file's streams are used: the one that is the video, and the one that is its sound.

Runs inside the sandbox's child.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpu_kernels.sandbox import MediaError

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.stream import VideoStream

_PICTURES = {"mjpeg", "ljpeg", "jpegls", "jpeg2000", "png", "bmp", "webp", "tiff", "targa"}
"""Codecs of covers, and seldom of videos."""

_HEARD = 8
"""Packets of sound that have to be decoded before it counts as sound."""
_LEAST_SHARE = 1 / 10
"""Of all packets of a sound, if these few are not among the first."""


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


def listen(container: "InputContainer") -> Sound:
    """What a file says about its sound, and whether it can be decoded; reads of a sound one only its beginning."""
    stream = sound_stream(container)
    if stream is None:
        return Sound()
    if not stream.codec_context:
        return Sound(stream.index, error="it is in a codec that is not known")
    codec = stream.codec_context.codec.canonical_name
    error = _fault(container, stream)
    rate, channels = stream.codec_context.sample_rate or None, stream.codec_context.channels or None
    return Sound(stream.index, codec, rate, channels, error)


def _fault(container: "InputContainer", stream: "AudioStream") -> str | None:
    import av.error

    good = bad = 0
    packets = container.demux(stream)
    ended = False
    while not ended:
        try:
            packet = next(packets, None)
            ended = packet is None or not packet.size  # then the decoder gives what it still holds
            good += bool(stream.codec_context.decode(packet))
        except av.error.EOFError:
            break
        except av.error.MemoryError:
            raise
        except av.FFmpegError:
            bad += 1
        if good >= _HEARD and good >= bad:
            return None
    if good + bad == 0:
        return "there is nothing in it"
    return None if good >= _LEAST_SHARE * (good + bad) else "it is damaged throughout"
