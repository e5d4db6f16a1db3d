"""The engine that is chosen by the work there is: what is cheap is done here, and only the rest starts a cluster.

Starting a cluster takes longer than re-thresholding a thousand videos, or than finding out that nothing changed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from curate_resources.in_process import HeavyWork, InProcessEngine, StageRunner
from curate_resources.plan import Engine, Plan
from curate_resources.unit import Unit

FEW = 2
"""So many videos are done here sooner than a cluster has started."""


@dataclass(frozen=True)
class AutoEngine:
    """Finishes here the units that need no heavy stage; gives the others to `cluster`, unless they are very few."""

    cluster: Engine

    def holds(self, plan: Plan) -> bool:
        """Whether the cluster has room for all stages of a plan at the same time."""
        return not plan.heavy or self.cluster.holds(plan)

    def run(self, plan: Plan, units: list[Unit]) -> Iterator[Unit]:
        """First the units that are finished here, then the others as they come; the list is emptied meanwhile."""
        runner = StageRunner(plan, light_only=True)
        rest: list[Unit] = []
        units.reverse()
        while units:
            unit = units.pop()
            try:
                yield runner(Unit(unit.shard, unit.source, dict(unit.rows), unit.kept))
            except HeavyWork:
                rest.append(unit)
        yield from (InProcessEngine() if len(rest) <= FEW else self.cluster).run(plan, rest)
