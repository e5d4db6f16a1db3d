"""A plan of two light stages over two small files, of which the second stage fails on one."""

import pyarrow as pa
import pytest

from curate_resources.declarations.stage import Stage
from curate_resources.declarations.table import Column, Table
from curate_resources.declarations.units import UnitFiles, UnitTable
from curate_resources.pipeline.plan import Plan
from curate_resources.sources.adding import add_units
from curate_resources.sources.manifests import MANIFEST, Manifests
from curate_resources.storage.root import Storage

FILES = Table("files", "file", ("uri",), (Column("uri", pa.string()), Column("bytes", pa.int64())), "Of a test.")
WORDS = Table(
    "words", "file", ("uri",), (Column("uri", pa.string()), Column("told", pa.int64(), tokens=True)), "Of a test."
)


def _open_files(config, storage):
    return lambda work: {"files": [{"uri": uri, "bytes": 100} for uri in work.items["uri"].to_pylist()]}


def _open_words(config, storage):
    def work(work):
        for uri in work.items["uri"].to_pylist():
            if uri.endswith("bad.bin"):
                raise ValueError("no words in it")
        return {"words": [{"uri": uri, "told": 7} for uri in work.items["uri"].to_pylist()]}

    return work


@pytest.fixture
def plan(tmp_path):
    storage = Storage(str(tmp_path / "root"))
    for name in ("good.bin", "bad.bin"):
        (tmp_path / name).write_bytes(b"x")
    add_units(Manifests(storage), str(tmp_path), "a", 10, 1 << 30, UnitFiles("file", frozenset({".bin"})))
    units = UnitTable(FILES, UnitFiles("file", frozenset({".bin"})), id="uri")
    stages = (
        Stage("read", MANIFEST.name, (), (FILES,), _open_files),
        Stage("tell", "files", (), (WORDS,), _open_words),
    )
    tables = {each.name: each for each in (MANIFEST, FILES, WORDS)}
    return Plan(stages, frozenset({"files", "words"}), tables, None, storage.root, units)
