"""Decoding a video's frames in presentation order: all of them, or a segment's, numbered as in the whole.

Runs inside the sandbox's child.
"""

from collections.abc import Iterator
from fractions import Fraction
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Protocol, cast

from gpu_kernels.media.containers import NANOSECONDS
from gpu_kernels.media.file_ends import lacks_index
from gpu_kernels.media.segments import Segment
from gpu_kernels.media.timeline import on_one_clock
from gpu_kernels.sandbox import DecodingLimits, MediaError

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.stream import VideoStream

_EARLIER = -1
"""The number of frames that are only decoded for what they tell later ones."""

_FARTHEST_BACK_NS = 128 * NANOSECONDS


class Beside(Protocol):
    """Takes the packets of another stream as they come by."""

    @property
    def stream(self) -> "Stream": ...

    def take(self, packet: "Packet[Any]") -> None:
        """The next one. What is wrong with it must not reach the pictures."""
        ...


class Decoder:
    """Frames in presentation order with times that never go back; damaged data is counted, not fatal.

    Where the file's clock starts again, times go on; see `timeline`.

    Args:
        beside: what is handed the packets of another stream.

    Attributes:
        count: frames so far.
        errors, damaged: packets that could not be decoded, frames that are marked as damaged.
        packets: of the file, as far as they were not read yet.
        guessed: whether a frame had no usable time of its own. A decoder that begins elsewhere may give it another one.
    """

    def __init__(
        self,
        container: "InputContainer",
        stream: "VideoStream",
        limits: DecodingLimits,
        motion_vectors: bool,
        beside: "Beside | None" = None,
    ) -> None:
        self.container, self.stream, self._limits = container, stream, limits
        self._beside = beside
        self.packets = container.demux(stream) if beside is None else container.demux(stream, beside.stream)
        self._tick = (stream.time_base or Fraction(1, NANOSECONDS)) * NANOSECONDS
        # A second thread changes motion vectors from run to run, and loses more frames around damage.
        stream.codec_context.thread_count = 1
        stream.thread_type = "NONE"
        if motion_vectors:
            stream.codec_context.options = {"flags2": "+export_mvs"}
        self.count = 0
        self.forget()

    def forget(self) -> None:
        """Count what is wrong from here on."""
        self.errors = self.damaged = 0
        self.guessed = False

    def frames(self) -> Iterator[tuple[int, "VideoFrame"]]:
        """Presentation times, and the frames.

        Raises:
            MediaError: a frame is larger than the limits allow.
        """
        rate = self.stream.guessed_rate  # raw streams have no times, only the rate that the codec states
        period_ns = round(NANOSECONDS / rate) if rate else NANOSECONDS // 25
        last = None
        for stamp, frame in self._decoded():
            if frame.width * frame.height > self._limits.max_pixels:
                raise MediaError(f"{frame.width}x{frame.height} pixels are more than limits.max_pixels allows")
            expected = 0 if last is None else last + period_ns
            pts_ns = expected if stamp is None else int(stamp * self._tick)
            moved = frame.pts is not None and stamp != frame.pts
            self.guessed |= stamp is None or moved or (last is not None and pts_ns <= last)
            if last is not None and pts_ns <= last:
                pts_ns = last + 1  # broken timestamps: keep the order, stay as near as possible
            last = pts_ns
            self.count += 1
            self.damaged += bool(frame.is_corrupt)
            yield pts_ns, frame

    def _decoded(self) -> Iterator[tuple[int | None, "VideoFrame"]]:
        """Frames and their presentation times in ticks; None where the file has none."""
        codec, stamps = self.stream.codec_context, _Stamps()
        for timed in on_one_clock(self.container, self._packets()):
            # What comes first may refer to frames of another recording: it is not decoded with these. Where a clock
            # jumps between keyframes, it is the same recording.
            if timed.anew and timed.packet.is_keyframe:
                yield from stamps.of(self._from_decoder(None), 0)
                codec.flush_buffers()
                stamps = _Stamps()
            stamps.add(timed.packet)
            yield from stamps.of(self._from_decoder(timed.packet), codec.reorder_depth)
        yield from stamps.of(self._from_decoder(None), 0)

    def _packets(self) -> Iterator["Packet[VideoStream]"]:
        import av.error

        try:
            for packet in self.packets:
                if packet.size and packet.stream.index == self.stream.index:
                    yield cast("Packet[VideoStream]", packet)
                elif packet.size and self._beside is not None:
                    self._beside.take(packet)
        except av.error.MemoryError:
            raise
        except av.FFmpegError:
            self.errors += 1  # the file ends within a packet: what the decoder still holds is flushed

    def _from_decoder(self, packet: "Packet[VideoStream] | None") -> list["VideoFrame"]:
        frames = decoded(self.stream.codec_context, packet)
        self.errors += frames is None
        return frames or []


