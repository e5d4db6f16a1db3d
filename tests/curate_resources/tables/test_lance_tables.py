"""Swapping a shard's rows: whole or not at all, whoever else writes. Writers are processes, as in real life."""

import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import lancedb
import pyarrow as pa
import pytest

from curate_resources.declarations.table import Column, Table
from curate_resources.storage.root import Storage, is_local
from curate_resources.tables.datasets import created
from curate_resources.tables.lance_tables import Tables

THING = Table(
    name="things",
    grain="thing",
    keys=("name",),
    columns=(Column("name", pa.string()), Column("vector", pa.list_(pa.float32()))),
    description="Things.",
)


def things(shard: str, names: list[str]) -> pa.Table:
    rows = [
        {"shard": shard, "name": name, "vector": [1.0, 2.0], "status": "ok", "error": None, "fingerprint": f"of-{name}"}
        for name in names
    ]
    return pa.Table.from_pylist(rows, schema=THING.rows_schema)


@pytest.fixture
def tables(tmp_path) -> Tables:
    return Tables(Storage(str(tmp_path)))


def test_a_swap_replaces_one_shard_and_nothing_else(tables):
    tables.swap(THING, "a", things("a", ["one", "two"]))
    tables.swap(THING, "b", things("b", ["three"]))
    tables.swap(THING, "a", things("a", ["four"]))
    assert tables.read(THING, "a")["name"].to_pylist() == ["four"]
    assert tables.read(THING, "b")["name"].to_pylist() == ["three"]
    tables.swap(THING, "a", things("a", []))
    assert tables.read(THING)["name"].to_pylist() == ["three"]


def test_equal_rows_make_no_new_version(tables):
    before = tables.swap(THING, "a", things("a", ["one"]))
    assert tables.swap(THING, "a", things("a", ["one"])) == before


def test_replace_swaps_all_shards_at_once(tables):
    tables.swap(THING, "gone", things("gone", ["one"]))
    before = tables.version("things")
    after = tables.replace(THING, {"a": things("a", ["two"]), "b": things("b", ["three"])})
    assert after == before + 1
    assert tables.read(THING)["name"].to_pylist() == ["two", "three"]


def test_lancedb_opens_a_table(tables, tmp_path):
    tables.swap(THING, "a", things("a", ["one", "two"]))
    opened = lancedb.connect(str(tmp_path / "tables")).open_table("things")
    assert sorted(opened.to_arrow()["name"].to_pylist()) == ["one", "two"]


WRITER = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    sys.path.insert(0, {folder!r})
    from test_tables_writer import THING, Tables, Storage, things

    root, here, shard, writer, count, rounds = *sys.argv[1:5], int(sys.argv[5]), int(sys.argv[6])
    tables = Tables(Storage(root))
    Path(here, f"ready-{{writer}}").touch()
    while not Path(here, "go").exists():
        time.sleep(0.01)
    for round in range(rounds):
        tables.swap(THING, shard, things(shard, [f"{{writer}}-{{round}}-{{i}}" for i in range(count)]))
    """
)


@pytest.fixture(params=["disk", "bucket"])
def root(request, tmp_path) -> str:
    """A folder; or a bucket on a network where one request in ten fails or is answered too late."""
    if request.param == "disk":
        return str(tmp_path / "root")
    s3 = request.getfixturevalue("s3")
    uri = s3.bucket("tables-of-many") + "/root"
    s3.proxy.share = 0.1
    return uri


def test_processes_that_write_the_same_and_other_shards_lose_and_double_nothing(root, tmp_path):
    """Writers of one shard that share no key and start from nothing: the hardest case for a merge by keys."""
    tables = Tables(Storage(root))
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "test_tables_writer.py").write_text(Path(__file__).read_text())
    script = WRITER.format(folder=str(folder))
    plan = [("same", "A", 3), ("same", "B", 7), ("same", "C", 5), ("other", "D", 4)]
    rounds = 4 if is_local(root) else 2
    processes = [
        subprocess.Popen([sys.executable, "-c", script, root, str(tmp_path), shard, writer, str(count), str(rounds)])
        for shard, writer, count in plan
    ]
    while len(list(tmp_path.glob("ready-*"))) < len(plan):
        assert all(process.poll() is None for process in processes)
    (tmp_path / "go").touch()
    seen = []
    while any(process.poll() is None for process in processes):
        seen.append(tables.read(THING, "same")["name"].to_pylist())
        time.sleep(0.1)
    assert [process.wait() for process in processes] == [0] * len(plan)
    seen.append(tables.read(THING, "same")["name"].to_pylist())
    sizes = {writer: count for _, writer, count in plan}
    for names in seen:  # a reader never saw anything but the whole rows of one writer's round
        sources = Counter(name.rsplit("-", 1)[0] for name in names)
        assert len(sources) <= 1
        for source, count in sources.items():
            assert count == sizes[source[0]]
    assert len(seen[-1]) in {3, 5, 7}
    assert tables.read(THING, "other")["name"].to_pylist() == [f"D-{rounds - 1}-{i}" for i in range(4)]
    slots = tables.read(THING)["slot"].to_pylist()
    assert len(slots) == len(set(slots))


class Overtaken:
    """Before one of the requests that are made, another writer is let through."""

    def __init__(self, request: int, write: Callable[[], object]) -> None:
        self.request, self.seen, self._write = request, 0, write
        self._writing = threading.Event()

    def chosen(self, _method: str) -> None:
        if self._writing.is_set():
            return
        self.seen += 1
        if self.seen == self.request:
            self._writing.set()
            self._write()
            self._writing.clear()


def test_whoever_creates_a_table_takes_nothing_from_who_did_so_meanwhile(s3, monkeypatch):
    """As runs of a backfill do that begin in a new root at one moment."""
    bucket, rows = s3.bucket("tables-created-twice"), things("other", ["one", "two"])
    for request in range(1, 100):
        tables = Tables(Storage(f"{bucket}/{request}"))
        overtaken = Overtaken(request, lambda tables=tables: tables.swap(THING, "other", rows))
        monkeypatch.setattr(s3.proxy, "chosen", overtaken.chosen)
        created(tables.storage, "tables/things.lance", THING.schema)
        if overtaken.seen < request:
            return
        assert tables.read(THING)["name"].to_pylist() == ["one", "two"], request
    raise AssertionError("a table is created by fewer requests")
