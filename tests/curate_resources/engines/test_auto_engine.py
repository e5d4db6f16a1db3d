"""Where units are done: what needs an environment of its own or a GPU is never done in the process of the run."""

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curate_resources.declarations.stage import Needs, Stage
from curate_resources.declarations.table import Column, Table
from curate_resources.declarations.units import UnitFiles, UnitTable
from curate_resources.engines import auto_engine
from curate_resources.engines.auto_engine import AutoEngine
from curate_resources.engines.in_process import InProcessEngine
from curate_resources.engines.pools import PlanDoesNotFit
from curate_resources.pipeline.plan import Plan
from curate_resources.pipeline.unit import Unit
from curate_resources.sources.manifests import MANIFEST
from gpu_kernels.errors import UserError

COLUMNS = (Column("uri", pa.string()), Column("pid", pa.int64()))
SIZES = Table("sizes", "file", ("uri",), COLUMNS, "")
UNITS = UnitTable(SIZES, UnitFiles("file", frozenset({".txt"})), id="uri")


def open_here(config: Any, storage: Any):
    return lambda work: {"sizes": [{"uri": uri, "pid": os.getpid()} for uri in work.items["uri"].to_pylist()]}


def a_plan(heavy: bool = True, **needs: Any) -> Plan:
    stage = Stage("measure", MANIFEST.name, (), (SIZES,), open_here, heavy=heavy, needs=Needs(**needs))
    return Plan((stage,), frozenset({"sizes"}), {"sizes": SIZES, MANIFEST.name: MANIFEST}, None, "/nowhere", UNITS)


def units(count: int) -> list[Unit]:
    rows = [{"uri": f"v{n}", "shard": "s", "status": "ok", "fingerprint": ""} for n in range(count)]
    return [
        Unit("s", row["uri"], {"manifest": pa.Table.from_pylist([row], schema=MANIFEST.rows_schema)}) for row in rows
    ]


class Cluster:
    def __init__(self) -> None:
        self.got: list[str] = []

    def holds(self, plan: Plan) -> bool:
        return True

    def run(self, plan: Plan, units: list[Unit]):
        self.got += [unit.source for unit in units]
        yield from ()


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.mark.parametrize("heavy", [True, False])
@pytest.mark.parametrize("count", [1, 2])
def test_few_units_with_an_environment_or_a_gpu_go_to_the_cluster(count, heavy):
    elsewhere = {"measure": "/other/bin/python"}
    for plan, environments in ((a_plan(heavy), elsewhere), (a_plan(heavy, gpus=0.5), {}), (a_plan(heavy, gpus=2), {})):
        cluster = Cluster()
        assert list(AutoEngine(cluster, environments).run(plan, units(count))) == []
        assert cluster.got == [f"v{n}" for n in range(count)]


def test_few_units_without_are_done_here():
    cluster = Cluster()
    (unit,) = AutoEngine(cluster, {"another": "/other/bin/python"}).run(a_plan(), units(1))
    assert unit.rows["sizes"]["pid"].to_pylist() == [os.getpid()] and cluster.got == []


def test_a_gpu_that_is_taken_if_there_is_one_counts_where_there_is_one(monkeypatch):
    plan = a_plan(gpus=0.5, gpus_if_any=True)
    cluster = Cluster()
    assert len(list(AutoEngine(cluster).run(plan, units(1)))) == 1 and cluster.got == []
    monkeypatch.setattr(auto_engine, "gpu_count", lambda: 1)
    assert list(AutoEngine(cluster).run(plan, units(1))) == [] and cluster.got == ["v0"]


def test_in_process_what_cannot_be_given_is_an_error_before_anything_runs():
    with pytest.raises(UserError, match=r"stage measure .*engine\.stages\.measure\.environment.*in_process"):
        list(InProcessEngine({"measure": "/other/bin/python"}).run(a_plan(), units(1)))
    with pytest.raises(PlanDoesNotFit, match="measure needs 1 GPUs, and this process sees 0"):
        list(InProcessEngine().run(a_plan(gpus=1), units(1)))
    assert len(list(InProcessEngine().run(a_plan(gpus=1, gpus_if_any=True), units(1)))) == 1


def test_nothing_to_do_needs_nothing(tmp_path: Path):
    assert list(InProcessEngine({"measure": "/other/bin/python"}).run(a_plan(gpus=1), [])) == []
