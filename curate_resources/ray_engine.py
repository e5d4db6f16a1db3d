"""The streaming engine: pools of Ray actors between which units flow as Arrow tables.

What is to be done next is decided by `curate_resources.flow`; here are the actors that do it, and what becomes of them.
Tables go from worker to worker through Ray's object store; only their places pass through here. Ray Data is not used:
its own processes and its start cost more than all of this (docs/benchmarks.md has the measurement), and it can neither
divide one long video among workers nor say which row ended a worker.
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from curate_resources.crew import MOST_PER_CALL, Call, Crew, Worker
from curate_resources.flow import Ended, Flow, Task
from curate_resources.in_process import tell_settled
from curate_resources.plan import Plan
from curate_resources.pools import Layout, PlanDoesNotFit, Pool, check_stage, pools
from curate_resources.ray_cluster import RayCluster
from curate_resources.stage_actor import Done, Order, Place, Settled, StageActor
from curate_resources.unit import Unit, joined

_log = logging.getLogger("curate.engine")
_progress = logging.getLogger("curate.progress")

_LULL_SECONDS = 5.0
_LOOK_AROUND_SECONDS = 2.0
_PUT_BYTES = 8 << 20
_STORE_SHARE = 1 / 16
"""Of the cluster's object store, for units between pools: no more are begun while they take it."""
_NODE_DIED = "its node has died"
"""How Ray's error says that an actor went down with its machine."""
_STILLBORN = 3
"""So many workers of a pool may die before they are there, until this is an error."""

Handle = tuple[Any, int]
"""A reference to a table of units, and a row of it."""


@dataclass(frozen=True)
class RayEngine:
    """Runs a plan on a Ray cluster.

    Attributes:
        environments: by stage name, the interpreter that the stage's workers need.
    """

    cluster: RayCluster
    layout: Layout = "auto"
    environments: Mapping[str, str] = field(default_factory=dict)

    def holds(self, plan: Plan) -> bool:
        """Whether the cluster has room for workers of all stages of a plan at the same time.

        Raises:
            PlanDoesNotFit: there is a stage that it cannot even hold alone.
        """
        nodes = self.cluster.nodes(any(stage.needs.gpus for stage in plan.stages))
        for stage in plan.stages:
            check_stage(stage, nodes)
        try:
            pools(plan.stages, nodes, self.layout, self.environments)
        except PlanDoesNotFit as error:
            _log.info("%s", error)
            return False
        return True

    def run(self, plan: Plan, units: list[Unit]) -> Iterator[Unit]:
        """Units as they finish; the list is emptied meanwhile.

        Raises:
            PlanDoesNotFit: before anything starts.
        """
        if not units:
            return
        ray = self.cluster.connected()
        compiled = pools(plan.stages, self.cluster.nodes(True), self.layout, self.environments)
        with _Run(ray, plan, compiled, units) as run:
            yield from run.finished_units()


