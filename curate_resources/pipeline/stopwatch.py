"""What a computation costs its worker: seconds by the clock, and CPU seconds of its process and of those it started."""

import os
import time
from collections.abc import Callable
from typing import TypeVar

_TICK = 1 / os.sysconf("SC_CLK_TCK")

Told = TypeVar("Told")


class Stopwatch:
    """Runs from when it is made.

    Args:
        children: whether child processes do part of the work, such as decoders. It takes a millisecond to ask them.
    """

    def __init__(self, children: bool) -> None:
        self._children = children
        self._seconds, self._cpu_seconds = self._now()

    @property
    def spent(self) -> tuple[float, float]:
        """Seconds by the clock, and CPU seconds."""
        seconds, cpu_seconds = self._now()
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
                now = self._now()
                self._seconds, self._cpu_seconds = now[0] - spent[0], now[1] - spent[1]

        return uncounted

    def _now(self) -> tuple[float, float]:
        ended = os.times()  # of children that are gone and were waited for
        cpu_seconds = time.process_time() + ended.children_user + ended.children_system
        return time.perf_counter(), cpu_seconds + (_descendants(os.getpid()) if self._children else 0.0)


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
