"""What processes that work on a plan do for logs and traces, as the plan's context asks for it."""

import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager

from curate_resources.pipeline.events import listen, listening
from curate_resources.pipeline.run_context import RunContext
from curate_resources.telemetry import tracing
from curate_resources.telemetry.json_logs import json_handler


@contextmanager
def observed(context: RunContext) -> Generator[None]:
    """Trace what this process does meanwhile."""
    if not (context.traceparent and tracing.asked()):
        yield
        return
    spans = tracing.Tracing(context.traceparent)
    with listening(spans, own_only=True):
        try:
            yield
        finally:
            spans.ended()


def observe_worker(context: RunContext) -> None:
    """Have this process, which is a worker's, trace what it does and log as JSON from now on."""
    if context.traceparent and tracing.asked():
        listen(tracing.Tracing(context.traceparent), own_only=True)
    if context.json_logs:
        logger = logging.getLogger("curate")
        logger.setLevel(logging.INFO)
        logger.addHandler(json_handler(sys.stderr, context.run))
