"""Runs and steps as spans, with the metrics and the ids of logs of what is done in them."""

import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg

from curate_resources.pipeline.run_context import RunContext, about
from curate_resources.telemetry import json_logs, tracing
from curate_resources.telemetry.exposure import exposed_metrics
from curate_resources.telemetry.json_logs import JsonLines
from curate_resources.telemetry.processes import observed


@contextmanager
def observed_run(run: str) -> Generator[None]:
    """The span of a Dagster run, which all its steps are below."""
    if not tracing.asked():
        yield
        return
    trace = tracing.run_traceparent(run)
    try:
        with tracing.traced("run", tracing.below(trace, "run"), trace, {"dagster.run_id": run}):
            yield
    finally:
        tracing.flush()


@contextmanager
def observed_step(context: dg.AssetExecutionContext) -> Generator[RunContext]:
    """Count, trace and name what a step does; gives what its plans are run for."""
    executed = context.get_step_execution_context()
    run, step = executed.run_id, executed.step.key
    console_as_json(context.log, run)
    if not tracing.asked():
        with about(run=run), exposed_metrics():
            yield RunContext(run, json_logs=json_logs.asked())
        return
    parent = tracing.below(tracing.run_traceparent(run), "run")
    own = tracing.below(parent, "step", step, str(executed.previous_attempt_count))
    attributes = {"dagster.run_id": run, "dagster.step": step, "curate.shards": len(_shards(context))}
    asked = RunContext(run, own, json_logs.asked())
    with about(run=run), exposed_metrics(), tracing.traced(f"step {step}", own, parent, attributes), observed(asked):
        yield asked


def _shards(context: dg.AssetExecutionContext) -> list[str]:
    return list(context.partition_keys) if context.has_partition_key or context.has_partition_key_range else []


class _DagsterLines(JsonLines):
    """Dagster's records, whose text repeats the ids that have keys of their own."""

    def message(self, record: logging.LogRecord) -> str:
        said: Mapping[str, Any] = getattr(record, "dagster_meta", {})
        return said.get("orig_message") or record.getMessage()


def console_as_json(log: Any, run: str) -> None:
    """Have Dagster's console write JSON lines, if the environment asks for it.

    A logger that a code location defines is used only where a run's config names it.

    Args:
        log: the log manager of a run or a step; each has a console of its own.
    """
    if json_logs.asked():
        for logger in log._dagster_handler._loggers:
            for handler in logger.handlers:
                handler.setFormatter(_DagsterLines(run))
