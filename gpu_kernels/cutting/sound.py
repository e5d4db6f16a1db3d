"""The sound of a span of a source, as AAC that begins with the span. Runs inside the sandbox's child.

Samples are put where their times say; what is missing between them is silence. Packets that cannot be decoded are
missing sound. A clip whose source has no sound in its span has no track.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from gpu_kernels.cutting.muxing import ClipFile
from gpu_kernels.cutting.spans import Span
from gpu_kernels.media.containers import open_media
from gpu_kernels.media.epochs import epochs_of
from gpu_kernels.media.file_ends import lacks_index
from gpu_kernels.media.sound_samples import frame_of, samples_of
from gpu_kernels.media.streams import sound_stream
from gpu_kernels.media.timeline import Follower
from gpu_kernels.sandbox import Send

if TYPE_CHECKING:
    from av import AudioFrame, Packet
    from av.audio.stream import AudioStream
    from av.container import InputContainer

_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_LAYOUTS = ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "7.1")
"""What AAC has names for; other rates become 48 kHz, and other layouts stereo."""

_EARLIER = Fraction(1)
"""Seconds before the span from which sound is decoded: codecs need a few packets to get going."""

_JITTER = Fraction(3, 100)
"""Seconds by which times may lie beside where the samples before them end: containers round them."""

_PROGRESS_PACKETS = 1000


def encode_sound(send: Send, path: str, span: Span, clip: ClipFile, kbits: int) -> list["Packet[Any]"]:
    """Packets of a sound track that is added to `clip`; none if there is no sound in the span that can be used.

    Args:
        kbits: per second.
    """
    track: AudioStream | None = None
    packets: list[Packet[Any]] = []
    if not span.with_sound:
        return packets
    for samples in _placed(_resampled(send, path, span), span):
        if track is None:
            track = clip.container.add_stream("aac", rate=samples.sample_rate, layout=samples.layout.name)
            track.bit_rate = kbits * 1000
        packets += track.encode(samples)
    return packets + track.encode(None) if track is not None else packets


def _placed(frames: Iterator["AudioFrame"], span: Span) -> Iterator["AudioFrame"]:
    """Sound without gaps from the span's first frame on, at most to its end."""
    at = 0
    for frame in frames:
        rate = frame.sample_rate
        samples = samples_of(frame)
        begin = round(((frame.time_base or 0) * (frame.pts or 0) - span.start) * rate)
        if abs(begin - at) <= _JITTER * rate and at:
            begin = at
        samples = samples[:, max(0, at - begin) : max(0, round(span.seconds * rate) - begin)]
        if samples.shape[1] == 0:
            continue
        if begin > at:
            yield _sound(np.zeros((samples.shape[0], begin - at), np.float32), frame, at)
            at = begin
        yield _sound(samples, frame, at)
        at += samples.shape[1]


def _sound(samples: np.ndarray, like: "AudioFrame", at: int) -> "AudioFrame":
    frame = frame_of(samples, like.layout.name)
    frame.sample_rate, frame.pts, frame.time_base = like.sample_rate, at, Fraction(1, like.sample_rate)
    return frame


def _resampled(send: Send, path: str, span: Span) -> Iterator["AudioFrame"]:
    """Sound around the span as float32 of one rate and layout, with its times on the video's running clock."""
    from av.audio.resampler import AudioResampler

    resampler: AudioResampler | None = None
    seen: tuple[int, str, str] | None = None
    rate, layout = 0, ""
    for frame, shift in _decoded(send, path, span):
        if frame.pts is None or not frame.time_base:
            continue
        frame.pts += round(shift / frame.time_base)
        shape = (frame.sample_rate, frame.layout.name, frame.format.name)
        if resampler is None or shape != seen:
            rate = rate or (frame.sample_rate if frame.sample_rate in _RATES else 48_000)
            layout = layout or _layout(frame)
            resampler, seen = AudioResampler(format="fltp", layout=layout, rate=rate), shape
        yield from resampler.resample(frame)
    if resampler is not None:
        yield from resampler.resample(None)


def _layout(frame: "AudioFrame") -> str:
    if frame.layout.name in _LAYOUTS:
        return frame.layout.name
    return "mono" if frame.layout.nb_channels == 1 else "stereo"


def _decoded(send: Send, path: str, span: Span, seek: bool = True) -> Iterator[tuple["AudioFrame", Fraction]]:
    """Frames of the sound around the span, and what their times are shifted by, in seconds."""
    with open_media(path) as container:
        stream = sound_stream(container)
        if stream is None or not stream.codec_context:  # PyAV gives none for an unknown codec
            return
        if (begins := not seek or span.clock_restarts > 0) is False:
            begins = _sought(container, stream, span)
        if begins:
            follower = Follower(epochs_of(send, path) if span.clock_restarts else ())
            for index, packet in enumerate(_packets(container, stream)):
                if index % _PROGRESS_PACKETS == 0:
                    send({"kind": "progress"})
                if packet.pts is None or not packet.time_base:
                    continue
                seconds = packet.pts * packet.time_base
                shift = follower.shift(seconds)
                if span.start - _EARLIER <= seconds + shift < span.end:
                    yield from ((frame, shift) for frame in _frames(stream, packet))
                elif seconds + shift >= span.end and not span.clock_restarts:
                    break
            yield from ((frame, follower.latest) for frame in _frames(stream, None))
            return
    yield from _decoded(send, path, span, seek=False)


def _sought(container: "InputContainer", stream: "AudioStream", span: Span) -> bool:
    """Go to where the span's sound begins; false where that is not found, and the file has to be read whole."""
    import av.error

    target = span.start - 2 * _EARLIER
    if target * 1_000_000 <= (container.start_time or 0):
        return True
    if lacks_index(container.name.removeprefix("file:")):
        return False
    try:
        container.seek(int(target * 1_000_000))
        first = next(_packets(container, stream), None)
        container.seek(int(target * 1_000_000))
    except av.error.FFmpegError:
        return False
    if first is None or first.pts is None or not first.time_base:
        return False
    return first.pts * first.time_base <= span.start - _EARLIER


def _packets(container: "InputContainer", stream: "AudioStream") -> Iterator["Packet[Any]"]:
    import av.error

    try:
        yield from (packet for packet in container.demux(stream) if packet.size)
    except av.error.MemoryError:
        raise
    except av.FFmpegError:
        return  # the file ends within a packet


def _frames(stream: "AudioStream", packet: "Packet[AudioStream] | None") -> list["AudioFrame"]:
    import av.error

    try:
        return stream.codec_context.decode(packet)
    except av.error.MemoryError:
        raise
    except av.FFmpegError:
        return []
