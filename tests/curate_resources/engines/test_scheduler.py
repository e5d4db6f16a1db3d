"""Whatever dies on the way, and in whatever order things happen: the same rows, and each once.

The flow and the work of the actors are real here; only the processes are simulated, so that they can die at any moment.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from curate_resources.declarations.stage import Needs, Segments, SegmentsDisagree, Stage, Work
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.declarations.units import UnitFiles, UnitTable
from curate_resources.engines.in_process import InProcessEngine
from curate_resources.engines.scheduler import Ended, Flow, Task
from curate_resources.engines.stage_actor import Done, Order, Settled, StageActor
from curate_resources.pipeline.commit import in_order
from curate_resources.pipeline.computation import Part
from curate_resources.pipeline.plan import Plan
from curate_resources.pipeline.unit import Unit
from curate_resources.sources.manifests import MANIFEST

POISON = 7
"""Clips of this number end the process that computes them, where `deadly` says so."""


class Death(BaseException):
    """Stands for the end of the process."""


SIGNALS = Table(
    "signals", "video", ("uri",), (Column("uri", pa.string()), Column("curve", pa.list_(pa.int64()))), "a curve"
)
CLIPS = Table(
    "clips",
    "clip",
    ("uri", "clip"),
    (Column("uri", pa.string()), Column("clip", pa.int64()), Column("value", pa.int64())),
    "spans of a curve",
    identity=("clip", "value"),
)
SCORES = Table(
    "scores",
    "clip",
    ("uri", "clip"),
    (Column("uri", pa.string()), Column("clip", pa.int64()), Column("score", pa.int64())),
    "",
)
VERDICTS = Table(
    "verdicts",
    "clip",
    ("uri", "clip"),
    (Column("uri", pa.string()), Column("clip", pa.int64()), Column("ok", pa.bool_())),
    "what is kept",
)
UNITS = UnitTable(SIGNALS, UnitFiles("video", frozenset({".mp4"})), id="uri", parts="clip")
TABLES = {table.name: table for table in (MANIFEST, SIGNALS, CLIPS, SCORES, VERDICTS)}


@dataclass(frozen=True)
class Config:
    """What the stages need to know, besides their rows."""

    deadly: bool = False


def curve(length: int, start: int, stop: int) -> list[int]:
    return [index * 3 % 101 for index in range(start, min(stop, length))]


def open_scanner(config: Any, storage: Any):
    def scan(work: Work) -> Mapping[str, list[Row]]:
        rows: list[Row] = []
        for item in work.items.to_pylist():
            length = item["bytes"]
            if work.segment is not None:
                index, count = work.segment
                step = -(-length // count)
                if work.early is not None and index == 0:
                    for known in range(2, step, 2):
                        work.early({"signals": [{"uri": item["uri"], "curve": curve(length, 0, known)}]})
                rows.append({"uri": item["uri"], "curve": curve(length, index * step, (index + 1) * step)})
                continue
            if work.early is not None:
                for known in range(2, length, 2):
                    work.early({"signals": [{"uri": item["uri"], "curve": curve(length, 0, known)}]})
            rows.append({"uri": item["uri"], "curve": curve(length, 0, length)})
        return {"signals": rows}

    return scan


def join(segments: list[Mapping[str, pa.Table]]) -> Mapping[str, pa.Table]:
    rows = [table["signals"].to_pylist()[0] for table in segments]
    whole = {**rows[0], "curve": [value for row in rows for value in row["curve"]]}
    if whole["uri"].startswith("torn"):
        raise SegmentsDisagree("for the test")
    return {"signals": pa.Table.from_pylist([whole], schema=SIGNALS.rows_schema)}


def open_splitter(config: Any, storage: Any):
    def split(work: Work) -> Mapping[str, list[Row]]:
        found = work.inputs["signals"].to_pylist()
        clips = [
            {"uri": row["uri"], "clip": number, "value": value}
            for row in found
            for number, value in enumerate(row["curve"])
        ]
        return {"clips": clips}

    return split


def open_scorer(config: Any, storage: Any):
    def score(work: Work) -> Mapping[str, list[Row]]:
        rows: list[Row] = []
        for clip in work.items.to_pylist():
            if clip["clip"] == POISON and config.deadly:
                raise Death
            if clip["value"] == 99:
                raise ValueError("a clip that cannot be scored")
            rows.append({"uri": clip["uri"], "clip": clip["clip"], "score": clip["value"] ** 2})
        return {"scores": rows}

    return score


def open_judge(config: Any, storage: Any):
    def judge(work: Work) -> Mapping[str, list[Row]]:
        scores = {(row["uri"], row["clip"]): row["score"] for row in work.inputs["scores"].to_pylist()}
        return {
            "verdicts": [
                {"uri": clip["uri"], "clip": clip["clip"], "ok": (scores[clip["uri"], clip["clip"]] or 0) % 2 == 0}
                for clip in work.items.to_pylist()
            ]
        }

    return judge


def settled(clips: pa.Table) -> pa.Table:
    return clips.slice(0, max(0, clips.num_rows - 1))


STAGES = (
    Stage(
        "scan",
        MANIFEST.name,
        (),
        (SIGNALS,),
        open_scanner,
        heavy=True,
        segments=Segments(lambda row: max(1, row["bytes"] // 10), join),
    ),
    Stage("split", MANIFEST.name, ("signals",), (CLIPS,), open_splitter, settled=settled),
    Stage("score", CLIPS.name, ("signals",), (SCORES,), open_scorer, heavy=True, needs=Needs(batch_mib=0.0001)),
    Stage("judge", CLIPS.name, ("scores",), (VERDICTS,), open_judge),
)
FUSED, POOLED, APART = (0, 0, 0, 0), (0, 0, 1, 1), (0, 1, 2, 3)


def a_plan(deadly: bool = False) -> Plan:
    return Plan(STAGES, frozenset(TABLES) - {MANIFEST.name}, TABLES, Config(deadly), "/nowhere", UNITS)


def videos(lengths: list[int], torn: bool = False) -> list[Unit]:
    units: list[Unit] = []
    for number, length in enumerate(lengths):
        uri = f"{'torn' if torn else 'video'}{number}"
        row = {
            "uri": uri,
            "place": uri,
            "bytes": length,
            "version": "1",
            "shard": "s",
            "status": "ok",
            "fingerprint": "",
        }
        units.append(Unit("s", uri, {MANIFEST.name: pa.Table.from_pylist([row], schema=MANIFEST.rows_schema)}))
    return units


def rows_of(units: list[Unit]) -> dict[str, list[Row]]:
    return {
        name: in_order(table, [unit.rows[name] for unit in units]).to_pylist()
        for name, table in TABLES.items()
        if name != MANIFEST.name
    }


class Simulation:
    """Runs a flow with workers that die by chance.

    Args:
        deaths, outages: chance that a call ends with its process, or with its machine and what was kept there.
    """

    def __init__(self, plan: Plan, pool_of: tuple[int, ...], chance: random.Random, deaths=0.0, outages=0.0) -> None:
        self.plan, self.pool_of, self.chance, self.deaths, self.outages = plan, pool_of, chance, deaths, outages
        self.passed_on = 0

    def run(self, units: list[Unit]) -> list[Unit]:
        flow = Flow(self.pool_of, ((unit.to_arrow(), 0) for unit in units), len(units))
        through: list[Unit] = []
        running: list[list[Task]] = []
        for _ in range(100_000):
            if flow.finished:
                assert len(through) == len(units)
                return through
            pool = self.chance.randrange(max(self.pool_of) + 1)
            tasks = flow.take(pool, self.chance.randint(1, 4), self.chance.random() < 0.7) if len(running) < 4 else []
            if tasks:
                running.append(tasks)
            elif running:
                through += self.call(flow, running.pop(self.chance.randrange(len(running))))
        raise AssertionError("it never ends")

    def call(self, flow: Flow, tasks: list[Task]) -> list[Unit]:
        if self.chance.random() < self.deaths:
            for task in tasks:
                flow.lost(task, guilty=False)
            return []
        if self.chance.random() < self.outages:
            for task in tasks:
                flow.gone(task)
            return []
        tables: list[pa.Table] = []

        def place(handle: Any) -> tuple[int, int]:
            tables.append(handle[0])
            return len(tables) - 1, handle[1]

        orders = [Order.of(task, place) for task in tasks]
        pool = self.pool_of[tasks[0].stage]
        until = max(i for i, each in enumerate(self.pool_of) if each == pool) + 1
        answers = StageActor(self.plan, until).call(orders, *tables)
        through: list[Unit] = []
        try:
            while True:
                table, told = next(answers), next(answers)
                if isinstance(told, Settled):
                    self.passed_on += 1
                    if told.stage is not None:
                        flow.early(tasks[told.order], (table, 0), told.stage)
                    continue
                assert isinstance(told, Done)
                for row, (task, (stage, parts)) in enumerate(zip(tasks, told.stands, strict=True)):
                    if flow.ended(task, Ended((table, row), stage, parts)):
                        flow.fetched(task)
                        through.append(Unit.from_arrow(table, row, TABLES))
                return through
        except Death:
            for task in tasks:
                flow.lost(task, guilty=True)
            return []


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 45), min_size=1, max_size=4),
    pool_of=st.sampled_from([FUSED, POOLED, APART]),
    seed=st.integers(0, 2**32),
    deaths=st.sampled_from([0.0, 0.3]),
    outages=st.sampled_from([0.0, 0.05]),
    torn=st.booleans(),
)
def test_the_rows_are_those_of_the_in_process_engine(lengths, pool_of, seed, deaths, outages, torn):
    expected = rows_of(list(InProcessEngine().run(a_plan(), videos(lengths, torn))))
    simulation = Simulation(a_plan(), pool_of, random.Random(seed), deaths, outages)
    units = simulation.run(videos(lengths, torn))
    assert rows_of(units) == expected
    if deaths == outages == 0:
        for unit in units:
            scored = [tally for tally in unit.tallies if tally["stage"] == "score"]
            clips = unit.rows["clips"].num_rows
            assert sum(tally["computed"] + tally["reused"] for tally in scored) == clips
            assert sum(tally["computed"] for tally in scored) >= clips


@settings(max_examples=30, deadline=None)
@given(pool_of=st.sampled_from([FUSED, POOLED, APART]), seed=st.integers(0, 2**32))
def test_a_row_that_ends_two_processes_fails_alone(pool_of, seed):
    lengths = [4, 30, 12, 8]
    expected = rows_of(list(InProcessEngine().run(a_plan(), videos(lengths))))
    found = rows_of(Simulation(a_plan(deadly=True), pool_of, random.Random(seed)).run(videos(lengths)))
    died = {(f"video{number}", POISON) for number in range(1, 4)}
    for mine, theirs in zip(found["scores"], expected["scores"], strict=True):
        if (mine["uri"], mine["clip"]) in died:
            assert (mine["status"], mine["error"]["type"], mine["error"]["attempt"]) == ("failed", "WorkerDied", 2)
            assert mine["error"]["stage"] == "score"
        else:
            assert mine == theirs
    assert found["signals"] == expected["signals"] and found["clips"] == expected["clips"]


def test_the_first_clips_are_through_before_the_video_is():
    simulation = Simulation(a_plan(), POOLED, random.Random(1))
    simulation.run(videos([9]))
    assert simulation.passed_on >= 3


def test_of_a_video_in_segments_the_first_clips_are_through_as_early():
    simulation = Simulation(a_plan(), POOLED, random.Random(1))
    simulation.run(videos([45]))
    assert simulation.passed_on >= 3


def test_a_unit_that_ends_processes_outside_of_any_item_is_given_up_alone():
    flow = Flow(FUSED, ["bad", "good"], 2)
    for _ in range(4):
        (task,) = flow.take(0, 1, True)
        flow.lost(task, guilty=True)
    assert list(flow.given_up) == [0] and "memory" in flow.given_up[0]
    (task,) = flow.take(0, 1, True)
    assert flow.ended(task, Ended("through", 4))
    flow.fetched(task)
    assert flow.finished


def test_a_batch_lost_with_its_worker_comes_back_item_by_item():
    flow = Flow(FUSED, ["unit"], 1)
    (whole,) = flow.take(0, 1, True)
    flow.ended(whole, Ended("unit", 2, (Part(0, 3), Part(3, 4))))
    (batch,) = flow.take(0, 1, True)
    flow.lost(batch, guilty=True)
    parts = [flow.take(0, 1, True)[0].part for _ in range(4)]
    assert sorted(part for part in parts if part) == [Part(0, 1), Part(1, 2), Part(2, 3), Part(3, 4)]


def test_a_video_goes_on_when_the_worker_that_had_its_beginning_dies():
    flow = Flow(POOLED, ["video"], 1)
    (whole,) = flow.take(0, 1, True)
    flow.early(whole, "beginning", 2)
    (beginning,) = flow.take(1, 1, True)
    flow.ended(whole, Ended("scanned", 2))
    assert flow.take(1, 1, True) == [], "the whole waits for the rows of its beginning"
    flow.lost(beginning, guilty=True)
    (onward,) = flow.take(1, 1, True)
    assert (onward.base, onward.beginning, onward.early) == ("scanned", False, ())


def test_of_several_tasks_that_a_worker_had_when_it_died_each_is_tried_alone_and_only_the_guilty_one_is_given_up():
    flow = Flow((0,), iter("abc"), 3)
    out = flow.take(0, 1, True) + flow.take(0, 1, True) + flow.take(0, 1, True)
    assert not any(task.alone for task in out)
    for task in out:
        flow.lost(task, guilty=False, suspect=True)
    done: list[int] = []
    while not flow.finished:
        assert flow.next_alone(0)
        (task,) = flow.take(0, 4, True)
        if task.unit == 1 and not task.given_up and not (task.careful and task.part is None and not task.parts):
            flow.lost(task, guilty=True)  # the unit's only item ends its worker, whenever it is computed
        elif task.unit == 1 and not task.given_up and not task.parts:
            flow.ended(task, Ended("b", 0, (Part(0, 1),)))
        elif flow.ended(task, Ended("rows", 0 if task.part else 1)):
            flow.fetched(task)
            done.append(task.unit)
        if task.given_up:
            break
    assert set(done) == {0, 2} and task.unit == 1 and task.given_up
