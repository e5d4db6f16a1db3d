"""How a plan's stages become pools of actors, and whether a cluster has room for one worker of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, inf
from typing import Literal

from curate_resources.declarations.stage import Needs, Stage
from gpu_kernels.errors import OperatingError

Layout = Literal["auto", "fused", "pooled"]

_FEW_CPUS = 4
"""A process costs seconds and hundreds of megabytes before it does anything: up to this many CPUs, few are best."""
_PARTS = 10_000
"""Ray counts CPUs, devices and memory in such parts of one."""


class PlanDoesNotFit(OperatingError):
    """The cluster cannot hold a plan; waiting for it would never end."""


@dataclass(frozen=True)
class Node:
    """What a machine of the cluster offers in all: CPUs, GPU devices, and GiB of memory; and the GiB that each of its
    GPUs has, where that is known."""

    cpus: float
    gpus: float = 0.0
    memory_gib: float = inf
    gpu_memory_gib: float | None = None


@dataclass(frozen=True)
class Pool:
    """Actors that each run the same stages, one after another.

    Attributes:
        first: number of the first stage in the plan.
        environment: the interpreter that they need; None: the one that the run itself has.
    """

    stages: tuple[Stage, ...]
    first: int
    environment: str | None = None

    @property
    def name(self) -> str:
        """As shown in logs and in Ray's own displays."""
        return "+".join(stage.name for stage in self.stages)

    @property
    def cpus(self) -> float:
        """CPUs of one worker: its stages take turns."""
        return round(max(stage.needs.cpus for stage in self.stages), 4)

    @property
    def gpus(self) -> float:
        """GPUs of one worker: its stages all keep their models loaded."""
        return round(float(sum(stage.needs.gpus for stage in self.stages)), 4)

    @property
    def memory_gib(self) -> float:
        """GiB of memory of one worker."""
        return sum(stage.needs.memory_gib for stage in self.stages)

    @property
    def at_once(self) -> int:
        """Calls that one worker works on at a time."""
        return max(stage.needs.at_once for stage in self.stages)

    @property
    def least(self) -> int:
        """Workers that must have their place before the run starts."""
        return max(stage.needs.min_workers for stage in self.stages)

    @property
    def most(self) -> int | None:
        """There are never more workers; None: no such limit."""
        limits = [stage.needs.max_workers for stage in self.stages if stage.needs.max_workers is not None]
        return max(self.least, min(limits)) if limits else None

    @property
    def warm(self) -> int:
        """Workers that stay when there is nothing to do for a while."""
        return max(stage.needs.warm_workers for stage in self.stages)

    @property
    def needs(self) -> str:
        """What its least number of workers occupies, in words."""
        times = f"{self.least} x " if self.least > 1 else ""
        memory = f" and {self.memory_gib:g} GiB" if self.memory_gib else ""
        shared = f" ({_per_device(self.gpus)} of its workers fit on one GPU)" if 0 < self.gpus < 1 else ""
        return f"{self.name} needs {times}{self.cpus:g} CPUs and {self.gpus:g} GPUs{memory}{shared}"


@dataclass(frozen=True)
class Place:
    """What is reserved in one piece: for one worker, or for workers that share one GPU.

    Attributes:
        pools: the number of the pool of each of its workers.
        gpus: what is reserved, which may be more than its workers need.
    """

    pools: tuple[int, ...]
    cpus: float
    gpus: float
    memory_gib: float

    @classmethod
    def of(cls, workers: Sequence[tuple[int, Pool]]) -> "Place":
        """The place of workers, each with the number of its pool."""
        of_pools = [pool for _, pool in workers]
        return cls(
            tuple(number for number, _ in workers),
            round(sum(pool.cpus for pool in of_pools), 4),
            round(sum(pool.gpus for pool in of_pools), 4),
            sum(pool.memory_gib for pool in of_pools),
        )


