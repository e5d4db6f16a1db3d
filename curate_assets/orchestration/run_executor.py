"""Dagster's in-process executor, for which a command's run that is interrupted is canceled, not failed."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
from dagster._core.executor.in_process import InProcessExecutor

from curate_assets.orchestration.observed_steps import console_as_json, observed_run
from curate_resources.engines import interruption

OWN = {"curate/process": "own"}
"""The tag of runs and backfills that a command makes itself: its user cancels them by Ctrl-C."""


_SETTINGS: Any = dg.in_process_executor.config_schema


class _Canceling(InProcessExecutor):
    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[Any]:
        console_as_json(plan_context.log, plan_context.run_id)
        try:
            with interruption.watched(), observed_run(plan_context.run_id):
                yield from super().execute(plan_context, execution_plan)
        except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
            interruption.notice()
            if OWN.items() <= plan_context.dagster_run.tags.items():
                # Dagster asks for the run's status next; of one that nobody wanted to cancel, it says that it failed.
                plan_context.instance.report_run_canceling(plan_context.dagster_run)
            raise


@dg.executor(name="in_process", config_schema=_SETTINGS)
def run_executor(context: dg.InitExecutorContext) -> InProcessExecutor:
    """Steps run one after another in the run's process."""
    make = dg.in_process_executor.executor_creation_fn
    assert make is not None
    made = make(context)
    assert isinstance(made, InProcessExecutor)
    return _Canceling(made.retries, made.step_dependency_config, made.marker_to_close)