class _Run:
    """One plan on its way; a context that leaves neither actors nor reservations behind."""

    def __init__(self, ray: Any, plan: Plan, compiled: Sequence[Pool], units: list[Unit]) -> None:
        self._ray, self._plan = ray, plan
        self._started = time.monotonic()
        self._looked = 0.0
        self._sources = [unit.source for unit in units]
        numbers = [number for number, pool in enumerate(compiled) for _ in pool.stages]
        self._flow = Flow(numbers, self._put(units), len(units))
        self._most_bytes = ray.cluster_resources().get("object_store_memory", 0) * _STORE_SHARE
        shared = ray.put(plan)
        self._crews = [
            Crew(pool, number, self._actor_class(pool), (shared, pool.first + len(pool.stages)))
            for number, pool in enumerate(compiled)
        ]
        self._group: Any = None
        self._strategies: list[Any] = []
        self._others_wait = False

    def __enter__(self) -> "_Run":
        try:
            self._reserve()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for crew in self._crews:
            for worker in crew.workers:
                self._ray.kill(worker.actor)
        if self._group is not None:
            from ray.util import remove_placement_group

            remove_placement_group(self._group)

    def finished_units(self) -> Iterator[Unit]:
        """Run until every unit is through."""
        while not self._flow.finished:
            self._hire_and_dismiss()
            self._hand_out()
            yield from self._collect()
        self._tell()

    # ---------------------------------------------------------------- workers

    def _actor_class(self, pool: Pool) -> Any:
        options: dict[str, Any] = {
            "num_cpus": pool.cpus,
            "num_gpus": pool.gpus or None,
            "max_restarts": 0,  # a worker that dies is replaced here, where it is known what it was doing
            "max_task_retries": 0,
        }
        if pool.environment is not None:
            options["runtime_env"] = {"py_executable": pool.environment}
        return self._ray.remote(**options)(StageActor)

    def _reserve(self) -> None:
        """Places for the least workers of all pools, all or none, so that runs that share a cluster never block each
        other with half of what they need."""
        from ray.util import placement_group
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        of_pools = [crew for crew in self._crews for _ in range(crew.pool.least)]
        bundles = [{"CPU": crew.pool.cpus, **({"GPU": crew.pool.gpus} if crew.pool.gpus else {})} for crew in of_pools]
        self._group = placement_group(bundles, strategy="PACK")
        while not self._group.wait(timeout_seconds=10):
            wants = "; ".join(crew.pool.needs for crew in self._crews)
            free = self._ray.available_resources()
            _progress.info(
                "waiting for the cluster: %s; free now: %g CPUs, %g GPUs", wants, free.get("CPU", 0), free.get("GPU", 0)
            )
        self._strategies = [
            PlacementGroupSchedulingStrategy(self._group, placement_group_bundle_index=index)
            for index in range(len(bundles))
        ]
        for place, crew in enumerate(of_pools):
            crew.hire(place, self._strategies[place])

    def _hire_and_dismiss(self) -> None:
        now = time.monotonic()
        if now - self._looked < _LOOK_AROUND_SECONDS:
            return
        self._looked, self._others_wait = now, self._someone_waits()
        for crew in self._crews:
            for worker in crew.idle:
                bored = now - worker.idle_since > _LULL_SECONDS and len(crew.workers) > crew.pool.warm
                if worker.placed is None and (self._others_wait or bored):
                    self._ray.kill(worker.actor)
                    crew.workers.remove(worker)
        for crew in self._crews:
            wanted = self._flow.waiting(crew.number) - len(crew.idle) - crew.starting
            while wanted > 0 and not self._others_wait and self._room(crew):
                crew.hire()
                wanted -= 1

    def _room(self, crew: Crew) -> bool:
        if crew.pool.most is not None and len(crew.workers) >= crew.pool.most:
            return False
        free = self._ray.available_resources()
        hired = [other.pool for other in self._crews for each in other.workers if each.starting and each.placed is None]
        cpus = free.get("CPU", 0.0) - sum(pool.cpus for pool in hired)
        gpus = free.get("GPU", 0.0) - sum(pool.gpus for pool in hired)
        return crew.pool.cpus <= cpus and crew.pool.gpus <= gpus and bool(crew.pool.cpus or crew.pool.gpus)

    def _someone_waits(self) -> bool:
        """Whether another run on this cluster waits for its reservation: workers beyond ours are then let go."""
        from ray.util import placement_group_table

        return any(group["state"] == "PENDING" for group in placement_group_table().values())

    def _died(self, crew: Crew, worker: Worker, error: Exception) -> None:
        with_machine = _NODE_DIED in str(error)
        crew.workers.remove(worker)
        if worker.starting is not None and not (with_machine or worker.doubted):
            crew.stillborn += 1
            if crew.stillborn > _STILLBORN:
                raise error
        elif not with_machine:
            _log.warning("a worker of %s died and is replaced", crew.pool.name)
        for position, call in enumerate(worker.calls):
            for task in call.tasks:
                self._flow.lost(task, guilty=position == 0 and not with_machine)
        if worker.placed is not None:
            crew.hire(worker.placed, self._strategies[worker.placed])

    def _is_there(self, worker: Worker) -> None:
        worker.starting, worker.doubted, worker.idle_since = None, False, time.monotonic()
        for call in worker.calls:  # of one that was not heard of for a while: its answers are lost
            for task in call.tasks:
                self._flow.lost(task, guilty=False)
        worker.calls.clear()

    def _inputs_gone(self, worker: Worker) -> None:
        for task in worker.calls.popleft().tasks:
            self._flow.gone(task)

    def _tell(self) -> None:
        """Say what the run waited for, and what it gave up."""
        for number, why in self._flow.given_up.items():
            _log.error("%s is given up: %s", self._sources[number], why)
        seconds = max(time.monotonic() - self._started, 1e-6)
        shares = {crew.pool.name: crew.busy_seconds / (seconds * max(1, crew.most_workers)) for crew in self._crews}
        busiest = max(shares, key=lambda name: shares[name])
        each = "; ".join(
            f"{crew.pool.name}: {crew.most_workers} workers, {shares[crew.pool.name]:.0%} busy" for crew in self._crews
        )
        _log.info("%.1f s; %s; the run waited for %s most", seconds, each, busiest)

    # ---------------------------------------------------------------- work

    def _put(self, units: list[Unit]) -> Iterator[Handle]:
        """Move units into the object store, a few at a time, as they are asked for; the list ends empty."""
        units.reverse()
        while units:
            tables: list[pa.Table] = []
            while units and len(tables) < MOST_PER_CALL and sum(table.nbytes for table in tables) < _PUT_BYTES:
                tables.append(units.pop().to_arrow())
            reference = self._ray.put(joined(tables))
            yield from ((reference, row) for row in range(len(tables)))

    def _hand_out(self) -> None:
        few = all(self._flow.waiting(crew.number) <= 2 * MOST_PER_CALL for crew in self._crews[1:])
        room = few and self._flow.size <= self._most_bytes
        # Later pools first: what was begun is finished before more is begun.
        for crew in reversed(self._crews):
            for worker in sorted(crew.workers, key=lambda worker: len(worker.calls)):
                leaving = self._others_wait and worker.placed is None
                while worker.starting is None and not leaving and len(worker.calls) < crew.depth():
                    share = -(-self._flow.waiting(crew.number) // (2 * len(crew.workers)))
                    tasks = self._flow.take(crew.number, max(1, min(crew.per_call(), share)), room)
                    if not tasks:
                        break
                    self._send(worker, tasks)

    def _send(self, worker: Worker, tasks: list[Task]) -> None:
        references: dict[Any, int] = {}

        def place(handle: Handle) -> Place:
            return references.setdefault(handle[0], len(references)), handle[1]

        orders = [Order.of(task, place) for task in tasks]
        answers = worker.actor.call.options(num_returns="streaming").remote(orders, *references)
        worker.calls.append(Call(tasks, answers, time.monotonic()))

    def _collect(self) -> Iterator[Unit]:
        """Wait for something to happen, and see to it."""
        waits: dict[Any, tuple[Crew, Worker]] = {}
        for crew in self._crews:
            for worker in crew.workers:
                if worker.starting is not None:
                    waits[worker.starting] = (crew, worker)
                elif worker.calls:
                    waits[worker.calls[0].answers] = (crew, worker)
        if not waits:
            time.sleep(0.05)
            return
        ready, _ = self._ray.wait(list(waits), num_returns=1, timeout=1.0, fetch_local=False)
        for reference in ready:
            crew, worker = waits[reference]
            try:
                if worker.starting is not None:
                    self._ray.get(worker.starting)
                    self._is_there(worker)
                else:
                    yield from self._answered(crew, worker, worker.calls[0])
            except self._ray.exceptions.ActorDiedError as error:
                self._died(crew, worker, error)
            except self._ray.exceptions.ActorUnavailableError:
                # Its process or its machine is gone, or only a connection: asking again tells which.
                worker.starting, worker.doubted = worker.actor.ready.remote(), True
            except self._ray.exceptions.ObjectLostError:
                self._inputs_gone(worker)
            except self._ray.exceptions.RayTaskError as error:
                if not isinstance(error.cause, self._ray.exceptions.ObjectLostError):
                    raise
                self._inputs_gone(worker)

    def _answered(self, crew: Crew, worker: Worker, call: Call) -> Iterator[Unit]:
        try:
            reference = next(call.answers)
        except StopIteration:
            self._ray.get(call.table)  # raises: what came instead of a table was the call's failure
            raise
        if call.table is None:
            call.table = reference
            return
        told, table, call.table = self._ray.get(reference), call.table, None
        if isinstance(told, Settled):
            if told.stage is not None:
                self._flow.early(call.tasks[told.order], (table, 0), told.stage)
            tell_settled(told.clips)
            return
        assert isinstance(told, Done)
        worker.calls.popleft()
        worker.idle_since = time.monotonic()
        if worker.calls:
            worker.calls[0].started = worker.idle_since
        crew.learn(call, told.size)
        for row, (task, (stage, parts)) in enumerate(zip(call.tasks, told.stands, strict=True)):
            if self._flow.ended(task, Ended((table, row), stage, parts, told.size // len(call.tasks))):
                yield from self._fetched(task, table, row)

    def _fetched(self, task: Task, table: Any, row: int) -> Iterator[Unit]:
        try:
            unit = Unit.from_arrow(self._ray.get(table), row, self._plan.tables)
        except self._ray.exceptions.ObjectLostError:
            self._flow.gone(task)
            return
        self._flow.fetched(task)
        yield unit
