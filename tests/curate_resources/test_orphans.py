"""What killed writers leave behind: nobody takes it for a file, and the clean-up finds it."""

from contextlib import ExitStack
from dataclasses import asdict

import pytest

from curate_resources.jobs import Ledger
from curate_resources.orphans import forget_versions, orphans
from curate_resources.plan import Materialized
from curate_resources.storage import Storage
from curate_resources.tables import Tables

FOLDERS = ("datasets/1", "jobs/one/done", "manifests", "media/storyboards", "reports")


@pytest.fixture
def storage(tmp_path) -> Storage:
    return Storage(str(tmp_path))


def test_parts_of_files_are_found_in_every_folder(storage):
    with ExitStack() as being_written:
        for folder in FOLDERS:
            storage.write(f"{folder}/whole", b"whole")
            being_written.enter_context(storage.writer(f"{folder}/part"))
        being_written.enter_context(storage.writer("part"))
        found = {orphan.path.rsplit(".", 2)[0] for orphan in orphans(storage, {}, 0)}
        assert found == {"media/storyboards/whole", "part", *(f"{folder}/part" for folder in FOLDERS)}


def test_a_ledger_entry_that_is_being_written_is_no_entry(storage):
    ledger = Ledger(storage, "one")
    done = Materialized("clips", "a-000000", 2, 0, {}, 0, 0, 0.0, 0, "")
    ledger.record(0, done)
    with storage.writer("jobs/one/done/000001-clips-b-000000.json") as file:
        file.write(b'{"table": "cl')
        file.flush()
        assert [asdict(each) for each in ledger.entries(0)] == [asdict(done)]
        assert ledger.entries(1) == []


def test_a_table_whose_first_commit_never_came_is_no_obstacle(storage, tmp_path):
    (tmp_path / "tables" / "clips.lance" / "data").mkdir(parents=True)
    (tmp_path / "tables" / "clips.lance" / "data" / "0.lance").write_bytes(b"never committed")
    assert Tables(storage).names() == []
    assert forget_versions(storage, 0) == 0
