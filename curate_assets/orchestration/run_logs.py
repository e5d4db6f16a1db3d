"""What engines say while they run, in the log of the Dagster run."""

import logging
from collections.abc import Generator
from contextlib import contextmanager

import dagster as dg


class _Relay(logging.Handler):
    def __init__(self, context: dg.AssetExecutionContext) -> None:
        super().__init__(logging.INFO)
        self._context = context

    def emit(self, record: logging.LogRecord) -> None:
        self._context.log.log(record.levelno, record.getMessage())


@contextmanager
def relayed_logs(context: dg.AssetExecutionContext) -> Generator[None, None, None]:
    """Show the progress of engines, and which resource a run waits for, in the run's log in Dagster's UI."""
    logger = logging.getLogger("curate")
    relay, level = _Relay(context), logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(relay)
    try:
        yield
    finally:
        logger.removeHandler(relay)
        logger.setLevel(level)
