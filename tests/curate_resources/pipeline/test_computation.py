"""What every stage's results go through."""

import errno
import os

import pyarrow as pa

from curate_resources.declarations.stage import Stage, Work
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.engines.in_process import StageRunner
from curate_resources.pipeline.plan import Plan
from curate_resources.pipeline.unit import Unit
from gpu_kernels.sandbox import MediaError

ITEMS = Table("items", "item", ("name",), (Column("name", pa.string()),), "Things to measure.")
SIZES = Table("sizes", "item", ("name",), (Column("name", pa.string()), Column("size", pa.int64())), "Their sizes.")


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
    StageRunner(Plan((stage,), frozenset({"sizes"}), {"items": ITEMS, "sizes": SIZES}, None, str(tmp_path)))(unit)
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
    StageRunner(Plan((stage,), frozenset({"sizes"}), {"items": ITEMS, "sizes": SIZES}, None, str(tmp_path)))(unit)
    said = {row["name"]: row["error"]["message"] for row in unit.rows["sizes"].to_pylist()}
    assert said["full"].startswith("/scratch/copy: the disk is full; free space")
    assert said["stalled"] == "no progress"
