"""What a worker process of the Ray engine does: calls, each some stages of some units.

One thread does all the work of all calls; a call that waits for a worker with a life lets the next one go on. There is
no coroutine in the actor's class, because Ray then runs even its plain methods one after another.
"""

import os
import queue
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curate_resources.engines.in_process import PassOn, StageRunner, one_thread_per_process
from curate_resources.engines.scheduler import Handle, Task
from curate_resources.engines.steps import Steps, resumed
from curate_resources.pipeline.computation import Part
from curate_resources.pipeline.plan import Plan
from curate_resources.pipeline.unit import Unit, joined
from curate_resources.telemetry import tracing
from curate_resources.telemetry.processes import observe_worker

Place = tuple[int, int]
"""Where a unit is among the arguments of a call: which table, and which row of it."""


class WorkerDied(Exception):
    """Computing an item ended one worker process after another."""


@dataclass(frozen=True)
class Order:
    """One task, as a worker is told it: `curate_resources.engines.scheduler.Task` with places instead of handles."""

    stage: int
    base: Place
    part: Part | None
    parts: tuple[tuple[Part, Place], ...]
    early: tuple[Place, ...]
    careful: bool
    given_up: bool
    deaths: int

    @classmethod
    def of(cls, task: Task, place: Callable[[Handle], Place]) -> "Order":
        """A task's order, with the places that its handles have among the arguments."""
        return cls(
            task.stage,
            place(task.base),
            task.part,
            tuple((part, place(handle)) for part, handle in task.parts),
            tuple(place(handle) for handle in task.early),
            task.careful,
            task.given_up,
            task.deaths,
        )


@dataclass(frozen=True)
class Settled:
    """Progress: parts that have left this pool while their unit is still being scanned.

    `stage` is the one that they stand before, None when they are through all.
    """

    order: int
    stage: int | None
    parts: int


@dataclass(frozen=True)
class Done:
    """All orders of a call, each with the stage that its unit stands before, and how that stage divides it.

    `size` are the bytes of their table.
    """

    stands: tuple[tuple[int, tuple[Part, ...]], ...]
    size: int


