"""What killed writers leave behind: nobody takes it for a file, and the clean-up finds it, and nothing of others."""

import os
import time
from contextlib import ExitStack
from dataclasses import asdict

import lance
import pyarrow as pa
import pytest

from curate_assets.video.assets.clip_files import CLIP_FILES
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.graph import VIDEO
from curate_resources.declarations.table import Column
from curate_resources.launchers.jobs import Ledger
from curate_resources.pipeline.commit import Materialized
from curate_resources.storage.root import Storage
from curate_resources.tables.lance_tables import Tables
from curate_resources.tables.orphans import forget_versions, orphans
from curate_resources.tables.upkeep import keep_up

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
        found = {orphan.path.rsplit(".", 2)[0] for orphan in orphans(storage, {"storyboards": STORYBOARDS}, 0)}
        assert found == {"media/storyboards/whole", "part", *(f"{folder}/part" for folder in FOLDERS)}


@pytest.fixture
def others(storage) -> dict[str, bytes]:
    """A root with assets that others brought, and files that nobody knows; what must be there afterwards."""
    row = {"shard": "a", "video_id": "v", "clip_id": "c", "path": "media/clips/kept.mp4", "status": "ok"}
    Tables(storage).swap(CLIP_FILES, "a", pa.Table.from_pylist([row], schema=CLIP_FILES.rows_schema))
    columns = {
        "path": ["media/masks/1.jpg", "media/clips/of-theirs.mp4", f"{storage.root}/media/clips/by-uri.mp4"],
        "picture": ["media/masks/2.jpg"] * 3,
    }
    for number in range(3):
        lance.write_dataset(pa.table(columns), storage.uri("tables/masks.lance"), mode="append" if number else "create")
    named = [
        "masks/1.jpg",
        "masks/2.jpg",
        "masks/3.jpg",
        "clips/kept.mp4",
        "clips/of-theirs.mp4",
        "clips/by-uri.mp4",
    ]
    unknown = ["media/notes.txt", "media/clips2/1.mp4", "masks/film.mp4.partial", "download.partial"]
    paths = [*(f"media/{name}" for name in named), *unknown]
    for path in paths:
        storage.write(path, path.encode())
    storage.write("media/clips/lost.mp4", b"12345")
    storage.write("media/storyboards/v-1/000000.jpgs", b"12345")
    return {path: path.encode() for path in paths}


def test_only_files_whose_owner_is_known_are_removed(storage, others):
    """Before, whatever lay below `media/` and was in no table of ours was deleted every night."""
    lost = {"media/clips/lost.mp4", "media/storyboards/v-1/000000.jpgs"}
    assert {orphan.path for orphan in orphans(storage, VIDEO.tables, 0)} == lost
    assert keep_up(storage, VIDEO.tables, 0).files == len(lost)
    assert {path: storage.read(path) for path in others} == others


def test_a_link_goes_alone_and_what_cannot_be_read_stops_nothing(storage, tmp_path):
    """Before, the clean-up removed what links led to."""
    (tmp_path / "elsewhere").mkdir()
    precious = tmp_path / "elsewhere" / "precious.mp4"
    precious.write_bytes(b"precious")
    storage = Storage(str(tmp_path / "root"))
    storage.write("media/clips/lost.mp4", b"lost")
    for name, target in {"to a file.mp4": precious, "to a folder": precious.parent, "broken.mp4": "nowhere"}.items():
        (tmp_path / "root" / "media" / "clips" / name).symlink_to(target)
    (tmp_path / "root" / "media" / "masks").mkdir(mode=0o000)
    assert keep_up(storage, VIDEO.tables, 0).files == 2
    assert precious.read_bytes() == b"precious"
    assert sorted(os.listdir(tmp_path / "root" / "media" / "clips")) == ["broken.mp4", "to a folder"]


def test_tables_of_others_keep_their_versions_and_ours_those_with_a_tag(storage, others):
    store = Tables(storage)
    store.dataset("clip_files").tags.create("published", 1)
    keep_up(storage, VIDEO.tables, 0)
    assert [version["version"] for version in store.dataset("masks").versions()] == [1, 2, 3]
    assert 1 in [version["version"] for version in store.dataset("clip_files").versions()]


def test_a_table_that_names_a_media_folder_says_which_file_is_which_rows():
    with pytest.raises(ValueError, match="no column `path`"):
        type(CLIP_FILES)("a", "clip", ("key",), (Column("key", pa.string()),), "", media="media/a")


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


def test_young_files_may_belong_to_a_run_that_is_under_way(storage, tmp_path):
    for name in ("young", "old"):
        storage.write(f"media/clips/{name}.mp4", b"12345")
    two_hours_ago = time.time() - 7200
    os.utime(tmp_path / "media" / "clips" / "old.mp4", (two_hours_ago, two_hours_ago))
    found = [orphan.path for orphan in orphans(storage, VIDEO.tables, 3600)]
    assert found == ["media/clips/old.mp4"]
