"""Searches find what is stored now, whether it is in the index or not, in an order that depends on nothing else."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest

from curate_resources.declarations.table import Column, Table
from curate_resources.storage.root import Storage
from curate_resources.tables import indexes
from curate_resources.tables.best_rows import SCORE, Keep, Wanted
from curate_resources.tables.indexes import index_of
from curate_resources.tables.lance_tables import Tables
from curate_resources.tables.searching import matching, nearest, recall
from curate_resources.tables.upkeep import keep_up

THINGS = Table(
    name="things",
    grain="thing",
    keys=("thing",),
    columns=(
        Column("thing", pa.string()),
        Column("vector", pa.list_(pa.float32()), vectors=True),
        Column("text", pa.string(), text=True),
        Column("labels", pa.list_(pa.string()), text=True),
    ),
    description="",
)
WORDS = "fox rabbit street night bicycle rain tram crossing snow harbour".split()
SIZE, DIMENSION = 60, 16
SHARDS = [f"s-{number:06d}" for number in range(20)]


def rows(shard: str, count: int = SIZE, seed: int = 0, **values: object) -> list[dict]:
    random = np.random.default_rng([seed, *shard.encode()])
    made: list[dict] = []
    for number in range(count):
        text = " ".join(random.choice(WORDS, random.integers(3, 9)))
        row = {"thing": f"{shard}-{number}", "text": text, "labels": random.choice(WORDS, 2).tolist()}
        made.append(row | {"vector": random.normal(size=DIMENSION).tolist(), "status": "ok"} | values)
    made[-1] |= {"status": "failed", "vector": None, "text": None, "labels": None}
    return made


def as_table(shard: str, made: list[dict]) -> pa.Table:
    filled = [{"shard": shard, "fingerprint": str(row), **row} for row in made]
    return pa.Table.from_pylist(filled, schema=THINGS.rows_schema)


def put(tables: Tables, shard: str, made: list[dict]) -> None:
    tables.swap(THINGS, shard, as_table(shard, made))


def cosines(stored: dict[str, list[dict]], query: np.ndarray) -> dict[str, float]:
    """By hand."""
    found: dict[str, float] = {}
    for row in (row for each in stored.values() for row in each if row["vector"] is not None):
        vector = np.array(row["vector"])
        found[row["thing"]] = float(vector @ query / np.linalg.norm(vector) / np.linalg.norm(query))
    return found


@pytest.fixture
def stored() -> dict[str, list[dict]]:
    return {shard: rows(shard) for shard in SHARDS}


@pytest.fixture
def tables(tmp_path, monkeypatch, stored) -> Tables:
    monkeypatch.setattr(indexes, "SEARCHED_FROM_ROWS", 1000)
    monkeypatch.setattr(indexes, "ROWS_PER_CELL", 100)
    tables = Tables(Storage(str(tmp_path)))
    tables.replace(THINGS, {shard: as_table(shard, made) for shard, made in stored.items()})
    return tables


def kept_up(tables: Tables) -> bool:
    return bool(keep_up(tables.storage, {THINGS.name: THINGS}, 0).indexed)


def found_by(tables: Tables, text: str, column: str = "text", limit: int = 10, **wanted: object) -> list[str]:
    return matching(tables, THINGS, column, text, Wanted(limit, **wanted))["thing"].to_pylist()


def test_the_nearest_are_those_found_by_hand_with_and_without_an_index_and_after_every_swap(tables, stored):
    query = np.random.default_rng(7).normal(size=DIMENSION)

    def assert_nearest() -> None:
        expected = cosines(stored, query)
        first = sorted(expected, key=lambda thing: -expected[thing])[:10]
        found = nearest(tables, THINGS, "vector", query, Wanted(10))
        assert found["thing"].to_pylist() == first
        assert found[SCORE].to_numpy() == pytest.approx([expected[thing] for thing in first], abs=1e-4)

    assert_nearest()
    assert kept_up(tables) and index_of(tables.dataset("things"), "vector")
    assert_nearest()
    gone = nearest(tables, THINGS, "vector", query, Wanted(1))["shard"][0].as_py()
    stored[gone] = rows(gone, 30, seed=1)
    stored["later-000000"] = rows("later-000000")
    stored["later-000000"][3]["vector"] = query.tolist()
    for shard in (gone, "later-000000"):
        put(tables, shard, stored[shard])
    assert_nearest()
    assert kept_up(tables)
    assert tables.dataset("things").stats.index_stats("vector_idx")["num_unindexed_rows"] == 0
    assert_nearest()
    assert not kept_up(tables)


def test_words_are_found_in_rows_that_are_not_indexed_yet_and_not_in_those_that_were_replaced(tables, stored):
    planted = rows("later-000000")
    planted[5] |= {"text": "Two zebras were crossing a street", "labels": ["tabby cat", "zebra"]}
    put(tables, "later-000000", planted)

    def assert_found() -> None:
        assert found_by(tables, "zebra") == ["later-000000-5"]
        assert found_by(tables, "CATS", "labels") == ["later-000000-5"]

    assert_found()  # without any index
    assert kept_up(tables) and not kept_up(tables)
    assert_found()
    put(tables, "later-000000", rows("later-000000"))
    assert found_by(tables, "zebra") == found_by(tables, "cats", "labels") == []
    put(tables, "later-000000", planted)
    assert_found()  # in rows that are not in the index
    assert kept_up(tables)
    assert_found()
    put(tables, "later-000000", rows("later-000000"))
    assert found_by(tables, "zebra") == found_by(tables, "cats", "labels") == []
    assert len(found_by(tables, "street", limit=10)) == 10


def test_rows_as_good_as_each_other_come_by_their_keys(tables, stored):
    for shard in ("b-000000", "a-000000"):
        made = rows(shard, 80, text="one unicorn", vector=[1.0] * DIMENSION)
        put(tables, shard, made[::-1])
    expected = sorted(f"a-000000-{number}" for number in range(79))[:7]
    for _ in range(2):
        assert found_by(tables, "unicorn", limit=7) == expected
        same = nearest(tables, THINGS, "vector", np.ones(DIMENSION), Wanted(7))
        assert same["thing"].to_pylist() == expected
        kept_up(tables)


def test_conditions_go_before_and_filters_after_and_neither_leaves_too_few(tables, stored):
    kept_up(tables)
    query = np.random.default_rng(8).normal(size=DIMENSION)
    expected = cosines({SHARDS[4]: stored[SHARDS[4]]}, query)
    first = sorted(expected, key=lambda thing: -expected[thing])[:20]
    before = nearest(tables, THINGS, "vector", query, Wanted(20, where=f"shard = '{SHARDS[4]}'"))

    def of_shard(found: pa.Table) -> np.ndarray:
        return np.array([shard == SHARDS[4] for shard in found["shard"].to_pylist()], bool)

    after = nearest(tables, THINGS, "vector", query, Wanted(20, keep=(Keep(("shard",), of_shard),)))
    assert before["thing"].to_pylist() == after["thing"].to_pylist() == first
    assert set(found_by(tables, "fox", limit=500, where=f"shard = '{SHARDS[4]}'")) == {
        row["thing"] for row in stored[SHARDS[4]] if row["text"] and "fox" in row["text"]
    }


def test_vectors_of_another_length_are_compared_with_none(tables, stored):
    put(tables, "wide-000000", rows("wide-000000", vector=[0.5] * 8))
    assert set(nearest(tables, THINGS, "vector", np.ones(8), Wanted(500))["shard"].to_pylist()) == {"wide-000000"}
    query = np.random.default_rng(9).normal(size=DIMENSION)
    expected = cosines(stored, query)
    found = nearest(tables, THINGS, "vector", query, Wanted(5))
    assert found["thing"].to_pylist() == sorted(expected, key=lambda thing: -expected[thing])[:5]


def test_recall_is_what_a_worse_index_loses(tables, stored, monkeypatch):
    monkeypatch.setattr(indexes, "ROWS_PER_CELL", 20)
    kept_up(tables)
    queries = np.random.default_rng(10).normal(size=(20, DIMENSION))
    assert recall(tables, THINGS, "vector", queries, 10).mean() == 1.0
    for name, value in (("PROBES", 1), ("ROWS_PER_PROBE", 100)):
        monkeypatch.setattr(f"curate_resources.tables.searching._{name}", value)
    assert 0.05 < recall(tables, THINGS, "vector", queries, 10).mean() < 0.99


def test_where_a_test_takes_most_rows_away_more_cells_are_looked_through(tables, monkeypatch):
    monkeypatch.setattr(indexes, "ROWS_PER_CELL", 20)
    kept_up(tables)
    monkeypatch.setattr("curate_resources.tables.searching._PROBES", 1)
    few = Keep(
        ("thing",), lambda found: np.array([int(each.split("-")[2]) % 20 == 0 for each in found["thing"].to_pylist()])
    )
    shares: list[float] = []
    for query in np.random.default_rng(11).normal(size=(20, DIMENSION)):
        asked = (tables, THINGS, "vector", query, Wanted(4, keep=(few,), share=0.05))
        least = nearest(*asked, exact=True)[SCORE].to_numpy().min()
        shares.append(float((nearest(*asked)[SCORE].to_numpy() >= least).mean()))
    assert np.mean(shares) > 0.95


def test_searches_beside_writers_and_upkeep_see_whole_shards(tables, stored):
    """A shard is as it was or as it is: its rows all have one word."""
    put(tables, SHARDS[0], rows(SHARDS[0], text="before"))

    def written() -> None:
        for number in range(6):
            put(tables, SHARDS[0], rows(SHARDS[0], seed=number, text=("before", "after")[number % 2]))
            keep_up(tables.storage, {THINGS.name: THINGS}, 3600)

    with ThreadPoolExecutor(1) as threads:
        writer = threads.submit(written)
        seen = 0
        while not writer.done() or not seen:
            found = matching(tables, THINGS, "text", "before after", Wanted(200, ["text"]))
            assert len(found) == SIZE - 1 and len(set(found["text"].to_pylist())) == 1
            seen += 1
        writer.result()
