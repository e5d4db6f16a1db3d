"""Workers with a life, in process: fed across units, their time divided among works, closed with what they hold."""

import asyncio
import subprocess
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curate_resources.declarations.stage import ClosedWorker, LiveWorker, Needs, Stage, Work
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.declarations.units import UnitFiles, UnitTable
from curate_resources.engines.in_process import InProcessEngine
from curate_resources.pipeline.plan import Plan
from curate_resources.pipeline.unit import Unit

ITEMS = Table("items", "item", ("item",), (Column("item", pa.int64()),), "")
ANSWERS = Table("answers", "item", ("item",), (Column("item", pa.int64()), Column("answer", pa.int64())), "")
TABLES = {"items": ITEMS, "answers": ANSWERS}
FILES = Table("files", "file", ("uri",), (Column("uri", pa.string()),), "")
CURATED = UnitTable(FILES, UnitFiles("file", frozenset({".txt"})), id="uri")
WINDOW, UNITS, EACH = 4, 9, 2
FAILS = 5

closed: list[str] = []


class Batching(LiveWorker):
    """Answers one request whenever WINDOW are in its hands, as an engine that would otherwise run half empty; only the
    last ones of all need not wait. If it were drained between units, of which none has so many, it would wait for ever.
    """

    def __init__(self) -> None:
        self.room, self.filled = asyncio.Semaphore(WINDOW), asyncio.Condition()
        self.held: list[int] = []
        self.begun = 0
        self.child = subprocess.Popen(["sleep", "600"])

    async def rows(self, work: Work) -> Mapping[str, list[Row]]:
        items = work.items["item"].to_pylist()
        answers = await asyncio.gather(*(self.answer(item) for item in items))
        return {"answers": [{"item": item, "answer": each} for item, each in zip(items, answers, strict=True)]}

    async def answer(self, item: int) -> int:
        async with self.room, self.filled:
            self.held.append(item)
            self.begun += 1
            self.filled.notify_all()
            last = UNITS * EACH
            ready = self.filled.wait_for(
                lambda: self.held[0] == item and (len(self.held) == WINDOW or self.begun >= last)
            )
            await asyncio.wait_for(ready, 20)
            self.held.pop(0)
            self.filled.notify_all()
            if item == FAILS:
                raise ValueError("no")
            return item * item

    async def close(self) -> None:
        closed.append("batching")
        self.child.kill()
        self.child.wait()


def open_batching(config: Any, storage: Any) -> LiveWorker:
    return Batching()


def open_counting(config: Any, storage: Any) -> ClosedWorker:
    def count(work: Work) -> Mapping[str, list[Row]]:
        return {"answers": [{"item": item, "answer": item} for item in work.items["item"].to_pylist()]}

    return ClosedWorker(count, lambda: closed.append("counting"))


class Slow(LiveWorker):
    async def rows(self, work: Work) -> Mapping[str, list[Row]]:
        await asyncio.sleep(0.2)
        return {"answers": [{"item": item, "answer": item} for item in work.items["item"].to_pylist()]}


ASK = Stage("ask", "items", (), (ANSWERS,), open_batching, heavy=True, needs=Needs(at_once=2 * WINDOW))


def a_plan(stage: Stage) -> Plan:
    return Plan((stage,), frozenset({"answers"}), TABLES, None, "/nowhere", CURATED)


def units(count: int) -> list[Unit]:
    def rows(number: int) -> pa.Table:
        items = [
            {"item": number * EACH + k, "shard": "s", "status": "ok", "fingerprint": f"{number}-{k}"}
            for k in range(EACH)
        ]
        return pa.Table.from_pylist(items, schema=ITEMS.rows_schema)

    return [Unit("s", f"u{number}", {"items": rows(number)}) for number in range(count)]


@pytest.fixture(autouse=True)
def nothing_closed() -> None:
    closed.clear()


def children() -> list[str]:
    listed = Path("/proc/self/task").glob("*/children")
    names = [Path(f"/proc/{child}/comm").read_text().strip() for each in listed for child in each.read_text().split()]
    return [name for name in names if name == "sleep"]


def test_what_batches_by_itself_is_full_across_units_and_closed_in_the_end():
    found = list(InProcessEngine().run(a_plan(ASK), units(UNITS)))
    rows = {row["item"]: row for unit in found for row in unit.rows["answers"].to_pylist()}
    assert sorted(rows) == [*range(UNITS * EACH)]
    for item, row in rows.items():
        assert row["status"] == ("failed" if item == FAILS else "ok")
        assert row["answer"] == (None if item == FAILS else item * item)
    assert rows[FAILS]["error"]["type"] == "ValueError"
    assert closed == ["batching"] and children() == []


def test_workers_are_closed_when_a_run_is_left_too():
    for stage in (ASK, replace(ASK, open=open_counting, needs=Needs())):
        run = InProcessEngine().run(a_plan(stage), units(UNITS))
        next(run)
        run.close()
    assert closed == ["batching", "counting"] and children() == []


def test_works_that_wait_at_the_same_time_share_what_they_took():
    slow = replace(ASK, open=lambda config, storage: Slow(), needs=Needs(at_once=4, gpus=0.0))
    began = time.perf_counter()
    found = list(InProcessEngine().run(a_plan(slow), units(8)))
    took = time.perf_counter() - began
    spent = sum(tally["seconds"] for unit in found for tally in unit.tallies)
    assert 0.35 < spent <= took < 1.4
    assert sum(tally["cpu_seconds"] for unit in found for tally in unit.tallies) < took
