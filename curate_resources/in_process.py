"""Running stages in this process, one video after the other: what every engine's processes do in the end."""

from collections.abc import Iterator, Mapping, Sequence

from curate_resources.advance import advance
from curate_resources.plan import Plan
from curate_resources.stage import Row, Stage, Work, Worker
from curate_resources.unit import Unit


class HeavyWork(BaseException):
    """A unit needs a heavy stage where only light ones may run. Not an error of the stage, so no `Exception`."""


class StageRunner:
    """Workers of some stages, opened when an item is first computed, since models take seconds to load, and kept."""

    def __init__(self, plan: Plan, stages: Sequence[Stage], light_only: bool = False) -> None:
        self._plan = plan
        self._stages = tuple(stages)
        self._light_only = light_only
        self._workers: dict[str, Worker] = {}

    def __call__(self, unit: Unit) -> Unit:
        """Pass one unit through the stages.

        Raises:
            HeavyWork: of a runner for light stages only; the unit is left half done.
        """
        for stage in self._stages:
            advance(stage, self._lazily(stage), unit, self._plan.tables, self._plan.config, self._plan.wanted)
        return unit

    def _lazily(self, stage: Stage) -> Worker:
        def worker(work: Work) -> Mapping[str, list[Row]]:
            if stage.heavy and self._light_only:
                raise HeavyWork(stage.name)
            if stage.name not in self._workers:
                self._workers[stage.name] = stage.open(self._plan.config, self._plan.storage)
            return self._workers[stage.name](work)

        return worker


class InProcessEngine:
    """Runs a plan here and now."""

    def run(self, plan: Plan, units: Sequence[Unit]) -> Iterator[Unit]:
        """Units in the order given."""
        if plan.heavy and units:
            one_thread_per_process()
        runner = StageRunner(plan, plan.stages)
        for unit in units:
            yield runner(unit)


def one_thread_per_process() -> None:
    """Workers are parallel by processes; more threads in each only burn time, and change the last bits of results."""
    import torch

    torch.set_num_threads(1)
