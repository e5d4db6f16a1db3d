"""The engine that is chosen by the work there is: what is cheap is done here, and only the rest starts a cluster.

Starting a cluster takes longer than re-thresholding a thousand units, or than finding out that nothing changed.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from curate_resources.engines.in_process import HeavyWork, InProcessEngine, StageRunner
from curate_resources.pipeline.plan import Plan
from curate_resources.pipeline.run import Engine
from curate_resources.pipeline.unit import Unit
from gpu_kernels.devices import gpu_count

FEW = 2
"""How many units are done here sooner than a cluster has started."""


@dataclass(frozen=True)
class AutoEngine:
    """Finishes here the units that need no heavy stage; gives the others to `cluster`, unless they are very few.

    However few they are, what needs an environment of its own or a GPU is never done here: this process has neither
    the packages nor a share of a GPU that the cluster knows of.

    Attributes:
        environments: by stage name, the interpreter that the stage's workers need.
    """

    cluster: Engine
    environments: Mapping[str, str] = field(default_factory=dict)

    def holds(self, plan: Plan) -> bool:
        """Whether the cluster has room for all stages of a plan at the same time."""
        return not (plan.heavy or self._apart(plan)) or self.cluster.holds(plan)

    def run(self, plan: Plan, units: list[Unit]) -> Iterator[Unit]:
        """First the units that are finished here, then the others as they come; the list is emptied meanwhile."""
        runner = StageRunner(plan, light_only=True, apart=frozenset(self.environments))
        rest: list[Unit] = []
        units.reverse()
        try:
            while units:
                unit = units.pop()
                try:
                    yield runner(Unit(unit.shard, unit.source, dict(unit.rows), unit.kept))
                except HeavyWork:
                    rest.append(unit)
        finally:
            runner.close()
        few = len(rest) <= FEW and not self._apart(plan)
        yield from (InProcessEngine(self.environments) if few else self.cluster).run(plan, rest)

    def _apart(self, plan: Plan) -> bool:
        """Whether a stage must have a process of its own."""
        if any(stage.name in self.environments for stage in plan.stages):
            return True
        on_gpus = [stage.needs for stage in plan.stages if stage.needs.gpus]
        if any(not needs.gpus_if_any for needs in on_gpus):
            return True
        # Where this process is a job of a cluster, there may be GPUs although this machine has none.
        return bool(on_gpus) and ("RAY_ADDRESS" in os.environ or gpu_count() > 0)
