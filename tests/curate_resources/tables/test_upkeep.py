"""Upkeep joins fragments and indexes shards, and no read sees a difference."""

from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from curate_assets.video.assets.clips import CLIPS
from curate_resources.storage.root import Storage
from curate_resources.tables import indexes
from curate_resources.tables.lance_tables import Tables
from curate_resources.tables.upkeep import keep_up

SHARDS = [f"films-{number:06d}" for number in range(30)]


@pytest.fixture
def tables(tmp_path, monkeypatch) -> Tables:
    monkeypatch.setattr(indexes, "INDEXED_FROM_ROWS", 50)
    return Tables(Storage(str(tmp_path)))


def rows(shard: str, count: int) -> pa.Table:
    made = [
        {"shard": shard, "video_id": shard, "clip_id": f"{shard}/{number}", "status": "ok", "fingerprint": "f"}
        for number in range(count)
    ]
    return pa.Table.from_pylist(made, schema=CLIPS.rows_schema)


def assert_reads(tables: Tables, expected: dict[str, pa.Table]) -> None:
    """Of one shard, of some, and of all."""
    names = CLIPS.rows_schema.names
    for shard, own in expected.items():
        assert tables.read(CLIPS, shard, names).equals(own), shard
    some = sorted(expected)[1:-1:2]
    assert tables.read(CLIPS, some, names).equals(pa.concat_tables([expected[shard] for shard in some]))
    assert tables.read(CLIPS, None, names).equals(pa.concat_tables([expected[shard] for shard in sorted(expected)]))


def test_reads_are_the_same_with_an_index_and_whatever_is_written_after_it(tables):
    expected = {shard: rows(shard, 2) for shard in SHARDS}
    for shard, own in expected.items():
        tables.swap(CLIPS, shard, own)
    done = keep_up(tables.storage, {CLIPS.name: CLIPS}, 0)
    assert (done.compacted, done.indexed, done.busy) == (("clips",), ("clips",), ())
    dataset = tables.dataset("clips")
    assert len(dataset.get_fragments()) == 1
    assert "ScalarIndexQuery" in dataset.scanner(filter=f"shard IN ('{SHARDS[7]}')").explain_plan()
    assert_reads(tables, expected)

    expected |= {SHARDS[3]: rows(SHARDS[3], 5), SHARDS[5]: rows(SHARDS[5], 0), "later-000000": rows("later-000000", 3)}
    for shard in (SHARDS[3], SHARDS[5], "later-000000"):
        tables.swap(CLIPS, shard, expected[shard])
    assert_reads(tables, expected)
    assert keep_up(tables.storage, {CLIPS.name: CLIPS}, 0).indexed == ("clips",)
    assert tables.dataset("clips").stats.index_stats("shard_idx")["num_unindexed_rows"] == 0
    assert_reads(tables, expected)
    assert keep_up(tables.storage, {CLIPS.name: CLIPS}, 0).indexed == ()


def test_upkeep_beside_writers_loses_nothing(tables):
    expected = {shard: rows(shard, 2) for shard in SHARDS}
    for shard, own in expected.items():
        tables.swap(CLIPS, shard, own)

    def written(shard: str) -> None:
        for count in (3, 0, 1, 4):
            tables.swap(CLIPS, shard, rows(shard, count))
            expected[shard] = rows(shard, count)

    with ThreadPoolExecutor(3) as threads:
        writers = [threads.submit(written, shard) for shard in SHARDS[::5]]
        while not all(writer.done() for writer in writers):
            keep_up(tables.storage, {CLIPS.name: CLIPS}, 3600)
        for writer in writers:
            writer.result()
    assert_reads(tables, expected)


def test_small_tables_get_no_index(tables):
    tables.swap(CLIPS, SHARDS[0], rows(SHARDS[0], 49))
    assert keep_up(tables.storage, {CLIPS.name: CLIPS}, 0).indexed == ()