def pools(
    stages: Sequence[Stage], nodes: Sequence[Node], layout: Layout, environments: Mapping[str, str] | None = None
) -> list[Pool]:
    """The pools of a plan: fused where CPUs are few, else one for every heavy stage with the light ones after it.

    Stages of different environments are never in one pool, nor are models that do not fit on one GPU together. What
    waits for many answers at a time is alone: workers of its pool are asked for more than they could compute. Stages
    that take a GPU only if there is one do without where no machine has any.

    Raises:
        PlanDoesNotFit: with the pools, what they need, and what there is.
    """
    environment_of = environments or {}
    stages = placed_on(stages, nodes)
    apart = _grouped(stages, environment_of, fused=False)
    together = _grouped(stages, environment_of, fused=True)
    few = sum(node.cpus for node in nodes) <= _FEW_CPUS
    choices = {"fused": [together], "pooled": [apart], "auto": [together, apart] if few else [apart, together]}[layout]
    for choice in choices:
        if places(choice, nodes) is not None:
            return choice
    wants = "; ".join(pool.needs for pool in choices[0])
    memory = any(pool.memory_gib for pool in choices[0])
    raise PlanDoesNotFit(
        f"{wants}, all at the same time; {_offered(nodes, memory)}: use a larger cluster, give stages less "
        "(engine.stages), or run one after the other (engine.mode: batch)"
    )


def placed_on(stages: Sequence[Stage], nodes: Sequence[Node]) -> tuple[Stage, ...]:
    """The stages, with what they need on these machines.

    Raises:
        PlanDoesNotFit: a stage asks for memory of a GPU, and no GPU has so much, or how much they have is not known.
    """
    gpus = any(node.gpus for node in nodes)
    return tuple(replace(stage, needs=_of_devices(stage, nodes).where(gpus)) for stage in stages)


def _of_devices(stage: Stage, nodes: Sequence[Node]) -> Needs:
    """With the memory of a GPU that a stage asks for as a share of one: of the smallest, as Ray may choose any."""
    wanted, sizes = stage.needs.gpu_memory_gib, [node.gpu_memory_gib for node in nodes if node.gpus]
    if wanted is None or not sizes:
        return stage.needs
    known = [size for size in sizes if size is not None]
    if len(known) < len(sizes):
        raise PlanDoesNotFit(
            f"stage {stage.name} asks for {wanted:g} GiB of a GPU, but no machine says how much memory its GPUs have: "
            f"set cluster.gpu_memory_gib, or ask for a share of one (engine.stages.{stage.name}.gpus)"
        )
    if wanted > min(known):
        raise PlanDoesNotFit(
            f"stage {stage.name} asks for {wanted:g} GiB of a GPU, and the smallest of the cluster has {min(known):g}: "
            f"ask for whole devices (engine.stages.{stage.name}.gpus), or use larger ones"
        )
    return replace(stage.needs, gpus=ceil(wanted / min(known) * _PARTS) / _PARTS)


def check_stage(stage: Stage, nodes: Sequence[Node]) -> None:
    """Whether there is room for a stage alone.

    Raises:
        PlanDoesNotFit: with the stage, what it needs, and what there is.
    """
    pool = Pool(placed_on([stage], nodes), 0)
    if places([pool], nodes) is None:
        raise PlanDoesNotFit(
            f"stage {pool.needs}; {_offered(nodes, pool.memory_gib > 0)}: use a larger cluster, or give the stage less "
            f"(engine.stages.{stage.name})"
        )


def places(choice: Sequence[Pool], nodes: Sequence[Node]) -> list[Place] | None:
    """Places for the least workers of all pools, no worker on several machines or on parts of several GPUs; None if
    there are none.

    Ray chooses a machine by the sum of what is free on its GPUs, and would wait for ever for a fraction that no single
    one of them has left. So what shares a GPU is one place; and where there are several, one that takes more than
    half of a GPU takes the whole.
    """
    found = _packed([(number, pool) for number, pool in enumerate(choice) for _ in range(pool.least)], nodes)
    if found is not None and sum(place.gpus > 0 for place in found) > 1:
        return [replace(place, gpus=1.0) if 0.5 < place.gpus < 1 else place for place in found]
    return found


