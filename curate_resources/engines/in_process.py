"""Running stages in this process, one unit after the other: what every engine's processes do in the end."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

import pyarrow as pa

from curate_resources.declarations.stage import Made, Work, Worker
from curate_resources.engines.open_workers import OpenWorkers
from curate_resources.engines.pools import Node, PlanDoesNotFit, placed_on
from curate_resources.engines.steps import Steps, finished, interleaved
from curate_resources.pipeline.computation import Computation, Part, Rows, Treatment
from curate_resources.pipeline.events import PartsSettled, StageCall, emit
from curate_resources.pipeline.plan import Plan
from curate_resources.pipeline.run_context import about
from curate_resources.pipeline.unit import Unit
from curate_resources.telemetry.profiling import Profiles
from gpu_kernels.devices import gpu_count
from gpu_kernels.errors import UserError

PassOn = Callable[[Unit, int], None]
"""Takes the beginning of a unit, with the parts of it that are settled, and how many these are by now."""


class HeavyWork(BaseException):
    """A unit needs a heavy stage where only light ones may run. Not an error of the stage, so no `Exception`."""


class StageRunner:
    """The stages of a plan, with workers that are opened when an item is first computed and kept: models take seconds
    to load.

    Args:
        light_only: refuse what is heavy, and what needs a GPU.
        apart: names of stages that are refused all the same, because they need an environment of their own.
    """

    def __init__(self, plan: Plan, light_only: bool = False, apart: frozenset[str] = frozenset()) -> None:
        self._plan = plan
        self._light_only, self._apart = light_only, apart
        self._treatments = [Treatment(stage, plan) for stage in plan.stages]
        self._workers = OpenWorkers(plan)
        self._profiles = Profiles(plan)

    def __call__(self, unit: Unit, pass_on: PassOn | None = None) -> Unit:
        """Pass one unit through all stages; `pass_on` hears of the parts that are through before their unit is.

        Raises:
            HeavyWork: of a runner for light stages only; the unit is left half done.
        """
        return finished(self.passing(unit, pass_on))

    def passing(self, unit: Unit, pass_on: PassOn | None = None) -> Steps[Unit]:
        """The same, for who has something else to do while workers with a life are at it."""
        for stage in range(len(self._treatments)):
            yield from self.running(stage, unit, len(self._treatments), pass_on)
        return unit

    def computation(self, stage: int, unit: Unit) -> Computation:
        """What the stage of that number has to do for a unit."""
        return self._treatments[stage].of(unit)

    def run(self, stage: int, unit: Unit, until: int, pass_on: PassOn | None = None) -> None:
        """Run one stage on a unit as it stands.

        While a unit is being scanned, its parts that are settled so far go through the stages before `until`, and then
        to `pass_on`. Their rows are kept for when the whole unit comes to those stages, and are used again there
        because their fingerprints hold.
        """
        finished(self.running(stage, unit, until, pass_on))

    def running(self, stage: int, unit: Unit, until: int, pass_on: PassOn | None = None) -> Steps[None]:
        """As `run`, in steps."""
        computation = self.computation(stage, unit)
        early = self.early(stage, unit, until, pass_on)
        fresh: list[tuple[Part, Rows]] = []
        for part in computation.batches():
            fresh.append((part, (yield from self.computing(stage, computation, part, early))))
        computation.finish(fresh, self.worker(stage))

    def computing(
        self, stage: int, computation: Computation, part: Part, early: Callable[[Rows], None] | None = None
    ) -> Steps[Rows]:
        """The new rows of a part, in steps."""
        name, unit = self._plan.stages[stage].name, computation.unit
        ids = {"shard": unit.shard, "stage": name, "source": unit.source}
        began, tallies = time.time_ns(), unit.tallies
        computing = computation.computing(part, early)
        try:
            work = next(computing)
            while True:
                try:
                    with about(**ids):
                        made = self._begin(stage, work)
                    if isinstance(made, Future):
                        made = yield made
                except Exception as error:
                    with about(**ids):
                        work = computing.throw(error)
                else:
                    work = computing.send(made)
        except StopIteration as end:
            items, failed = part.stop - part.start, tallies[-1]["failed"]
            segment = (part.segment, part.segments)
            call = StageCall(name, unit.shard, unit.source, items, failed, began, time.time_ns(), *segment)
            self._profiles.called(call)
            emit(call)
            return end.value
        finally:
            computing.close()

    def worker(self, stage: int) -> Worker:
        """The worker of a stage in its plain form, which is opened at its first call."""

        def work(work: Work) -> Made:
            made = self._begin(stage, work)
            return made.result() if isinstance(made, Future) else made

        return work

    def close(self) -> None:
        """Close the workers, and write the profiles that were taken."""
        self._workers.close()
        self._profiles.write()

    def _begin(self, stage: int, work: Work) -> Made | Future[Made]:
        declared = self._plan.stages[stage]
        if declared.name in self._apart or (self._light_only and (declared.heavy or declared.needs.gpus)):
            raise HeavyWork(declared.name)
        with self._profiles.during(declared.name):
            return self._workers.begin(stage, work)

    def early(self, stage: int, unit: Unit, until: int, pass_on: PassOn | None) -> Callable[[Rows], None] | None:
        """What is to be called with the rows of a beginning while a stage computes; None when no stage settles them."""
        following = range(stage + 1, until)
        settling = next((i for i in following if self._plan.stages[i].settled is not None), None)
        if settling is None:
            return None
        items = self._plan.stages[settling].writes[0]
        own = {table.name: table for table in self._plan.stages[stage].writes}
        passed: set[tuple[Any, ...]] = set()

        def early(rows: Rows) -> None:
            if not (own.keys() & self._plan.wanted) - self._plan.idle <= rows.keys():
                return  # some of it is stored for the whole unit, and fits no beginning
            idle = {name: table.empty() for name, table in own.items() if name in self._plan.idle}
            # What was stored of the whole unit does not belong to its beginning.
            made = {table.name for i in range(stage, settling + 1) for table in self._plan.stages[i].writes}
            kept = {name: stored for name, stored in unit.kept.items() if name not in made}
            beginning = Unit(unit.shard, unit.source, {**unit.rows, **idle, **rows}, kept)
            for i in following:
                declared = self._plan.stages[i]
                self.run(i, beginning, i)
                if declared.settled is not None:
                    beginning.rows[items.name] = declared.settled(beginning.rows[items.name])
                if i > settling:
                    unit.take_early(beginning, declared.writes, {declared.name})
            beginning.tallies.clear()
            found = beginning.rows[items.name]
            found = found.filter(pa.array([status == "ok" for status in found["status"].to_pylist()], pa.bool_()))
            keys = list(zip(*(found[name].to_pylist() for name in items.keys), strict=True))
            new = [key not in passed for key in keys]
            if pass_on is not None and any(new):
                passed.update(keys)
                beginning.rows[items.name] = found.filter(pa.array(new))
                pass_on(beginning.reduced(self._read_from(until)), len(passed))

        return early

    def _read_from(self, stage: int) -> frozenset[str]:
        return frozenset(name for each in self._plan.stages[stage:] for name in each.inputs)


@dataclass(frozen=True)
class InProcessEngine:
    """Runs a plan here and now, with the packages and the GPUs of this process.

    Attributes:
        environments: by stage name, the interpreter that the stage needs, which here it cannot have.
    """

    environments: Mapping[str, str] = field(default_factory=dict)

    def holds(self, plan: Plan) -> bool:
        """Whether all stages of a plan can run at the same time: here they do not."""
        return True

    def run(self, plan: Plan, units: list[Unit]) -> Iterator[Unit]:
        """Units as they finish, in the order given where no worker has several works at a time; the list is emptied
        meanwhile.

        Raises:
            UserError: before anything runs: a stage needs an environment of its own.
            PlanDoesNotFit: before anything runs: a stage needs a GPU, and this process sees none.
        """
        if not units:
            return
        plan = self._checked(plan)
        if plan.heavy:
            one_thread_per_process()
        runner = StageRunner(plan)
        units.reverse()
        begun = (runner.passing(units.pop(), _tell_settled) for _ in range(len(units)))
        try:
            yield from interleaved(begun, max(stage.needs.at_once for stage in plan.stages))
        finally:
            runner.close()

    def _checked(self, plan: Plan) -> Plan:
        for stage in plan.stages:
            if stage.name in self.environments:
                raise UserError(
                    f"stage {stage.name} has an environment of its own (engine.stages.{stage.name}.environment), which "
                    "engine.kind: in_process cannot give it: use auto or ray, or remove the environment"
                )
        gpus = gpu_count() if any(stage.needs.gpus for stage in plan.stages) else 0
        stages = placed_on(plan.stages, [Node(0, gpus, gpu_memory_gib=inf)])  # its models share them in any case
        for stage in stages:
            if stage.needs.gpus > gpus:
                raise PlanDoesNotFit(
                    f"stage {stage.name} needs {stage.needs.gpus:g} GPUs, and this process sees {gpus}: set its device "
                    "to auto or cpu, or install a GPU driver and a torch that is built for it (`curate doctor` looks)"
                )
        return replace(plan, stages=stages)


def _tell_settled(_beginning: Unit, parts: int) -> None:
    emit(PartsSettled(parts))


def one_thread_per_process() -> None:
    """Workers are parallel by processes; more threads in each only burn time, and change the last bits of results."""
    os.environ["OMP_NUM_THREADS"] = "1"  # for libraries that are not loaded yet; torch may never be
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    pa.set_cpu_count(1)
