"""The workers of one pool: Ray actors, what each was asked for, and how much to ask of it at a time."""

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from curate_resources.engines.pools import Pool
from curate_resources.engines.scheduler import Task

_CALL_SECONDS = 0.1
"""Small units go into one call until it takes about this long: a call costs one or two milliseconds."""
MOST_PER_CALL = 512
"""Units, however small."""
_CALL_BYTES = 16 << 20
"""Large units go into one call up to about this many bytes, before and after."""
_OUT_BYTES = 256 << 20
"""Workers that have several calls at a time have up to about this many bytes of units out."""
_PREFETCH_BELOW_SECONDS = 0.25
"""Workers whose calls are shorter get the next one before they are done with this one."""


@dataclass(eq=False)
class Call:
    """What a worker was asked for and has not answered in full."""

    tasks: list[Task]
    answers: Any
    table: Any = None


@dataclass(eq=False)
class Worker:
    """An actor, and what it is at; `placed` is its place in the group that was reserved.

    `busy_since` is when its first call began, or when the one before that ended.
    """

    actor: Any
    placed: int | None
    starting: Any = None
    doubted: bool = False
    calls: deque[Call] = field(default_factory=deque)
    idle_since: float = field(default_factory=time.monotonic)
    busy_since: float = 0.0

    def take(self, call: Call) -> None:
        """It was sent one more call."""
        if not self.calls:
            self.busy_since = time.monotonic()
        self.calls.append(call)


class Crew:
    """The workers of one pool."""

    def __init__(self, pool: Pool, number: int, actor_class: Any, arguments: tuple[Any, ...]) -> None:
        self.pool, self.number = pool, number
        self.workers: list[Worker] = []
        self.busy_seconds = 0.0
        self.most_workers = 0
        self.stillborn = self.died = 0
        self._actor_class, self._arguments = actor_class, arguments
        self._seconds_per_unit: float | None = None
        self._bytes_per_unit = 0.0

    def hire(self, placed: int | None = None, strategy: Any = None) -> None:
        """One more worker; `placed` is its place in the group that was reserved."""
        options = {"scheduling_strategy": strategy} if strategy is not None else {}
        actor = self._actor_class.options(**options).remote(*self._arguments)
        self.workers.append(Worker(actor, placed, actor.ready.remote()))
        self.most_workers = max(self.most_workers, len(self.workers))

    @property
    def several(self) -> bool:
        """Whether a worker works on several calls at a time; else it takes them in turn."""
        return self.pool.at_once > 1

    def depth(self) -> int:
        """Calls that a worker may have at a time."""
        if self.several:
            return min(self.pool.at_once, max(2, int(_OUT_BYTES / max(self._bytes_per_unit, 1))))
        seconds = self._seconds_per_unit
        return 2 if seconds is not None and seconds * self.per_call() < _PREFETCH_BELOW_SECONDS else 1

    def per_call(self) -> int:
        """Most units of a call. Those that are worked on at the same time have a call each, and are answered alone."""
        if self._seconds_per_unit is None or self.several:
            return 1
        quick = int(_CALL_SECONDS / max(self._seconds_per_unit, 1e-6))
        small = int(_CALL_BYTES / max(self._bytes_per_unit, 1))
        return max(1, min(MOST_PER_CALL, quick, small))

    def answered(self, worker: Worker, call: Call, size: int) -> None:
        """Take a call off its worker; note how long it took, and the bytes that it gave."""
        now = time.monotonic()
        seconds, worker.busy_since, worker.idle_since = now - worker.busy_since, now, now
        worker.calls.remove(call)
        self.busy_seconds += seconds
        measured = seconds / len(call.tasks)
        before = self._seconds_per_unit
        self._seconds_per_unit = measured if before is None else (measured + before) / 2
        self._bytes_per_unit = size / len(call.tasks)

    @property
    def starting(self) -> int:
        """Workers whose process is not there yet."""
        return sum(worker.starting is not None for worker in self.workers)

    @property
    def idle(self) -> list[Worker]:
        """Workers with nothing to do."""
        return [worker for worker in self.workers if worker.starting is None and not worker.calls]
