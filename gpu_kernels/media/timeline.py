"""One running clock for files whose own clock starts again. Runs inside the sandbox's child.

Recordings that were joined, cut broadcasts and the cells of a DVD each bring a clock of their own. The video's packets
say where one ends and the next begins; each such part is an `Epoch`, and is moved so that it follows the one before.
Sound is moved by what its own part is moved by, so it stays in sync.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from av import Packet
    from av.container import InputContainer

_BACK = Fraction(1, 5)
"""Seconds by which decoding times go back where a clock starts again; less is jitter."""

_SOUND_BACK = Fraction(1, 20)
"""Seconds by which the times of sound go back there: they are in order, and jitter is less."""

_AHEAD = Fraction(10)
"""Seconds by which they go ahead where something was cut out, in formats that allow such jumps. FFmpeg's own figure."""

_AHEAD_FRAMES = 3
"""And this many times as long as a frame is shown: a time lapse is not a series of cuts."""

_NEAR = Fraction(1)
"""Seconds by which a part's sound may begin before, or end after, its pictures."""

_DECODING_TIMES_ONLY = ("avi",)
"""Containers that hold no presentation times. FFmpeg makes some up, in decoding order."""


@dataclass(frozen=True)
class Epoch:
    """A part of the file that has one clock, in seconds.

    Attributes:
        shift: what is added to the file's times.
        first, last: the earliest and the latest decoding time of its video, as in the file.
    """

    shift: Fraction
    first: Fraction
    last: Fraction

    def holds(self, seconds: Fraction) -> bool:
        """Whether sound of this time can be part of it."""
        return self.first - _NEAR <= seconds <= self.last + _NEAR


@dataclass(frozen=True)
class Timed:
    """A packet whose times are on the running clock; `anew` if it is the first of another epoch."""

    packet: "Packet[Any]"
    anew: bool


def has_presentation_times(container: "InputContainer") -> bool:
    """Whether a container holds the times at which frames are shown, not only those at which they are decoded."""
    return container.format.name not in _DECODING_TIMES_ONLY


def on_one_clock(container: "InputContainer", packets: Iterable["Packet[Any]"]) -> Iterator[Timed]:
    """A video stream's packets, from the file's beginning on, with their times put on one running clock.

    A single packet whose time lies elsewhere is damage: it loses its time. Where the container has no presentation
    times, the packets have none either.
    """
    clock = _Clock(container)
    for packet, following in _with_next(packets):
        yield clock.timed(packet, following)


def epochs(container: "InputContainer", packets: Iterable["Packet[Any]"]) -> list[Epoch]:
    """The epochs of a file, from its video's packets."""
    clock = _Clock(container)
    for packet, following in _with_next(packets):
        clock.timed(packet, following)
    return clock.epochs()


class Follower:
    """Finds the epoch of another stream's packets, which come in the order of the file.

    Attributes:
        latest: what the last packet's time was shifted by, in seconds.
    """

    def __init__(self, epochs: Sequence[Epoch]) -> None:
        self.latest = Fraction(0)
        self._epochs, self._at = epochs, 0
        self._last: Fraction | None = None

    def shift(self, seconds: Fraction) -> Fraction:
        """What is added to the time of the next packet, in seconds."""
        if not self._epochs:
            return self.latest
        went_back = self._last is not None and seconds < self._last - _SOUND_BACK
        if went_back or not self._epochs[self._at].holds(seconds):
            later = range(self._at + 1, len(self._epochs))
            self._at = next((index for index in later if self._epochs[index].holds(seconds)), self._at)
        self._last = seconds
        self.latest = self._epochs[self._at].shift
        return self.latest


class _Clock:
    def __init__(self, container: "InputContainer") -> None:
        from av.format import Flags

        self._may_jump = bool(container.format.flags & Flags.ts_discont.value)
        self._decoding_times_only = not has_presentation_times(container)
        self._tick = Fraction(1)
        self._shift = 0
        self._last: int | None = None
        """Decoding time of the last packet, as in the file."""
        self._end: int | None = None
        """When what was seen so far has been shown, on the running clock."""
        self._step = 1
        self._epochs: list[tuple[int, int, int]] = []

    def timed(self, packet: "Packet[Any]", following: "Packet[Any] | None") -> Timed:
        if packet.time_base:
            self._tick = packet.time_base
        if self._decoding_times_only:
            packet.pts = None
        stamp, anew = packet.dts, False
        if stamp is not None:
            if self._is_stray(stamp, following, packet):
                packet.pts = packet.dts = None
                return Timed(packet, False)
            anew = not self._continues(stamp, packet) or self._overlaps(stamp, packet, following)
            if anew and self._end is not None:
                self._shift = self._end - (packet.pts if packet.pts is not None else stamp)
            if anew or not self._epochs:
                self._epochs.append((self._shift, stamp, stamp))
            elif self._last is not None:
                self._step = max(1, stamp - self._last)
            shift, first, last = self._epochs[-1]
            self._epochs[-1] = (shift, min(first, stamp), max(last, stamp))
            self._last = stamp
            packet.dts = stamp + self._shift
        if packet.pts is not None:
            packet.pts += self._shift
        shown = packet.pts if packet.pts is not None else packet.dts
        if shown is not None:
            end = shown + (packet.duration or self._step)
            self._end = end if self._end is None else max(end, self._end)
        return Timed(packet, anew)

    def epochs(self) -> list[Epoch]:
        return [Epoch(shift * self._tick, first * self._tick, last * self._tick) for shift, first, last in self._epochs]

    def _continues(self, stamp: int, packet: "Packet[Any]") -> bool:
        if self._last is None:
            return True
        step = (stamp - self._last) * self._tick
        farthest = max(_AHEAD, _AHEAD_FRAMES * (packet.duration or 0) * self._tick)
        return step >= -_BACK and (step <= farthest or not self._may_jump)

    def _overlaps(self, stamp: int, packet: "Packet[Any]", following: "Packet[Any] | None") -> bool:
        """Whether a recording begins here that starts a little before the one before it ends.

        It begins with a keyframe that would be shown too early, and the packet after it is no later than the last one.
        """
        after = None if following is None else following.dts
        if self._last is None or self._end is None or after is None or not packet.is_keyframe:
            return False
        shown = packet.pts if packet.pts is not None else stamp
        return stamp < self._last and after <= self._last and shown + self._shift < self._end

    def _is_stray(self, stamp: int, following: "Packet[Any] | None", packet: "Packet[Any]") -> bool:
        """Whether the packet after this one goes on where the one before it was."""
        after = None if following is None else following.dts
        if self._last is None or after is None or not self._continues(after, packet):
            return False
        return not self._continues(stamp, packet) or (stamp - after) * self._tick > _BACK


def _with_next(packets: Iterable["Packet[Any]"]) -> Iterator[tuple["Packet[Any]", "Packet[Any] | None"]]:
    held: Packet[Any] | None = None
    for packet in packets:
        if held is not None:
            yield held, packet
        held = packet
    if held is not None:
        yield held, None
