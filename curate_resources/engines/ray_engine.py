"""The streaming engine: pools of Ray actors between which units flow as Arrow tables.

What is to be done next is decided by `scheduler`; here are the actors that do it, and what becomes of them.
Tables go from worker to worker through Ray's object store; only their places pass through here. Ray Data is not used:
its own processes and its start cost more than all of this (docs/benchmarks.md has the measurement), and it can neither
divide one long unit among workers nor say which row ended a worker.
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

import pyarrow as pa

from curate_resources.engines import interruption
from curate_resources.engines.patience import ClusterUnreachable, NoPlace, Wait
from curate_resources.engines.pools import (
    Layout,
    Node,
    PlanDoesNotFit,
    Pool,
    check_stage,
    holds_one_more,
    placed_on,
    places,
    pools,
)
from curate_resources.engines.ray_cluster import GIB, RayCluster
from curate_resources.engines.scheduler import Ended, Flow, Task
from curate_resources.engines.stage_actor import Done, Order, Place, Settled, StageActor
from curate_resources.engines.workers import MOST_PER_CALL, Call, Crew, Worker
from curate_resources.pipeline.events import PartsSettled, PoolState, emit
from curate_resources.pipeline.plan import Plan
from curate_resources.pipeline.unit import Unit, joined

_log = logging.getLogger("curate.engine")

_LULL_SECONDS = 5.0
_LOOK_AROUND_SECONDS = 2.0
_PUT_BYTES = 8 << 20
_STORE_SHARE = 1 / 16
"""Of the cluster's object store, for units between pools: no more are begun while they take it."""
_QUEUE_SAY_SECONDS = 10.0
"""A run that waits for its place says so after this long."""
_START_SECONDS = 600.0
"""How long the process of a worker that has its place may take to start."""
_RESERVATION = "curate-run-"
"""How the names of our reservations begin."""
_NODE_DIED = "its node has died"
"""How Ray's error says that an actor went down with its machine."""
_STILLBORN = 3
"""How many workers of a pool may die before they are there, until this is an error."""
_NOTHING = 0.01
"""CPUs that are reserved for workers that need none, so that they are on a machine that has any."""
_CLOSE_SECONDS = 10.0
"""A worker that is not needed any more may take this long to close what it holds."""

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
        nodes = self._nodes(plan)
        for stage in plan.stages:
            check_stage(stage, nodes)
        try:
            pools(plan.stages, nodes, self.layout, self.environments)
        except PlanDoesNotFit as error:
            _log.info("%s", error)
            return False
        return True

    def _nodes(self, plan: Plan) -> list[Node]:
        return self.cluster.nodes(gpu_memory=any(stage.needs.gpu_memory_gib for stage in plan.stages))

    def run(self, plan: Plan, units: list[Unit]) -> Iterator[Unit]:
        """Units as they finish; the list is emptied meanwhile.

        Raises:
            PlanDoesNotFit: before anything starts.
        """
        if not units:
            return
        ray = self.cluster.connected()
        nodes = self._nodes(plan)
        plan = replace(plan, stages=placed_on(plan.stages, nodes))
        compiled = pools(plan.stages, nodes, self.layout, self.environments)
        with _Run(ray, self.cluster, nodes, plan, compiled, units) as run:
            yield from run.finished_units()


