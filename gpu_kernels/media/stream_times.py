"""When the frames of a video stream are shown, from its packets. Runs inside the sandbox's child."""

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from gpu_kernels.media.timeline import Timed

if TYPE_CHECKING:
    from av import Packet
    from av.container import InputContainer
    from av.video.stream import VideoStream

NANOSECONDS = 1_000_000_000

LAST_NS = 100 * 365 * 86_400 * NANOSECONDS
"""Times beyond a century are damage, and soon beyond what 64 bits hold."""

_SHORT_BY = Fraction(1, 50)
_SHORT_BY_SECONDS = Fraction(1)
"""A file that ends earlier than it states, by this share of its duration and this time, is not all there."""

_STATE_DURATIONS_OF_STREAMS = ("mov,mp4,m4a,3gp,3g2,mj2", "avi", "mxf")
_STATE_DURATIONS = (*_STATE_DURATIONS_OF_STREAMS, "matroska,webm", "asf")
"""Containers that state how long they are. Of others, FFmpeg reckons it from what it finds at the end of the file, or
from the bit rate."""

_STATE_ENDS = (*_STATE_DURATIONS, "flv")
"""In FLV that is often left out, and FFmpeg then takes the beginning of the last frame for the end."""

_RATES_DIFFER = Fraction(3, 2)
"""From here on, a stated rate is none: some clocks are taken for rates."""

_USUAL_RATE = Fraction(25)
_CLOCK_RATE = 1000
"""Frames per second: where FFmpeg found nothing better than how often the clock ticks."""


class StreamTimes:
    """Takes a stream's packets, and those of the other streams, and says what their times amount to.

    Attributes:
        packets: those that are to be shown.
        keyframes: among them.
        restarts: how often the file's clock starts again.
        broken_off: whether reading ended in an error.
    """

    def __init__(self, container: "InputContainer", stream: "VideoStream") -> None:
        self._container, self._stream = container, stream
        self.tick = stream.time_base or Fraction(1, NANOSECONDS)
        self.packets = self.keyframes = self.restarts = 0
        self.broken_off = False
        self._with_pts = 0
        self._times: list[int] = []
        self._last: tuple[int, int] | None = None
        """The latest frame's time, and how long its packet says that it is shown."""
        self._reach = Fraction(0)

    def add(self, timed: Timed) -> None:
        """The stream's next packet."""
        packet = timed.packet
        self.restarts += timed.anew
        if packet.is_discard:
            return
        self.packets += 1
        self.keyframes += packet.is_keyframe
        self._with_pts += packet.pts is not None
        if (time := packet.pts if packet.pts is not None else packet.dts) is not None:
            self._times.append(time)
            if self._last is None or time >= self._last[0]:
                self._last = (time, packet.duration or 0)

    def pass_by(self, packet: "Packet[Any]") -> None:
        """A packet of any stream, as in the file: it shows how far the file goes."""
        time = max((stamp for stamp in (packet.pts, packet.dts) if stamp is not None), default=None)
        if time is not None and packet.time_base:
            self._reach = max(self._reach, (time + (packet.duration or 0)) * packet.time_base)

    def ends_early(self) -> bool:
        """Whether there is less than the container states."""
        if self.broken_off:
            return True
        if (stated := self._stated_ends()) is None or not self._times:
            return False
        missing = min(stated) - self._reach
        return missing > max(_SHORT_BY_SECONDS, _SHORT_BY * min(stated))

    def pts(self) -> np.ndarray:
        """int64, increasing: the frames' times in ticks; [0] of a raw stream, which has none."""
        return np.unique(np.array(self._times or [0], np.int64))

    def without(self) -> bool:
        """Whether the stream has no times, as raw streams do."""
        return not self._times

    def each_has_its_own(self) -> bool:
        """Whether every frame can be found in the file by its time."""
        return self.restarts == 0 and self._with_pts == self.packets == self.pts().size

    def duration_ns(self, incomplete: bool) -> int:
        """From the first frame's time until the last one has been shown."""
        rate = self._stream.guessed_rate or _USUAL_RATE
        rate = rate if rate < _CLOCK_RATE else _USUAL_RATE
        if not self._times or self._last is None:
            return int(self.packets / rate * NANOSECONDS)
        pts = self.pts()
        last, stated = self._last
        own = stated or (int(np.median(np.diff(pts))) if pts.size > 1 else round(1 / rate / self.tick))
        end = last + max(1, own)
        if without := self.packets - len(self._times):  # some of these may come after it
            by_count = int(pts[0]) + round(self.packets / rate / self.tick)
            end = max(end, min(end + round(without / rate / self.tick), by_count))
        if not incomplete and not self.restarts:
            end = self._bounded(last, end)
        return int(min((end - int(pts[0])) * self.tick * NANOSECONDS, LAST_NS))

    def is_constant(self) -> bool:
        """Whether all frames have the same distance, as far as the clock can tell."""
        gaps = np.diff(self.pts())
        if gaps.size == 0:
            return True
        least, spread = int(gaps.min()), int(gaps.max() - gaps.min())
        return spread * self.tick <= Fraction(1, 1000) or spread <= 2 < least  # a clock may tick once a frame

    def average_rate(self, stated: Fraction, incomplete: bool) -> Fraction:
        """Frames per second: what is stated, unless that is far from what there is."""
        shown_ns = self.duration_ns(incomplete)
        measured = Fraction(self.packets * NANOSECONDS, shown_ns) if shown_ns else stated
        return stated if measured / _RATES_DIFFER <= stated <= measured * _RATES_DIFFER else measured

    def _bounded(self, last: int, end: int) -> int:
        """The end of the last frame, by what the stream and the container state of their ends."""
        if self._stream.duration and self._container.format.name in _STATE_DURATIONS_OF_STREAMS:
            stated = (self._stream.start_time or 0) + self._stream.duration
            end = stated if last < stated and (stated - last) * self.tick * NANOSECONDS <= LAST_NS else end
        whole = self._stated_ends() if self._container.format.name in _STATE_DURATIONS else None
        if whole is not None and last * self.tick < max(whole):
            end = min(end, max(last + 1, round(max(whole) / self.tick)))
        return end

    def _stated_ends(self) -> list[Fraction] | None:
        """When the container says that it ends, in seconds as in the file, however it counts; None if it is a guess."""
        if not self._container.duration or self._container.format.name not in _STATE_ENDS:
            return None
        start, duration = self._container.start_time or 0, self._container.duration
        # Some writers count from zero, others from where the file begins.
        return [Fraction(end, 1_000_000) for end in (duration, start + duration) if end > start]
