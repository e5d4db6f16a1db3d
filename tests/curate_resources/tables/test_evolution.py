"""Stored tables that the code has other columns for by now."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from curate_resources.declarations.table import Column, Table
from curate_resources.storage.root import Storage
from curate_resources.tables.evolution import TableSchemaChanged
from curate_resources.tables.lance_tables import Tables

NAME, SIZE = Column("name", pa.string()), Column("size", pa.int64())
VECTOR = Column("vector", pa.list_(pa.float32()), vectors=True)
THINGS = Table("things", "thing", ("name",), (NAME, SIZE), "")
VECTORS = Table("vectors", "thing", ("name",), (NAME, VECTOR), "")
PLAIN = replace(VECTORS, columns=(NAME, replace(VECTOR, vectors=False)))
"""As older versions stored them."""


@pytest.fixture
def tables(tmp_path) -> Tables:
    return Tables(Storage(str(tmp_path)))


def rows(table: Table, *own: dict[str, Any]) -> pa.Table:
    common = {"shard": "a", "status": "ok", "fingerprint": "f"}
    return pa.Table.from_pylist([common | row for row in own], schema=table.rows_schema)


def vectors(shard: str, *lengths: int | None) -> pa.Table:
    made = [
        {"shard": shard, "name": f"{shard}{number}", "vector": None if length is None else [number + 1.0] * length}
        for number, length in enumerate(lengths)
    ]
    return rows(VECTORS, *made)


def stored_type(tables: Tables) -> pa.DataType:
    return tables.dataset("vectors").schema.field("vector").type


def test_an_added_column_is_null_or_made_from_the_others_and_nothing_is_lost(tables):
    tables.swap(THINGS, "a", rows(THINGS, {"name": "x", "size": 3}, {"name": "y", "size": None}))
    twice = Column("twice", pa.int64(), derived=lambda stored: pc.multiply(stored["size"], 2))
    wider = replace(THINGS, columns=(NAME, twice, SIZE, Column("note", pa.string())))
    expected = [("x", 6, 3, None), ("y", None, None, None)]

    def found(*columns: str) -> list[tuple[Any, ...]]:
        read = tables.read(wider, "a", columns)
        assert read.column_names == list(columns)
        return [tuple(row.values()) for row in read.to_pylist()]

    assert found("name", "twice", "size", "note") == expected  # before anything is written
    assert found("twice") == [(6,), (None,)] and "twice" not in tables.dataset("things").schema.names
    tables.swap(wider, "b", rows(wider, {"shard": "b", "name": "z", "size": 1, "twice": 2, "note": "new"}))
    assert found("name", "twice", "size", "note") == expected
    assert sorted(tables.dataset("things").to_table(["twice"])["twice"].drop_null().to_pylist()) == [2, 6]
    version = tables.version("things")
    tables.swap(wider, "a", tables.read(wider, "a").drop_columns(["slot"]))
    assert tables.version("things") == version  # they are the same rows


def test_numbers_get_wider_and_columns_of_a_newer_version_are_left_alone(tables):
    narrow = replace(THINGS, columns=(NAME, Column("size", pa.int32())))
    tables.swap(narrow, "a", rows(narrow, {"name": "x", "size": 3}))
    assert tables.read(THINGS).schema.field("size").type == pa.int64()
    tables.swap(THINGS, "b", rows(THINGS, {"shard": "b", "name": "y", "size": 2**40}))
    assert tables.read(THINGS)["size"].to_pylist() == [3, 2**40]
    older = replace(THINGS, columns=(NAME,))
    with pytest.raises(TableSchemaChanged, match=r"things at .* has the columns size, which this version"):
        tables.swap(older, "a", rows(older, {"name": "x"}))
    assert tables.read(older)["name"].to_pylist() == ["x", "y"]


def test_vectors_of_one_length_can_be_searched(tables, tmp_path):
    tables.swap(PLAIN, "a", vectors("a", 4, None, 4))
    assert stored_type(tables) == pa.list_(pa.float32())
    tables.swap(VECTORS, "b", vectors("b", 4))
    assert stored_type(tables) == pa.list_(pa.float32(), 4)
    assert tables.read(VECTORS, "a")["vector"].to_pylist() == [[1.0] * 4, None, [3.0] * 4]
    opened = lancedb.connect(str(tmp_path / "tables")).open_table("vectors")
    first, *_ = opened.search(np.full(4, 3, np.float32)).to_list()
    assert (first["name"], first["vector"]) == ("a2", [3.0] * 4)
    near = {"column": "vector", "q": np.full(4, 3, np.float32), "k": 1}
    assert tables.dataset("vectors").to_table(nearest=near)["name"].to_pylist() == ["a2"]
    assert tables.dataset("vectors").schema.field("slot").metadata  # still the primary key


def test_a_model_of_another_length_takes_over_shard_by_shard(tables):
    for shard in "ab":
        tables.swap(VECTORS, shard, vectors(shard, 4, 4))
    assert stored_type(tables) == pa.list_(pa.float32(), 4)
    tables.swap(VECTORS, "a", vectors("a", 6, None))
    assert stored_type(tables) == pa.list_(pa.float32())
    assert [len(each or ()) for each in tables.read(VECTORS)["vector"].to_pylist()] == [6, 0, 4, 4]
    tables.swap(VECTORS, "b", vectors("b", 6))
    tables.evolve(VECTORS)
    assert stored_type(tables) == pa.list_(pa.float32(), 6)
    assert [each and each[0] for each in tables.read(VECTORS)["vector"].to_pylist()] == [1.0, None, 1.0]


@pytest.mark.parametrize("step", ["add_columns", "alter_columns", "drop_columns"])
def test_a_process_that_dies_half_way_leaves_a_table_that_can_be_read_and_evolved(tables, step, monkeypatch):
    import lance

    tables.swap(PLAIN, "a", vectors("a", 4, None))
    before = tables.read(VECTORS)
    done = getattr(lance.LanceDataset, step)

    def die(*arguments: Any, **options: Any) -> None:
        done(*arguments, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(lance.LanceDataset, step, die)
        with pytest.raises(KeyboardInterrupt):
            tables.evolve(VECTORS)
    assert tables.read(VECTORS).equals(before)
    tables.evolve(VECTORS)
    assert stored_type(tables) == pa.list_(pa.float32(), 4)
    assert tables.read(VECTORS).equals(before)
    assert set(tables.dataset("vectors").schema.names) == set(VECTORS.schema.names)


def test_writers_that_evolve_a_table_at_the_same_time_lose_no_row(tmp_path: Path):
    tables = Tables(Storage(str(tmp_path)))
    tables.swap(PLAIN, "old", vectors("old", 4))
    shards = [f"s{number}" for number in range(6)]
    failed: list[BaseException] = []

    def write(shard: str) -> None:
        try:
            Tables(Storage(str(tmp_path))).swap(VECTORS, shard, vectors(shard, 4, None))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(shard,)) for shard in shards]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    tables.evolve(VECTORS)
    assert tables.shards(VECTORS) == ["old", *shards]
    assert tables.read(VECTORS).num_rows == 1 + 2 * len(shards)
    assert stored_type(tables) == pa.list_(pa.float32(), 4)
