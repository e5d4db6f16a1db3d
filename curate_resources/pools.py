"""How a plan's stages become pools of actors, and whether a cluster has room for one worker of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from curate_resources.stage import Stage
from gpu_kernels.errors import OperatingError

Layout = Literal["auto", "fused", "pooled"]

_FEW_CPUS = 4
"""A process costs seconds and hundreds of megabytes before it does anything: up to so many CPUs, few are best."""


class PlanDoesNotFit(OperatingError):
    """The cluster cannot hold a plan; waiting for it would never end."""


@dataclass(frozen=True)
class Node:
    """What a machine of the cluster offers in all."""

    cpus: float
    gpus: float = 0.0


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
        return max(stage.needs.cpus for stage in self.stages)

    @property
    def gpus(self) -> float:
        """GPUs of one worker: its stages all keep their models loaded."""
        return sum(stage.needs.gpus for stage in self.stages)

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
        return f"{self.name} needs {times}{self.cpus:g} CPUs and {self.gpus:g} GPUs"


def pools(
    stages: Sequence[Stage], nodes: Sequence[Node], layout: Layout, environments: Mapping[str, str] | None = None
) -> list[Pool]:
    """The pools of a plan: fused where CPUs are few, else one for every heavy stage with the light ones after it.

    Stages of different environments are never in one pool.

    Raises:
        PlanDoesNotFit: with the pools, what they need, and what there is.
    """
    environment_of = environments or {}
    apart = _grouped(stages, environment_of, fused=False)
    together = _grouped(stages, environment_of, fused=True)
    few = sum(node.cpus for node in nodes) <= _FEW_CPUS
    choices = {"fused": [together], "pooled": [apart], "auto": [together, apart] if few else [apart, together]}[layout]
    for choice in choices:
        if _fit(choice, nodes):
            return choice
    wants = "; ".join(pool.needs for pool in choices[0])
    raise PlanDoesNotFit(f"{wants}, all at the same time; {_offered(nodes)}")


def check_stage(stage: Stage, nodes: Sequence[Node]) -> None:
    """Whether there is room for a stage alone.

    Raises:
        PlanDoesNotFit: with the stage, what it needs, and what there is.
    """
    pool = Pool((stage,), 0)
    if not _fit([pool], nodes):
        raise PlanDoesNotFit(f"stage {pool.needs}; {_offered(nodes)}: use a larger cluster, or give the stage less")


def _grouped(stages: Sequence[Stage], environment_of: Mapping[str, str], fused: bool) -> list[Pool]:
    groups: list[list[Stage]] = []
    for stage in stages:
        same = bool(groups) and environment_of.get(groups[-1][0].name) == environment_of.get(stage.name)
        if not same or (not fused and stage.heavy and any(other.heavy for other in groups[-1])):
            groups.append([])
        groups[-1].append(stage)
    found: list[Pool] = []
    for group in groups:
        first = sum(len(pool.stages) for pool in found)
        found.append(Pool(tuple(group), first, environment_of.get(group[0].name)))
    return found


def _fit(choice: Sequence[Pool], nodes: Sequence[Node]) -> bool:
    """Whether the least workers of all pools find places, the largest first; no worker spans machines."""
    free = [[node.cpus, node.gpus] for node in nodes]
    workers = [(pool.gpus, pool.cpus) for pool in choice for _ in range(pool.least)]
    for gpus, cpus in sorted(workers, reverse=True):
        # Machines without GPUs first, so that those with GPUs stay free for who needs them.
        place = next((node for node in sorted(free, key=lambda n: n[1]) if node[0] >= cpus and node[1] >= gpus), None)
        if place is None:
            return False
        place[0] -= cpus
        place[1] -= gpus
    return True


def _offered(nodes: Sequence[Node]) -> str:
    if len(nodes) == 1:
        return f"the cluster has {nodes[0].cpus:g} CPUs and {nodes[0].gpus:g} GPUs"
    each = ", ".join(f"{node.cpus:g} CPUs and {node.gpus:g} GPUs" for node in nodes)
    return f"the cluster has {len(nodes)} machines: {each}" if nodes else "the cluster has no machine"