def holds_one_more(workers: Sequence[Pool], pool: Pool, nodes: Sequence[Node]) -> bool:
    """Whether an empty cluster would hold these workers, each given by its pool, and one more."""
    return _packed(list(enumerate((*workers, pool))), nodes) is not None


def _packed(workers: Sequence[tuple[int, Pool]], nodes: Sequence[Node]) -> list[Place] | None:
    """Places for workers, each with the number of its pool: the largest first, each where it leaves least."""
    machines = [_Machine.of(node) for node in nodes]
    shared: dict[tuple[int, int], list[tuple[int, Pool]]] = {}
    found: list[Place] = []
    for number, pool in sorted(workers, key=lambda worker: (-worker[1].gpus, -worker[1].cpus)):
        rooms = [(room, index) for index, each in enumerate(machines) if (room := each.room(pool)) is not None]
        if not rooms:
            return None
        (_, device), index = min(rooms)
        machines[index].take(pool, device)
        if 0 < pool.gpus < 1:
            shared.setdefault((index, device), []).append((number, pool))
        else:
            found.append(Place.of([(number, pool)]))
    return [*found, *map(Place.of, shared.values())]


@dataclass
class _Machine:
    """What is left of a machine while workers are placed, in parts."""

    cpus: int
    memory: float
    gpus: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, node: Node) -> "_Machine":
        return cls(_parts(node.cpus), node.memory_gib, [_PARTS] * int(node.gpus))

    def room(self, pool: Pool) -> tuple[int, int] | None:
        """How much is free of the GPUs that a worker would use (the less, the better), and which one it would share;
        None: no room. Workers that need no GPU go where there are fewest."""
        if _parts(pool.cpus) > self.cpus or pool.memory_gib > self.memory:
            return None
        wanted = _parts(pool.gpus)
        if wanted == 0:
            return sum(self.gpus), 0
        if wanted >= _PARTS:
            whole = self.gpus.count(_PARTS)
            return (whole, 0) if whole * _PARTS >= wanted else None
        left = [(free, index) for index, free in enumerate(self.gpus) if free >= wanted]
        return min(left) if left else None

    def take(self, pool: Pool, device: int) -> None:
        self.cpus -= _parts(pool.cpus)
        self.memory -= pool.memory_gib
        wanted = _parts(pool.gpus)
        if 0 < wanted < _PARTS:
            self.gpus[device] -= wanted
        for _ in range(wanted // _PARTS):
            self.gpus[self.gpus.index(_PARTS)] = 0


def _parts(amount: float) -> int:
    return round(amount * _PARTS)


def _per_device(share: float) -> int:
    return _PARTS // _parts(share)


def _grouped(stages: Sequence[Stage], environment_of: Mapping[str, str], fused: bool) -> list[Pool]:
    groups: list[list[Stage]] = []
    for stage in stages:
        same = bool(groups) and environment_of.get(groups[-1][0].name) == environment_of.get(stage.name)
        same = same and stage.needs.at_once == groups[-1][-1].needs.at_once == 1
        if same and not fused:
            same = not (stage.heavy and any(other.heavy for other in groups[-1]))
        if not same or not _on_one_device([*groups[-1], stage]):
            groups.append([])
        groups[-1].append(stage)
    found: list[Pool] = []
    for group in groups:
        first = sum(len(pool.stages) for pool in found)
        found.append(Pool(tuple(group), first, environment_of.get(group[0].name)))
    return found


def _on_one_device(stages: Sequence[Stage]) -> bool:
    """Whether the models of several stages fit on one GPU; one stage alone may have several GPUs."""
    shares = [_parts(stage.needs.gpus) for stage in stages if stage.needs.gpus]
    return len(shares) < 2 or sum(shares) <= _PARTS


def _offered(nodes: Sequence[Node], memory: bool) -> str:
    if not nodes:
        return "the cluster has no machine"
    words = [
        f"{node.cpus:g} CPUs and {node.gpus:g} GPUs" + (f" and {node.memory_gib:.1f} GiB" if memory else "")
        for node in nodes
    ]
    return (
        f"the cluster has {words[0]}"
        if len(nodes) == 1
        else f"the cluster has {len(nodes)} machines: {', '.join(words)}"
    )