class StageActor:
    """A pool's worker.

    Args:
        until: the number of the first stage after those of the pool.
        gpus: those that Ray was asked for; None: whatever this process sees.
    """

    def __init__(self, plan: Plan, until: int, gpus: float | None = None) -> None:
        one_thread_per_process()
        if gpus is not None:
            _use_assigned_gpus(gpus)
        observe_worker(plan.context)
        self._plan, self._until = plan, until
        self._runner = StageRunner(plan)
        # One thread for all calls: the C library keeps a heap for every thread, and what is freed in one is not used in
        # another. With a thread for each call a worker held half a gigabyte more.
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        threading.Thread(target=_run, args=(self._jobs,), daemon=True).start()
        weakref.finalize(self, self._jobs.put, None)

    def ready(self) -> None:
        """Answers once the process is there."""

    def call(self, orders: Sequence[Order], *units: pa.Table) -> Iterator[Any]:
        """Work on orders; yields pairs, a table of units and then what it is: `Settled` several times, `Done` last.

        The table comes first, so that whoever has read what it is knows that it is there.
        """
        events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        # In a thread, because what is settled is to be told in the middle of the work.
        self._jobs.put(lambda: self._go_on(self._working(orders, units, events), events))
        while True:
            event = events.get()
            if isinstance(event, BaseException):
                raise event
            table, told = event
            yield table
            yield told
            if isinstance(told, Done):
                return

    def close(self) -> None:
        """Close the workers, after what is under way in this process, which is killed next."""
        closed = threading.Event()

        def close() -> None:
            try:
                self._runner.close()
                tracing.flush()
            finally:
                closed.set()

        self._jobs.put(close)
        closed.wait()

    def _working(
        self, orders: Sequence[Order], units: Sequence[pa.Table], events: "queue.SimpleQueue[Any]"
    ) -> Steps[None]:
        results: list[pa.Table] = []
        stands: list[tuple[int, tuple[Part, ...]]] = []
        for number, order in enumerate(orders):
            unit, stage, parts = yield from self._follow(number, order, units, events)
            results.append(unit.to_arrow())
            stands.append((stage, parts))
        table = joined(results)
        events.put((table, Done(tuple(stands), table.nbytes)))

    def _go_on(self, steps: Steps[None], events: "queue.SimpleQueue[Any]", answered: Future[Any] | None = None) -> None:
        """Do a call's work until it waits for something, or ends."""
        try:
            waits_for = resumed(steps, answered)
        except StopIteration:
            return
        except BaseException as error:
            events.put(error)
            return
        waits_for.add_done_callback(lambda done: self._jobs.put(lambda: self._go_on(steps, events, done)))

    def _follow(
        self, number: int, order: Order, units: Sequence[pa.Table], events: "queue.SimpleQueue[Any]"
    ) -> Steps[tuple[Unit, int, tuple[Part, ...]]]:
        def at(place: Place) -> Unit:
            return Unit.from_arrow(units[place[0]], place[1], self._plan.tables)

        def pass_on(beginning: Unit, parts: int) -> None:
            stage = self._until if self._until < len(self._plan.stages) else None
            table = beginning.to_arrow() if stage is not None else pa.table({})
            events.put((table, Settled(number, stage, parts)))

        unit, stage = at(order.base), order.stage
        if order.part is not None:
            return (yield from self._part(unit, order, order.part, pass_on)), stage, ()
        mine = self._plan.stages[stage : self._until]
        for place in order.early:
            tables = [table for each in mine for table in each.writes]
            unit.take_early(at(place), tables, {each.name for each in mine})
        if order.parts:
            self._join(unit, stage, [(part, at(place)) for part, place in order.parts])
            stage += 1
        while stage < self._until:
            parts = self._runner.computation(stage, unit).parts(alone=order.careful)
            if parts and (order.careful or len(parts) > 1):
                return unit, stage, tuple(parts)
            yield from self._runner.running(stage, unit, self._until, pass_on)
            stage += 1
        return unit, stage, ()

    def _part(self, unit: Unit, order: Order, part: Part, pass_on: PassOn) -> Steps[Unit]:
        """The rows of a part; of a unit's first segment also, as kept, those that this pool made early."""
        computation = self._runner.computation(order.stage, unit)
        unit.tallies, stored = [], dict(unit.kept)
        if order.given_up:
            name = self._plan.stages[order.stage].name
            died = WorkerDied(f"{order.deaths} worker processes died while they computed {name} of this row")
            rows = computation.given_up(part, died, order.deaths)
        else:
            first = part.segments > 1 and part.segment == 0
            early = self._runner.early(order.stage, unit, self._until, pass_on) if first else None
            rows = yield from self._runner.computing(order.stage, computation, part, early)
        made_early = {name: rows for name, rows in unit.kept.items() if rows is not stored.get(name)}
        return Unit(unit.shard, unit.source, dict(rows), made_early, unit.tallies)

    def _join(self, unit: Unit, stage: int, parts: Sequence[tuple[Part, Unit]]) -> None:
        computation = self._runner.computation(stage, unit)
        for _, each in parts:
            unit.tallies += each.tallies
            for name, rows in each.kept.items():
                unit.keep(self._plan.tables[name], rows)
        computation.finish([(part, each.rows) for part, each in parts], self._runner.worker(stage))


def _use_assigned_gpus(gpus: float) -> None:
    """Have models see the GPUs that Ray assigned to this worker and no other; torch is not loaded yet.

    Ray does this itself unless a setting says otherwise, and may leave all of them to workers that asked for none.
    """
    assigned: list[str] = []
    if gpus:
        import ray

        assigned = ray.get_runtime_context().get_accelerator_ids().get("GPU", [])
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(assigned)


def _run(jobs: "queue.SimpleQueue[Callable[[], None] | None]") -> None:
    while (job := jobs.get()) is not None:
        job()
        del job  # which holds on to the actor
