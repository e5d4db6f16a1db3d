"""Logs as lines that a collector reads."""

import io
import json
import logging
from dataclasses import replace

import pytest

from curate_resources.engines.in_process import InProcessEngine
from curate_resources.pipeline.run import materialize
from curate_resources.pipeline.run_context import current_ids
from curate_resources.telemetry.json_logs import asked, json_handler
from gpu_kernels.errors import UserError


@pytest.fixture
def lines():
    stream, logger = io.StringIO(), logging.getLogger("curate")
    handler, level = json_handler(stream, "a-run"), logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logger.removeHandler(handler)
    logger.setLevel(level)


def _open_talking(config, storage):
    def work(work):
        logging.getLogger("curate.stages").info("at work")
        return {"files": [{"uri": uri, "bytes": 1} for uri in work.items["uri"].to_pylist()]}

    return work


def test_lines_have_the_ids_of_what_they_are_about(plan, lines):
    read, tell = plan.stages
    list(materialize(replace(plan, stages=(replace(read, open=_open_talking), tell)), ["a-000000"], InProcessEngine()))
    said = lines()
    assert all({"time", "level", "logger", "message", "run"} <= set(line) for line in said)
    talking = [line for line in said if line["message"] == "at work"]
    assert {(line["run"], line["shard"], line["stage"]) for line in talking} == {("a-run", "a-000000", "read")}
    (failed,) = [line for line in said if line["level"] == "WARNING"]
    assert failed["stage"] == "tell" and failed["source"].endswith("bad.bin") and current_ids() == {}


def test_an_exception_stays_in_its_line(lines):
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("curate").exception("it failed")
    (line,) = lines()
    assert line["message"] == "it failed" and "ValueError: two\nlines" in line["exception"]


def test_another_format_is_an_error(monkeypatch):
    monkeypatch.setenv("CURATE_LOG_FORMAT", "xml")
    with pytest.raises(UserError, match="CURATE_LOG_FORMAT is 'xml': set it to text or json"):
        asked()
