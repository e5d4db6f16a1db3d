"""What a computation costs its worker: seconds by the clock, and CPU seconds of its process and of those it started."""

import os
import time
from collections.abc import Callable
from typing import TypeVar

_TICK = 1 / os.sysconf("SC_CLK_TCK")

Told = TypeVar("Told")

_Spent = tuple[float, float]
"""Seconds by the clock, and CPU seconds."""


class SharedClock:
    """Divides what passes among computations that are under way at the same time: together they have spent what passed
    while there was any. For one thread."""

    def __init__(self, children: bool) -> None:
        self._children = children
        self._under_way = 0
        self._each: _Spent = (0.0, 0.0)
        self._at: _Spent = (0.0, 0.0)

    def each(self, more: int = 0) -> _Spent:
        """What a computation would have spent that was always under way; `more` begin now, or end."""
        now = _now(self._children)
        if self._under_way:
            passed = (now[0] - self._at[0], max(0.0, now[1] - self._at[1]))
            self._each = (self._each[0] + passed[0] / self._under_way, self._each[1] + passed[1] / self._under_way)
        self._at = now
        self._under_way += more
        return self._each


class SharedStopwatch:
    """Measures one of the computations that share a clock, until `stop`."""

    def __init__(self, clock: SharedClock) -> None:
        self._clock = clock
        self._began = clock.each(more=1)

    @property
    def spent(self) -> _Spent:
        """Its part of the seconds by the clock, and of the CPU seconds."""
        each = self._clock.each()
        return each[0] - self._began[0], each[1] - self._began[1]

    def without(self, call: Callable[[Told], None]) -> Callable[[Told], None]:
        """The callback as it is: what others do meanwhile is divided in any case."""
        return call

    def stop(self) -> None:
        """The computation has ended."""
        self._clock.each(more=-1)


class Stopwatch:
    """Runs from when it is made.

    Args:
        children: whether child processes do part of the work, such as decoders. It takes a millisecond to ask them.
    """

    def __init__(self, children: bool) -> None:
        self._children = children
        self._seconds, self._cpu_seconds = _now(children)

    @property
    def spent(self) -> _Spent:
        """Seconds by the clock, and CPU seconds."""
        seconds, cpu_seconds = _now(self._children)
        # A child that was killed with children of its own takes what they spent along.
        return seconds - self._seconds, max(0.0, cpu_seconds - self._cpu_seconds)

    def without(self, call: Callable[[Told], None]) -> Callable[[Told], None]:
        """A callback during which the watch stands still, because it is the work of others.

        What a child goes on doing meanwhile counts for these.
        """

        def uncounted(told: Told) -> None:
            spent = self.spent
            try:
                call(told)
            finally:
                now = _now(self._children)
                self._seconds, self._cpu_seconds = now[0] - spent[0], now[1] - spent[1]

        return uncounted

    def stop(self) -> None:
        """The computation has ended; nobody else is measured by it."""


def _now(children: bool) -> _Spent:
    ended = os.times()  # of children that are gone and were waited for
    cpu_seconds = time.process_time() + ended.children_user + ended.children_system
    return time.perf_counter(), cpu_seconds + (_descendants(os.getpid()) if children else 0.0)


def _descendants(process: int) -> float:
    """CPU seconds of the children of a process that are still there, with all of theirs."""
    seconds = 0.0
    try:
        for task in os.listdir(f"/proc/{process}/task"):
            with open(f"/proc/{process}/task/{task}/children") as listed:
                children = listed.read().split()
            for child in map(int, children):
                with open(f"/proc/{child}/stat") as stat:
                    fields = stat.read().rsplit(")", 1)[1].split()
                seconds += sum(map(int, fields[11:15])) * _TICK + _descendants(child)
    except OSError:  # it ended just now, or this system does not tell
        pass
    return seconds
