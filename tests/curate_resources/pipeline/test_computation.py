"""What every stage's results go through."""

import errno
import os

import pyarrow as pa

from curate_resources.declarations.stage import Needs, Stage, Work
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.declarations.units import UnitFiles, UnitTable
from curate_resources.engines.in_process import StageRunner
from curate_resources.pipeline.computation import Part, Treatment
from curate_resources.pipeline.plan import Plan
from curate_resources.pipeline.unit import Unit
from gpu_kernels.sandbox import MediaError

ITEMS = Table("items", "item", ("name",), (Column("name", pa.string()),), "Things to measure.")
SIZES = Table("sizes", "item", ("name",), (Column("name", pa.string()), Column("size", pa.int64())), "Their sizes.")
FILES = Table("files", "file", ("uri",), (Column("uri", pa.string()),), "What things are in.")
UNITS = UnitTable(FILES, UnitFiles("file", frozenset({".txt"})), id="uri")


def test_a_result_that_no_column_holds_fails_its_item_alone(tmp_path):
    sizes = {"a": 1, "b": 2**63, "c": 3}
    stage = Stage(
        "measure",
        item="items",
        reads=(),
        writes=(SIZES,),
        open=lambda config, storage: (
            lambda work: {
                "sizes": [{"name": name, "size": sizes[name]} for name in work.items["name"].to_pylist()],
            }
        ),
    )
    rows = [{"name": name, "status": "ok", "fingerprint": name} for name in sizes]
    unit = Unit("shard", "source", {"items": pa.Table.from_pylist(rows, schema=ITEMS.rows_schema)})
    StageRunner(Plan((stage,), frozenset({"sizes"}), {"items": ITEMS, "sizes": SIZES}, None, str(tmp_path), UNITS))(
        unit
    )
    made = {row["name"]: row for row in unit.rows["sizes"].to_pylist()}
    assert {name: (row["status"], row["size"]) for name, row in made.items()} == {
        "a": ("ok", 1),
        "b": ("failed", None),
        "c": ("ok", 3),
    }
    assert made["b"]["error"]["type"] == "OverflowError"


def test_a_row_says_what_the_system_refused_and_what_to_do(tmp_path):
    def fail(work: Work) -> dict[str, list[Row]]:
        (name,) = work.items["name"].to_pylist()
        if name == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/scratch/copy")
        raise MediaError("no progress") from TimeoutError("timed out")

    stage = Stage("fail", item="items", reads=(), writes=(SIZES,), open=lambda config, storage: fail)
    rows = [{"name": name, "status": "ok", "fingerprint": name} for name in ("full", "stalled")]
    unit = Unit("shard", "source", {"items": pa.Table.from_pylist(rows, schema=ITEMS.rows_schema)})
    StageRunner(Plan((stage,), frozenset({"sizes"}), {"items": ITEMS, "sizes": SIZES}, None, str(tmp_path), UNITS))(
        unit
    )
    said = {row["name"]: row["error"]["message"] for row in unit.rows["sizes"].to_pylist()}
    assert said["full"].startswith("/scratch/copy: the disk is full; free space")
    assert said["stalled"] == "no progress"


def test_a_call_gets_no_more_than_its_budget_of_rows_and_media(tmp_path):
    """So that a worker's memory has a bound whatever the length of a video."""
    files = Table("files", "item", ("name",), (Column("name", pa.string()), Column("bytes", pa.int64())), "Media.")
    stage = Stage("measure", "items", ("files",), (SIZES,), lambda *_: lambda work: {}, needs=Needs(batch_mib=1))
    media = {"a": 0.4, "b": 0.4, "c": 0.4, "d": 3, "e": 0.4}
    rows = [
        {"name": name, "bytes": int(mib * (1 << 20)), "status": "ok", "fingerprint": name}
        for name, mib in media.items()
    ]
    unit = Unit(
        "shard",
        "source",
        {
            "items": pa.Table.from_pylist(rows, schema=ITEMS.rows_schema),
            "files": pa.Table.from_pylist(rows, schema=files.rows_schema),
        },
    )
    tables = {"items": ITEMS, "files": files, "sizes": SIZES}
    plan = Plan((stage,), frozenset({"sizes"}), tables, None, str(tmp_path), UNITS)
    assert Treatment(stage, plan).of(unit).batches() == [Part(0, 2), Part(2, 3), Part(3, 4), Part(4, 5)]


def test_a_table_that_is_idle_gets_no_rows_while_others_of_its_stage_do(tmp_path):
    """And costs none of theirs: what is stored of them still holds when it comes to be made."""
    weights = Table("weights", "item", ("name",), (Column("name", pa.string()),), "Their weights.")
    asked: list[frozenset[str]] = []

    def measure(work: Work) -> dict[str, list[Row]]:
        asked.append(work.wanted)
        return {table: [{"name": name} for name in work.items["name"].to_pylist()] for table in work.wanted}

    stage = Stage("measure", "items", (), (SIZES, weights), lambda *_: measure)
    rows = [{"name": name, "status": "ok", "fingerprint": name} for name in "ab"]
    tables = {"items": ITEMS, "sizes": SIZES, "weights": weights}
    made: dict[str, pa.Table] = {}
    for idle in ({"weights"}, {"weights"}, set[str](), {"weights"}):
        unit = Unit("shard", "source", {"items": pa.Table.from_pylist(rows, schema=ITEMS.rows_schema)}, dict(made))
        plan = Plan((stage,), frozenset({"sizes", "weights"}), tables, None, str(tmp_path), UNITS, idle=frozenset(idle))
        computation = Treatment(stage, plan).of(unit)
        assert (len(computation.unclaimed("weights")), computation.in_doubt("weights")) == (
            (made["weights"].num_rows if made else 0, []) if idle else (0, [0, 1])
        )
        StageRunner(plan)(unit)
        made = {name: unit.rows[name] for name in ("sizes", "weights")}
        assert (made["sizes"].num_rows, made["weights"].num_rows) == (2, 0 if idle else 2)
    assert asked == [{"sizes"}, {"weights"}]
