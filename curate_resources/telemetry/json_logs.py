"""Logs as JSON lines, each with the ids of its run, shard and stage."""

import json
import logging
import os
from datetime import UTC, datetime
from typing import IO

from curate_resources.pipeline.run_context import current_ids
from gpu_kernels.errors import UserError

VARIABLE = "CURATE_LOG_FORMAT"
_FORMATS = ("text", "json")


def asked() -> bool:
    """Whether the environment asks for JSON.

    Raises:
        UserError: it asks for something else.
    """
    chosen = os.environ.get(VARIABLE, "text")
    if chosen not in _FORMATS:
        raise UserError(f"{VARIABLE} is {chosen!r}: set it to {' or '.join(_FORMATS)}")
    return chosen == "json"


class JsonLines(logging.Formatter):
    """A record as one line: `time`, `level`, `logger`, `message`; `run`, `shard`, `stage` where they are known; and
    `exception`, a traceback.

    Args:
        run: Dagster's id of the run.
    """

    def __init__(self, run: str = "") -> None:
        super().__init__()
        self._run = run

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": self.message(record),
            **({"run": self._run} if self._run else {}),
            **current_ids(),
            **({"exception": self.formatException(record.exc_info)} if record.exc_info else {}),
        }
        return json.dumps(line, ensure_ascii=False)

    def message(self, record: logging.LogRecord) -> str:
        """What is said."""
        return record.getMessage()


def json_handler(stream: IO[str], run: str = "") -> logging.Handler:
    """A handler that writes JSON lines to a stream."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines(run))
    return handler
