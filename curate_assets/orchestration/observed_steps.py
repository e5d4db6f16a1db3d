"""Runs and steps as spans, with the metrics and the ids of logs of what is done in them."""

import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager

import dagster as dg

from curate_resources.pipeline.run_context import RunContext, about
from curate_resources.telemetry import json_logs, tracing
from curate_resources.telemetry.exposure import exposed_metrics
from curate_resources.telemetry.json_logs import json_handler
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
    run, step = context.run_id, context.get_step_execution_context().step.key
    if not tracing.asked():
        with about(run=run), exposed_metrics(run):
            yield RunContext(run, json_logs=json_logs.asked())
        return
    parent = tracing.below(tracing.run_traceparent(run), "run")
    own = tracing.below(parent, "step", step, str(context.retry_number))
    attributes = {"dagster.run_id": run, "dagster.step": step, "curate.shards": len(_shards(context))}
    asked = RunContext(run, own, json_logs.asked())
    with about(run=run), exposed_metrics(run), tracing.traced(f"step {step}", own, parent, attributes), observed(asked):
        yield asked


def _shards(context: dg.AssetExecutionContext) -> list[str]:
    return list(context.partition_keys) if context.has_partition_key or context.has_partition_key_range else []


@dg.logger(
    config_schema={"log_level": dg.Field(str, is_required=False, default_value="INFO")},
    description="What Dagster and the engines say, as JSON lines on standard error.",
)
def json_console(context: dg.InitLoggerContext) -> logging.Logger:
    """In place of Dagster's own console where `CURATE_LOG_FORMAT` is `json`."""
    logger = logging.Logger("dagster", level=context.logger_config["log_level"])
    logger.addHandler(json_handler(sys.stderr, context.run_id or ""))
    return logger
