"""The history loses nothing, whoever writes at the same time, and is read from its new end."""

import multiprocessing
import time
from datetime import timedelta

import pytest
from lance.dataset import DatasetOptimizer

from curate_resources.declarations.table import Recipe
from curate_resources.storage.root import Storage
from curate_resources.tables.history import History, Record
from curate_resources.tables.lance_tables import Tables
from curate_resources.tables.orphans import forget_versions, orphans

WRITERS, EACH = 4, 80


@pytest.fixture
def history(tmp_path) -> History:
    return History(Storage(str(tmp_path)))


def a_record(table: str, shard: str, number: int = 0) -> Record:
    return Record(
        table=table,
        shard=shard,
        at=time.time_ns(),
        recipe=Recipe("2", {table: {"threshold": 0.1}}, ("a model", "revision") if number % 2 else None),
        inputs={"source_videos": "digest"},
        rows=number,
        statuses={"ok": number, "failed": 1},
        computed=number,
        reused=0,
        seconds=0.1 + number,
        bytes=0,
        table_version=number,
        digest="digest",
        measures={"lengths": [0.1, float(number)], "none": []},
    )


def write(root: str, writer: int) -> None:
    history = History(Storage(root))
    for number in range(EACH):
        history.append(a_record(f"table{number % 2}", f"shard{writer}", number))


def test_several_processes_append_and_one_compacts_and_nothing_is_lost(history):
    """More appends than the history takes before it compacts itself."""
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=write, args=(history.storage.root, writer)) for writer in range(WRITERS)]
    for process in processes:
        process.start()
    while any(process.is_alive() for process in processes):
        history.compact(timedelta(hours=1))
    for process in processes:
        process.join()
        assert process.exitcode == 0
    for writer in range(WRITERS):
        for table in range(2):
            found = history.last(f"table{table}", 1000, f"shard{writer}")
            assert [record.rows for record in found] == list(range(EACH - 2 + table, -1, -2))
    latest = history.latest({"table0", "table1", "table2"}, {"shard0", "shard3", "shard9"})
    assert {key: record.rows for key, record in latest.items()} == {
        ("table0", "shard0"): EACH - 2,
        ("table1", "shard0"): EACH - 1,
        ("table0", "shard3"): EACH - 2,
        ("table1", "shard3"): EACH - 1,
    }


def test_a_record_is_read_as_it_was_written(history):
    for number in range(3):
        history.append(a_record("clips", "a", number))
    last = a_record("clips", "a", 3)
    history.append(last)
    assert history.last("clips", 1) == [last]
    assert [record.rows for record in history.last("clips", 3)] == [3, 2, 1]
    assert history.last("scores", 3) == [] and history.latest(["scores"], ["a"]) == {}


def test_it_is_no_table_and_no_orphan(history):
    for number in range(5):
        history.append(a_record("clips", "a", number))
    assert Tables(history.storage).names() == []
    assert list(orphans(history.storage, {}, 0)) == []
    assert forget_versions(history.storage, 0) > 0
    assert [record.rows for record in history.last("clips", 9)] == [4, 3, 2, 1, 0]


def test_a_full_disk_is_relieved_and_not_asked_for_more(history, monkeypatch):
    """Before, `curate clean` ended on a full disk before it had removed anything of the tables."""

    def full(*_: object, **__: object) -> None:
        raise OSError("LanceError(IO): No space left on device (os error 28)")

    for number in range(3):
        history.append(a_record("clips", f"a-{number:06d}", number))
    monkeypatch.setattr(DatasetOptimizer, "compact_files", full)
    assert forget_versions(history.storage, 0) > 0
    assert len(history.last("clips", 10)) == 3
