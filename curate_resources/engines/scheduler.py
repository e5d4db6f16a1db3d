"""What is to be done next: the order of a plan's work on its units, without any input or output of its own.

An engine takes tasks for its pools, runs them anywhere, and reports how they ended. A unit goes from stage to stage as
one task per pool; where a stage divides it, its parts are tasks of their own and are joined by the task after them.

A worker that dies is reported as `lost`. The unit is then taken on carefully, stage by stage and item by item; an item
that kills a second worker is given up, and becomes a failed row. Its siblings are not.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from curate_resources.pipeline.computation import Part

Handle = Any
"""Where an engine keeps a unit; opaque here."""

_DEATHS = 2
"""An item that was being computed in this many deaths of workers is given up."""

_INNOCENT_LOSSES = 20
"""So often a unit is begun again that went down with a machine, before it is given up."""


@dataclass(frozen=True)
class Task:
    """One call of a worker.

    Attributes:
        unit: number of the unit.
        stage: number of the stage it begins with.
        base: the unit as it stood before that stage.
        part: compute this part of the stage only, and nothing else; None: as many stages as the pool has.
        parts: the finished parts of the stage, to be joined first.
        early: units of the same source with rows that were made early by this pool.
        careful: stop before every stage that has something to compute, so that its items can be tried one by one.
        given_up: the part is not to be computed, but to fail.
        beginning: the unit is only the beginning of a unit.
        deaths: workers that it ended.
        round: how often the unit was begun again before.
        suspect: it was one of several that a worker worked on when it died.
    """

    unit: int
    stage: int
    base: Handle
    part: Part | None = None
    parts: tuple[tuple[Part, Handle], ...] = ()
    early: tuple[Handle, ...] = ()
    careful: bool = False
    given_up: bool = False
    beginning: bool = False
    deaths: int = 0
    round: int = 0
    suspect: bool = False

    @property
    def plain(self) -> bool:
        """Whether it may go into one call with others."""
        return self.part is None and not (self.parts or self.early or self.careful or self.beginning or self.suspect)

    @property
    def alone(self) -> bool:
        """Whether its worker is to work on nothing else meanwhile: if it dies, this was it."""
        return self.suspect or self.deaths > 0


@dataclass(frozen=True)
class Ended:
    """How a task ended.

    Attributes:
        result: the unit as it stands now, or the rows of the part.
        stage: the number of the stage it stands before; the number of stages when it is through.
        parts: into what that stage divides it; empty: not at all.
        size: bytes that the result takes where it is kept.
    """

    result: Handle
    stage: int
    parts: tuple[Part, ...] = ()
    size: int = 0


@dataclass
class _Progress:
    """One unit that was begun and is not through."""

    origin: Handle
    round: int = 0
    careful: bool = False
    deaths: int = 0
    base: Handle = None
    size: int = 0
    missing: set[Part] = field(default_factory=set)
    finished: list[tuple[Part, Handle]] = field(default_factory=list)
    early: dict[int, list[Handle]] = field(default_factory=dict)
    running_early: int = 0
    held: Task | None = None


class Flow:
    """The state of one run.

    Args:
        pool_of: the pool of every stage, ascending.
        units: handles of the units, each asked for when the unit is begun.
        count: how many these are.
    """

    def __init__(self, pool_of: Sequence[int], units: Iterable[Handle], count: int) -> None:
        self._pool_of = tuple(pool_of)
        self._units = iter(units)
        self._count = count
        self._begun = 0
        self._queues: list[deque[Task]] = [deque() for _ in range(max(pool_of) + 1)]
        self._progress: dict[int, _Progress] = {}
        self.given_up: dict[int, str] = {}
        """Why units never come back, by their number: they end workers although none of their items is computed."""

    @property
    def finished(self) -> bool:
        """Whether every unit is through."""
        return self._begun == self._count and not self._progress

    @property
    def size(self) -> int:
        """Bytes of the units between pools."""
        return sum(progress.size for progress in self._progress.values())

    def waiting(self, pool: int) -> int:
        """Tasks that could be taken for a pool, units that were not begun among them."""
        return len(self._queues[pool]) + (self._count - self._begun if pool == 0 else 0)

    def next_alone(self, pool: int) -> bool:
        """Whether the task that comes next for a pool has to be alone in its worker."""
        return bool(queue := self._queues[pool]) and queue[0].alone

    def take(self, pool: int, most: int, room: bool) -> list[Task]:
        """Tasks for one call of a worker: one, or up to `most` that are alike.

        Args:
            room: whether units that were not begun may be begun; false while later pools have enough to do.
        """
        queue = self._queues[pool]
        taken: list[Task] = []
        while len(taken) < most:
            if not queue and pool == 0 and room and self._begun < self._count:
                self._begin()
            if not queue or (taken and not (queue[0].plain and queue[0].stage == taken[0].stage)):
                break
            taken.append(queue.popleft())
            if not taken[-1].plain:
                break
        for task in taken:
            if task.beginning:
                self._progress[task.unit].running_early += 1
        return taken

    def ended(self, task: Task, ended: Ended) -> bool:
        """Note how a task ended; whether its unit is now through all stages (and waits to be fetched)."""
        progress = self._of(task)
        if progress is None:
            return False
        progress.size = ended.size + (progress.size if task.beginning or task.part is not None else 0)
        if task.beginning:
            self._beginning_ended(task, ended, progress)
        elif task.part is not None:
            progress.missing.discard(task.part)
            progress.finished.append((task.part, ended.result))
            if not progress.missing:
                whole = replace(task, base=progress.base, part=None, given_up=False, deaths=progress.deaths)
                self._add(replace(whole, parts=tuple(progress.finished), careful=progress.careful), first=True)
                progress.finished = []
        elif ended.parts:
            progress.base, progress.missing = ended.result, set(ended.parts)
            for part in ended.parts:
                part_of = Task(task.unit, ended.stage, ended.result, part, deaths=progress.deaths, round=task.round)
                self._add(part_of)
        elif ended.stage < len(self._pool_of):
            self._onward(task, ended, progress)
        else:
            return True
        return False

    def fetched(self, task: Task) -> None:
        """Note that the unit of the task, which is through, has arrived where it was to go."""
        del self._progress[task.unit]

    def early(self, task: Task, result: Handle, stage: int) -> None:
        """Note that the beginning of a task's unit is ready for a stage of a later pool."""
        if self._of(task) is not None:
            beginning = Task(task.unit, stage, result, beginning=True, round=task.round)
            self._queues[self._pool_of[stage]].append(beginning)

    def gone(self, task: Task) -> None:
        """Note that what a task was given, or what it gave, went down with a machine: its unit is begun again."""
        progress = self._of(task)
        if progress is None:
            return
        self._forget(lambda each: each.unit == task.unit)
        if progress.round == _INNOCENT_LOSSES:
            self._give_up(task, f"its node was lost {progress.round} times")
            return
        again = _Progress(progress.origin, progress.round + 1, progress.careful, progress.deaths)
        self._progress[task.unit] = again
        self._add(Task(task.unit, 0, again.origin, careful=again.careful, deaths=again.deaths, round=again.round))

    def lost(self, task: Task, guilty: bool, suspect: bool = False) -> None:
        """Note that a task's worker is gone.

        Args:
            guilty: it was being computed, and its machine is still there.
            suspect: that is true of several tasks, one of which ended the worker.
        """
        progress = self._of(task)
        if progress is None:
            return
        deaths = task.deaths + guilty
        if task.beginning:
            progress.running_early -= 1  # it will be computed with the rest of its unit
            self._release(progress)
        elif not guilty:
            self._add(replace(task, suspect=suspect or task.suspect), first=True)
        elif task.part is None:
            if deaths > _DEATHS + 1:
                self._forget(lambda each: each.unit == task.unit)
                self._give_up(task, f"{deaths} workers died while passing on its rows: they may need more memory")
                return
            progress.careful, progress.deaths = True, deaths
            self._add(replace(task, careful=True, deaths=deaths), first=True)
        elif not task.part.smallest:
            progress.missing.discard(task.part)
            progress.missing |= set(task.part.singly())
            for part in task.part.singly():
                self._add(replace(task, part=part, deaths=deaths))
        else:
            self._add(replace(task, given_up=deaths >= _DEATHS, deaths=deaths), first=True)

    # ---------------------------------------------------------------- within

    def _begin(self) -> None:
        handle = next(self._units)
        self._progress[self._begun] = _Progress(handle)
        self._add(Task(self._begun, 0, handle))
        self._begun += 1

    def _give_up(self, task: Task, why: str) -> None:
        self.given_up[task.unit] = why
        del self._progress[task.unit]

    def _of(self, task: Task) -> _Progress | None:
        """The progress of a task's unit, unless it was begun again since."""
        progress = self._progress.get(task.unit)
        return progress if progress is not None and progress.round == task.round else None

    def _add(self, task: Task, first: bool = False) -> None:
        queue = self._queues[self._pool_of[task.stage]]
        (queue.appendleft if first else queue.append)(task)

    def _forget(self, which: Callable[[Task], bool]) -> None:
        for number, queue in enumerate(self._queues):
            self._queues[number] = deque(task for task in queue if not which(task))

    def _onward(self, task: Task, ended: Ended, progress: _Progress) -> None:
        self._forget(lambda each: each.unit == task.unit and each.beginning)  # the whole overtakes its beginning
        progress.held = Task(
            task.unit,
            ended.stage,
            ended.result,
            careful=progress.careful,
            deaths=progress.deaths,
            round=progress.round,
        )
        self._release(progress)

    def _release(self, progress: _Progress) -> None:
        """Let the whole go on once no worker has its beginning."""
        if progress.held is not None and progress.running_early == 0:
            held, progress.held = progress.held, None
            early = progress.early.pop(self._pool_of[held.stage], [])
            self._add(replace(held, early=tuple(early)))

    def _beginning_ended(self, task: Task, ended: Ended, progress: _Progress) -> None:
        progress.running_early -= 1
        progress.early.setdefault(self._pool_of[task.stage], []).append(ended.result)
        if progress.held is None and ended.stage < len(self._pool_of):
            self._add(replace(task, stage=ended.stage, base=ended.result))
        self._release(progress)