class _Run:
    """One plan on its way; a context that leaves neither actors nor reservations behind."""

    def __init__(
        self,
        ray: Any,
        cluster: RayCluster,
        nodes: Sequence[Node],
        plan: Plan,
        compiled: Sequence[Pool],
        units: list[Unit],
    ) -> None:
        self._ray, self._cluster, self._nodes, self._plan = ray, cluster, nodes, plan
        self._started = time.monotonic()
        self._looked = 0.0
        self._sources = [unit.source for unit in units]
        numbers = [number for number, pool in enumerate(compiled) for _ in pool.stages]
        self._flow = Flow(numbers, self._put(units), len(units))
        store_bytes = cluster.ask(ray.cluster_resources).get("object_store_memory", 0)
        self._most_bytes = store_bytes * _STORE_SHARE
        shared = ray.put(plan)
        self._crews = [
            Crew(pool, number, self._actor_class(pool), (shared, pool.first + len(pool.stages), pool.gpus))
            for number, pool in enumerate(compiled)
        ]
        self._group: Any = None
        self._strategies: list[Any] = []
        self._leaving: dict[Any, tuple[Any, float]] = {}  # by what `close` answers: the actor, and until when
        self._others_wait = False
        self._start_wait: Wait | None = None

    def __enter__(self) -> "_Run":
        try:
            self._reserve()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        interruption.notice()
        for crew in self._crews:
            emit(PoolState(crew.pool.name, died=crew.died))
        # A head that does not answer finds out itself that this driver is gone, and then clears up.
        with suppress(ClusterUnreachable):
            self._cluster.ask(self._clear_up)

    def _clear_up(self) -> None:
        for crew in self._crews:
            for worker in crew.idle:
                self._dismiss(crew, worker)
        if self._leaving:  # a call that is still under way is not waited for: that would be in the middle of a run
            self._ray.wait([*self._leaving], num_returns=len(self._leaving), timeout=_CLOSE_SECONDS, fetch_local=False)
        for actor in [*(actor for actor, _ in self._leaving.values()), *self._actors()]:
            self._ray.kill(actor)
        if self._group is not None:
            from ray.util import remove_placement_group

            remove_placement_group(self._group)

    def _actors(self) -> list[Any]:
        return [worker.actor for crew in self._crews for worker in crew.workers]

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
            "memory": int(pool.memory_gib * GIB) or None,
            "max_restarts": 0,  # a worker that dies is replaced here, where it is known what it was doing
            "max_task_retries": 0,
        }
        if pool.at_once > 1:
            options["max_concurrency"] = pool.at_once + 1  # and to hear whether it is there
        if pool.environment is not None:
            options["runtime_env"] = {"py_executable": pool.environment}
        return self._ray.remote(**options)(StageActor)

    def _reserve(self) -> None:
        """Places for the least workers of all pools, all or none, so that runs that share a cluster never block each
        other with half of what they need."""
        from ray.util import placement_group
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        reserved = places([crew.pool for crew in self._crews], self._nodes)
        assert reserved is not None, "pools that find no place are refused before"
        bundles: list[dict[str, float]] = []
        bundle_of: list[int] = []
        for place in reserved:
            amounts = {"CPU": place.cpus, "GPU": place.gpus, "memory": int(place.memory_gib * GIB)}
            bundle = {name: amount for name, amount in amounts.items() if amount}
            # What takes nothing goes where another worker is: on the machine of the head it might be alone.
            bundle_of.append(len(bundles) if bundle else 0)
            bundles += [bundle] if bundle else []
        bundles = bundles or [{"CPU": _NOTHING}]
        name = f"{_RESERVATION}{uuid4().hex}"
        self._group = self._cluster.ask(lambda: placement_group(bundles, strategy="PACK", name=name))
        wants = "; ".join(crew.pool.needs for crew in self._crews)
        wait = Wait(f"the cluster ({wants})", self._cluster.queue_seconds, _QUEUE_SAY_SECONDS)
        patience = min(10.0, self._cluster.answer_seconds / 2)
        while not self._cluster.ask(lambda: self._group.wait(timeout_seconds=patience)):
            free = self._cluster.ask(self._ray.available_resources)
            detail = f"free now: {free.get('CPU', 0):g} CPUs, {free.get('GPU', 0):g} GPUs"
            if not wait.go_on(detail):
                raise NoPlace(
                    f"the cluster has had no room for this run in {wait.seconds / 60:.0f} minutes "
                    f"(cluster.queue_minutes): {wants}; {detail}"
                )
        self._strategies = [
            PlacementGroupSchedulingStrategy(self._group, placement_group_bundle_index=bundle) for bundle in bundle_of
        ]
        for index, place in enumerate(reserved):
            for number in place.pools:
                self._crews[number].hire(index, self._strategies[index])

    def _hire_and_dismiss(self) -> None:
        now = time.monotonic()
        if now - self._looked < _LOOK_AROUND_SECONDS:
            return
        self._others_wait, free = self._cluster.ask(lambda: (self._someone_waits(), self._ray.available_resources()))
        self._looked = time.monotonic()
        for crew in self._crews:
            for worker in crew.idle:
                bored = now - worker.idle_since > _LULL_SECONDS and len(crew.workers) > crew.pool.warm
                if worker.placed is None and (self._others_wait or bored):
                    self._dismiss(crew, worker)
        for reference, (actor, until) in [*self._leaving.items()]:
            if now > until:
                self._gone(reference, actor)
        for crew in self._crews:
            wanted = self._flow.waiting(crew.number) - len(crew.idle) - crew.starting
            while wanted > 0 and not self._others_wait and self._room(crew, free):
                crew.hire()
                wanted -= 1
            emit(self._state(crew))

    def _state(self, crew: Crew) -> PoolState:
        busy = len(crew.workers) - crew.starting - len(crew.idle)
        return PoolState(
            crew.pool.name, self._flow.waiting(crew.number), crew.starting, len(crew.idle), busy, crew.died
        )

    def _dismiss(self, crew: Crew, worker: Worker) -> None:
        """Have a worker close what it holds, and then end."""
        crew.workers.remove(worker)
        self._leaving[worker.actor.close.remote()] = (worker.actor, time.monotonic() + _CLOSE_SECONDS)

    def _gone(self, closed: Any, actor: Any) -> None:
        del self._leaving[closed]
        self._ray.kill(actor)

    def _room(self, crew: Crew, free: Mapping[str, float]) -> bool:
        pool = crew.pool
        if pool.most is not None and len(crew.workers) >= pool.most:
            return False
        hired = [other.pool for other in self._crews for each in other.workers if each.starting and each.placed is None]
        cpus = free.get("CPU", 0.0) - sum(each.cpus for each in hired)
        gpus = free.get("GPU", 0.0) - sum(each.gpus for each in hired)
        memory = free.get("memory", 0.0) - sum(each.memory_gib for each in hired) * GIB
        if not (pool.cpus <= cpus and pool.gpus <= gpus and pool.memory_gib * GIB <= memory):
            return False
        if 0 < pool.gpus < 1:  # what is free may be a bit of each of several GPUs
            workers = [other.pool for other in self._crews for _ in other.workers]
            return holds_one_more(workers, pool, self._nodes)
        return bool(pool.cpus or pool.gpus)

    def _someone_waits(self) -> bool:
        """Whether another of our runs waits for its reservation: workers beyond ours are then let go. What others have
        reserved on the cluster is no reason: it may never find its place."""
        from ray.util import placement_group_table

        groups = placement_group_table().values()
        return any(group["state"] == "PENDING" and group["name"].startswith(_RESERVATION) for group in groups)

    def _died(self, crew: Crew, worker: Worker, error: Exception) -> None:
        with_machine = _NODE_DIED in str(error)
        crew.workers.remove(worker)
        crew.died += 1
        if worker.starting is not None and not (with_machine or worker.doubted):
            crew.stillborn += 1
            if crew.stillborn > _STILLBORN:
                raise error
        elif not with_machine:
            _log.warning("a worker of %s died and is replaced", crew.pool.name)
        # Of calls that are taken in turn the first one did it; of several at a time any of them may have.
        several = crew.several and len(worker.calls) > 1
        for position, call in enumerate(worker.calls):
            for task in call.tasks:
                at_it = not with_machine and (several or position == 0)
                self._flow.lost(task, guilty=at_it and not several, suspect=at_it and several)
        if worker.placed is not None:
            crew.hire(worker.placed, self._strategies[worker.placed])

    def _await_starts(self) -> None:
        """Say which workers that have their place do not start, and give up in the end."""
        late = {
            crew.pool.name
            for crew in self._crews
            for worker in crew.workers
            if worker.starting is not None and (worker.placed is not None or worker.doubted)
        }
        if not late:
            self._start_wait = None
            return
        if self._start_wait is None:
            self._start_wait = Wait("workers to start", _START_SECONDS)
        if not self._start_wait.go_on(", ".join(sorted(late))):
            raise ClusterUnreachable(
                f"workers of {', '.join(sorted(late))} have not started in {self._start_wait.seconds:.0f} s: "
                "see the logs of Ray on the cluster's machines"
            )

    def _is_there(self, worker: Worker) -> None:
        worker.starting, worker.doubted, worker.idle_since = None, False, time.monotonic()
        for call in worker.calls:  # of one that was not heard of for a while: its answers are lost
            for task in call.tasks:
                self._flow.lost(task, guilty=False)
        worker.calls.clear()

    def _inputs_gone(self, worker: Worker, call: Call) -> None:
        worker.calls.remove(call)
        for task in call.tasks:
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
                    if self._keeps_apart(crew, worker):
                        break
                    share = -(-self._flow.waiting(crew.number) // (2 * len(crew.workers)))
                    tasks = self._flow.take(crew.number, max(1, min(crew.per_call(), share)), room)
                    if not tasks:
                        break
                    self._send(worker, tasks)

    def _keeps_apart(self, crew: Crew, worker: Worker) -> bool:
        """Whether the next task or the one that the worker is at has to be alone, because it may end the worker."""
        if not (crew.several and worker.calls):
            return False
        return self._flow.next_alone(crew.number) or any(task.alone for task in worker.calls[0].tasks)

    def _send(self, worker: Worker, tasks: list[Task]) -> None:
        references: dict[Any, int] = {}

        def place(handle: Handle) -> Place:
            return references.setdefault(handle[0], len(references)), handle[1]

        orders = [Order.of(task, place) for task in tasks]
        answers = worker.actor.call.options(num_returns="streaming").remote(orders, *references)
        worker.take(Call(tasks, answers))

    def _collect(self) -> Iterator[Unit]:
        """Wait for something to happen, and see to it."""
        waits: dict[Any, tuple[Crew, Worker, Call | None]] = {}
        for crew in self._crews:
            for worker in crew.workers:
                if worker.starting is not None:
                    waits[worker.starting] = (crew, worker, None)
                elif crew.several:
                    waits |= {call.answers: (crew, worker, call) for call in worker.calls}
                elif worker.calls:
                    waits[worker.calls[0].answers] = (crew, worker, worker.calls[0])
        if not waits:
            time.sleep(0.05)
            return
        self._await_starts()
        ready, _ = self._ray.wait([*waits, *self._leaving], num_returns=1, timeout=1.0, fetch_local=False)
        for reference in ready:
            if reference in self._leaving:
                self._gone(reference, self._leaving[reference][0])
                continue
            crew, worker, call = waits[reference]
            try:
                if call is None:
                    self._ray.get(worker.starting)
                    self._is_there(worker)
                else:
                    yield from self._answered(crew, worker, call)
            except self._ray.exceptions.ActorDiedError as error:
                self._died(crew, worker, error)
            except self._ray.exceptions.ActorUnavailableError:
                # Its process or its machine is gone, or only a connection: asking again tells which.
                worker.starting, worker.doubted = worker.actor.ready.remote(), True
            except self._ray.exceptions.ObjectLostError:
                assert call is not None
                self._inputs_gone(worker, call)
            except self._ray.exceptions.RayTaskError as error:
                if call is None or not isinstance(error.cause, self._ray.exceptions.ObjectLostError):
                    raise
                self._inputs_gone(worker, call)

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
            emit(PartsSettled(told.parts))
            return
        assert isinstance(told, Done)
        crew.answered(worker, call, told.size)
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
