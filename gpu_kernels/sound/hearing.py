"""Hearing a video's sound as its packets come by. Runs inside the sandbox's child.

Whatever is wrong with the sound, the pictures are not lost: what cannot be decoded is counted, and hearing breaks off
where it cannot go on.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from gpu_kernels.media.containers import open_media
from gpu_kernels.media.decoder import decoded
from gpu_kernels.media.epochs import epochs_of
from gpu_kernels.media.stream_times import LAST_NS, NANOSECONDS
from gpu_kernels.media.streams import sound_stream
from gpu_kernels.media.timeline import Epoch, Follower
from gpu_kernels.sandbox import DecodingLimits, MediaError, Nursery, Send, reader_of
from gpu_kernels.sound.levels import LevelMeter
from gpu_kernels.sound.messages import TENTH_NS, Heard, HeardAll, HeardSound, SoundEnd, SoundReader

if TYPE_CHECKING:
    from av import AudioFrame, Packet
    from av.audio.stream import AudioStream
    from av.container import InputContainer

_JITTER_NS = 30_000_000
"""By which times may lie beside where the sound before them ends: containers round them."""

_STRAY_NS = 10_000_000_000
"""A time that lies further ahead than this counts only if the next one lies there, too."""

_LONGEST_REASON = 500
_PROGRESS_PACKETS = 1000


class Hearing:
    """Takes the packets of one sound stream in the order of the file, and sends what is heard.

    Sound is put where its times say. Where it goes back, what was heard already stays; where some is missing, it begins
    anew.

    Args:
        epochs: where the file's clock starts again; none where it does not.
    """

    def __init__(self, send: Send, stream: "AudioStream", epochs: Sequence[Epoch]) -> None:
        self._send, self.stream = send, stream
        self._follower = Follower(epochs) if epochs else None
        self._shift_ns = 0
        stream.codec_context.thread_count = 1
        self._meter: LevelMeter | None = None
        self._shape: tuple[int, str, str] | None = None
        self._tick = Fraction(1)
        self._begin_ns = 0
        """When the stretch began that is measured,"""
        self._samples = 0
        """how long it is,"""
        self._sent = 0
        """and how many of its tenths were sent."""
        self._start_ns: int | None = None
        self._held: tuple[AudioFrame, int] | None = None
        """A frame far ahead, and its time, until the next one says whether it is a stray."""
        self._errors = 0
        self._error: str | None = None

    def take(self, packet: "Packet[Any]") -> None:
        """The next packet of the stream."""
        if self._error is None:
            if self._follower is not None and packet.pts is not None and packet.time_base:
                self._shift_ns = int(self._follower.shift(packet.pts * packet.time_base) * NANOSECONDS)
            self._hear(packet)

    def finish(self) -> None:
        """Send what is left, and the end."""
        if self._error is None:
            self._hear(None)
        self._send(
            {
                "kind": "sound_end",
                "start_ns": self._start_ns,
                "end_ns": None if self._start_ns is None else max(self._start_ns, self._end_ns),
                "decode_errors": self._errors,
                "error": self._error,
            }
        )

    @property
    def _end_ns(self) -> int:
        return self._begin_ns + (self._samples * NANOSECONDS // self._meter.rate if self._meter else 0)

    def _hear(self, packet: "Packet[Any] | None") -> None:
        try:
            for frame in self._decoded(packet):
                self._place(frame)
            if packet is None:
                self._errors += self._held is not None
                self._close()
        except MemoryError:
            raise
        except Exception as error:  # whatever a filter or a decoder says of strange sound
            self._error = f"{type(error).__name__}: {error}"[:_LONGEST_REASON]

    def _decoded(self, packet: "Packet[Any] | None") -> "list[AudioFrame]":
        frames = decoded(self.stream.codec_context, packet)
        self._errors += frames is None
        return frames or []

    def _place(self, frame: "AudioFrame") -> None:
        at_ns: int | None = None
        if frame.pts is not None and (tick := frame.time_base):
            at_ns = frame.pts * tick.numerator * NANOSECONDS // tick.denominator + self._shift_ns
        if not frame.samples or abs(at_ns or 0) > LAST_NS:
            return
        held, self._held = self._held, None
        if held is not None and at_ns is not None and at_ns < held[1]:
            self._errors += 1
        elif held is not None:
            self._put(*held)
        at_ns = self._end_ns if at_ns is None else at_ns
        if self._start_ns is not None and at_ns > self._end_ns + _STRAY_NS:
            self._held = frame, at_ns
        else:
            self._put(frame, at_ns)

    def _put(self, frame: "AudioFrame", at_ns: int) -> None:
        expected_ns = self._end_ns
        shape = (frame.sample_rate, frame.layout.name, frame.format.name)
        if self._start_ns is None:
            self._start_ns = at_ns
        elif at_ns < expected_ns - _JITTER_NS:
            return
        elif at_ns <= expected_ns + (_JITTER_NS if shape == self._shape else 0):
            at_ns = expected_ns
        if self._meter is None or shape != self._shape or at_ns != expected_ns:
            self._close()
            self._meter, self._shape, self._tick = LevelMeter(frame), shape, Fraction(1, frame.sample_rate)
            self._begin_ns, self._samples, self._sent = at_ns, 0, 0
        frame.pts, frame.time_base = self._samples, self._tick
        self._samples += frame.samples
        self._measure(frame)

    def _close(self) -> None:
        if self._meter is not None:
            self._measure(None)

    def _measure(self, frame: "AudioFrame | None") -> None:
        assert self._meter is not None
        for levels in self._meter.take(frame):
            header = {
                "kind": "sound",
                "pts_ns": self._begin_ns + self._sent * TENTH_NS,
                "anew": self._sent == 0,
                "count": len(levels.loudness),
            }
            curves = (levels.loudness, levels.peak, levels.true_peak, levels.clipped, levels.voice)
            self._send(header, *(curve.data for curve in curves))
            self._sent += len(levels.loudness)


# ---------------------------------------------------------------- the sound alone


def read_sound(nursery: Nursery, path: str, restarts: bool) -> Iterator[HeardSound | SoundEnd]:
    """Hear `path` in a child process, without looking at its pictures.

    Args:
        restarts: whether the file's clock starts again somewhere.

    Raises:
        MediaError: the file cannot be opened.
    """
    sound = SoundReader()
    read = reader_of(Heard, HeardAll)
    yield from nursery.run(
        "gpu_kernels.sound.hearing:hear",
        lambda header, buffers: sound(read(header, buffers)),
        files=[path],
        path=path,
        restarts=restarts,
    )
    if not sound.ended:
        raise MediaError("the decoding process ended before the sound did")


def hear(send: Send, limits: DecodingLimits, path: str, restarts: bool) -> None:
    """Sandboxed operation: hear all of a file's sound."""
    with open_media(path) as container:
        hearing = hearing_of(send, container, path, restarts)
        rest = container.demux(hearing.stream)
        hear_rest(send, rest, hearing)
        hearing.finish()


def hearing_of(send: Send, container: "InputContainer", path: str, restarts: bool) -> Hearing:
    """What hears the stream of a file that is its sound.

    Raises:
        MediaError: there is none that can be decoded.
    """
    stream = sound_stream(container)
    if stream is None or not stream.codec_context:  # PyAV gives none for an unknown codec
        raise MediaError("the file has no sound that can be decoded")
    return Hearing(send, stream, epochs_of(send, path) if restarts else ())


def hear_rest(send: Send, packets: "Iterator[Packet[Any]]", hearing: Hearing) -> None:
    """Hear all that is still to come, with signs of life."""
    import av.error

    try:
        for number, packet in enumerate(packets):
            if number % _PROGRESS_PACKETS == 0:
                send({"kind": "progress"})
            if packet.size and packet.stream.index == hearing.stream.index:
                hearing.take(packet)
    except av.error.MemoryError:
        raise
    except av.FFmpegError:
        pass  # a truncated file ends here
