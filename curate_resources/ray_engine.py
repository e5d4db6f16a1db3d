"""The streaming engine: a plan becomes one Ray Data pipeline of actor pools, and units stream through it as Arrow rows.

A process costs seconds and hundreds of megabytes before it does anything. So on few cores all stages are fused into
one pool whose actors take a video from end to end; on many, every heavy stage has a pool of its own, together with
the light stages that follow it.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from curate_resources.in_process import StageRunner, one_thread_per_process
from curate_resources.plan import Plan
from curate_resources.stage import Stage
from curate_resources.unit import Unit

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger("curate.engine")


class PlanDoesNotFit(Exception):
    """The cluster cannot hold one worker of every pool; Ray Data would wait for ever without a word."""


@dataclass(frozen=True)
class Pool:
    """Actors that each run the same stages, one after another, on a unit."""

    stages: tuple[Stage, ...]
    size: int
    cpus: float
    gpus: float

    @property
    def name(self) -> str:
        """As shown in Ray's own displays."""
        return "+".join(stage.name for stage in self.stages)


def pools(stages: Sequence[Stage], cpus: float, gpus: float, layout: Literal["auto", "fused", "pooled"]) -> list[Pool]:
    """Group neighbouring stages into pools and size them for a cluster.

    Raises:
        PlanDoesNotFit: with the pool, what it needs and what there is.
    """
    groups: list[list[Stage]] = []
    for stage in stages:
        if not groups or (stage.heavy and any(other.heavy for other in groups[-1])):
            groups.append([])
        groups[-1].append(stage)
    apart = sum(_needs(group)[0] for group in groups) <= cpus and sum(_needs(group)[1] for group in groups) <= gpus
    if layout == "fused" or (layout == "auto" and (cpus <= 4 or not apart)):
        groups = [list(stages)]
    needed = [_needs(group) for group in groups]
    if sum(cpu for cpu, _ in needed) > cpus or sum(gpu for _, gpu in needed) > gpus:
        wants = "; ".join(
            f"{'+'.join(s.name for s in group)}: {cpu:g} CPUs, {gpu:g} GPUs"
            for group, (cpu, gpu) in zip(groups, needed, strict=True)
        )
        raise PlanDoesNotFit(
            f"the cluster has {cpus:g} CPUs and {gpus:g} GPUs, one worker of each pool needs more ({wants}): "
            "set engine.layout to fused, select fewer assets, or use a larger cluster"
        )
    free_cpus, free_gpus = cpus - sum(c for c, _ in needed), gpus - sum(g for _, g in needed)
    sizes = [1] * len(groups)
    while True:  # hand out what is left evenly, the earlier pool first: decoding is the bottleneck of a plan
        grown = False
        for index, (cpu, gpu) in enumerate(needed):
            if cpu <= free_cpus and gpu <= free_gpus and (cpu or gpu):
                sizes[index] += 1
                free_cpus, free_gpus, grown = free_cpus - cpu, free_gpus - gpu, True
        if not grown:
            break
    return [Pool(tuple(group), size, cpu, gpu) for group, size, (cpu, gpu) in zip(groups, sizes, needed, strict=True)]


def _needs(group: Sequence[Stage]) -> tuple[float, float]:
    return max(stage.needs.cpus for stage in group), sum(stage.needs.gpus for stage in group)


class StageActor:
    """An actor's state: the workers of its pool's stages."""

    def __init__(self, plan: Plan, stages: Sequence[Stage]) -> None:
        one_thread_per_process()
        self._tables = plan.tables
        self._runner = StageRunner(plan, stages)

    def __call__(self, batch: "pa.Table") -> "pa.Table":
        """Pass a batch of units on."""
        import pyarrow as pa

        units = [Unit.from_arrow(batch, index, self._tables) for index in range(batch.num_rows)]
        return pa.concat_tables([self._runner(unit).to_arrow() for unit in units])


@dataclass(frozen=True)
class RayEngine:
    """Runs a plan on a Ray cluster: the one it is attached to, or a local one that it starts and later runs reuse."""

    layout: Literal["auto", "fused", "pooled"] = "auto"
    local_cpus: int | None = None

    def run(self, plan: Plan, units: Sequence[Unit]) -> Iterator[Unit]:
        """Units as they finish.

        Raises:
            PlanDoesNotFit: before anything starts.
        """
        if not units:
            return
        ray = self._connected()
        resources: dict[str, Any] = ray.cluster_resources()
        compiled = pools(plan.stages, resources.get("CPU", 0), resources.get("GPU", 0), self.layout)
        blocks = [unit.to_arrow() for unit in units]
        data = ray.data.from_arrow(blocks)
        for pool in compiled:
            size = min(pool.size, len(units))
            _log.info("pool %s: %d actors", pool.name, size)
            data = data.map_batches(
                StageActor,
                fn_constructor_args=(plan, pool.stages),
                batch_size=1,
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(size=size),
                num_cpus=pool.cpus,
                num_gpus=pool.gpus or None,
            )
        for batch in data.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            for index in range(batch.num_rows):
                yield Unit.from_arrow(batch, index, plan.tables)

    def _connected(self) -> Any:
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray
        import ray.data

        logging.getLogger("ray").setLevel(logging.ERROR)  # its log files have the rest
        if not ray.is_initialized():
            ray.init(
                num_cpus=self.local_cpus,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=False,
            )
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        return ray