def decoded(context: Any, packet: Any) -> list[Any] | None:
    """The frames that a decoder gives for a packet, or what it still holds for None; None: it cannot decode it."""
    import av.error

    try:
        return context.decode(packet)
    except av.error.EOFError:
        return []
    except av.error.MemoryError:
        raise
    except av.FFmpegError:
        return None


class _Stamps:
    """The times of packets as the times of frames.

    Frames leave a decoder in presentation order, so each has the earliest time of the packets that are in it. A frame's
    own time is that of its packet; it is believed once times are seen not to be in decoding order: some files have no
    others. Where only some packets have times, the frames of the others have none.
    """

    def __init__(self) -> None:
        self._waiting: list[int] = []
        self._without = 0
        """Packets that are in the decoder and have no time."""
        self._latest: int | None = None
        self._depth = 0
        self._are_presentation_times = False

    def add(self, packet: "Packet[VideoStream]") -> None:
        """The next packet that the decoder gets."""
        stamp = packet.pts if packet.pts is not None else packet.dts
        if packet.is_discard:
            return
        if stamp is None:
            self._without += 1
            return
        if self._latest is not None and stamp < self._latest:
            self._are_presentation_times = True
        self._latest = stamp if self._latest is None else max(stamp, self._latest)
        heappush(self._waiting, stamp)

    def of(self, frames: list["VideoFrame"], depth: int) -> Iterator[tuple[int | None, "VideoFrame"]]:
        """The next frames with their times, of a decoder that holds back `depth` more."""
        self._depth = max(depth, self._depth)
        for index, frame in enumerate(frames):
            while len(self._waiting) > len(frames) - index + self._depth:  # no frame came of these
                heappop(self._waiting)
            yield self._of(frame.pts), frame

    def _of(self, own: int | None) -> int | None:
        if own is None and self._without:
            self._without -= 1
            return None
        earliest = self._waiting[0] if self._waiting else None
        if own is None or (earliest is not None and not self._are_presentation_times):
            return heappop(self._waiting) if self._waiting else None
        while self._waiting and self._waiting[0] <= own:
            heappop(self._waiting)
        return own


def seek_before(container: "InputContainer", stream: "VideoStream", pts_ns: int) -> None:
    """Go to a keyframe at or before a time.

    Raises:
        MediaError: none is found.
    """
    import av.error

    if lacks_index(container.name.removeprefix("file:")):
        raise MediaError("without its index, MXF gives wrong times")
    tick = (stream.time_base or Fraction(1, NANOSECONDS)) * NANOSECONDS
    back_ns = NANOSECONDS  # some containers look for decoding times, which are earlier
    while back_ns <= _FARTHEST_BACK_NS:
        place = int((pts_ns - back_ns) / tick)
        try:
            container.seek(place, stream=stream)
            found = next(packet for packet in container.demux(stream) if packet.is_keyframe)
            container.seek(place, stream=stream)
        except (av.error.FFmpegError, StopIteration):
            break
        if found.pts is not None and int(found.pts * tick) <= pts_ns:
            return
        back_ns *= 2  # and some lead anywhere, from where the next keyframe may be a long way off
    raise MediaError("no keyframe is found from which decoding can begin")


def numbered_frames(decoder: Decoder, own: Segment, lead_ns: int) -> Iterator[tuple[int, int, "VideoFrame"]]:
    """Frames with their numbers and times in the whole video: a segment's own, and those that follow as its context.

    Before these come frames from at least `lead_ns` earlier on, all with the number -1.

    Raises:
        MediaError: the video is not as its probe says; it can only be scanned as a whole then.
    """
    number, start_ns, from_ns = own.start, own.start_pts_ns, own.first_pts_ns or 0
    if start_ns is not None:
        number, from_ns = _EARLIER, max(from_ns, start_ns - lead_ns)
        seek_before(decoder.container, decoder.stream, from_ns)
    known = {own.start: own.first_pts_ns if start_ns is None else start_ns, own.end: own.end_pts_ns}
    for pts_ns, frame in decoder.frames():
        if start_ns is not None and number == _EARLIER:
            if decoder.count == 1 and pts_ns > from_ns:
                raise MediaError("decoding cannot begin before the segment")
            if pts_ns < start_ns:
                yield number, pts_ns, frame
                continue
            number = own.start
            decoder.forget()
        if own.end is not None and number == own.end + own.after:
            return
        if not own.whole and (decoder.guessed or known.get(number) not in (None, pts_ns)):
            raise MediaError(f"the time of frame {number} is not what the probe found")
        yield number, pts_ns, frame
        number += 1
    if own.end is not None:
        raise MediaError(f"the video ends at frame {number}, before the segment does")
