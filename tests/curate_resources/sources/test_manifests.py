"""Adding videos: idempotent, bounded shards, changed files in place."""

import os

import pytest

from curate_assets.video.video_files import VIDEO_FILES
from curate_resources.sources.adding import add_units
from curate_resources.sources.manifests import ManifestError, Manifests
from curate_resources.sources.shard_names import shard_name
from curate_resources.storage.root import Storage
from gpu_kernels.errors import UserError


@pytest.fixture
def folder(tmp_path):
    videos = tmp_path / "videos"
    for name in ("b.mp4", "a.MOV", "deep/er/c's [1].mkv", "notes.txt"):
        path = videos / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 100)
    return videos


@pytest.fixture
def manifests(tmp_path):
    return Manifests(Storage(str(tmp_path / "root")))


def test_adding_again_adds_what_is_new_and_nothing_else(folder, manifests):
    first = add_units(manifests, str(folder), "v", 2, 1 << 30, VIDEO_FILES)
    assert first.new_shards == ("v-000000", "v-000001")
    assert (first.new_files, first.ignored_files) == (3, 1)
    assert add_units(manifests, str(folder), "v", 2, 1 << 30, VIDEO_FILES).new_files == 0
    before = {shard: manifests.load(shard) for shard in manifests.shards()}
    (folder / "0.mp4").write_bytes(b"y")
    later = add_units(manifests, str(folder), "v", 2, 1 << 30, VIDEO_FILES)
    assert later.new_shards == ("v-000002",)  # a shard is closed once it is written
    assert {shard: manifests.load(shard) for shard in before} == before


def test_a_changed_file_changes_its_own_shard(folder, manifests):
    add_units(manifests, str(folder), "v", 1, 1 << 30, VIDEO_FILES)
    os.utime(folder / "b.mp4", ns=(1, 1))
    changed = add_units(manifests, str(folder), "v", 1, 1 << 30, VIDEO_FILES)
    assert (changed.changed_files, changed.new_files, len(changed.changed_shards)) == (1, 0, 1)
    (entry,) = manifests.load(changed.changed_shards[0]).entries
    assert entry.uri.endswith("/b.mp4")


def test_shards_are_bounded_by_bytes_too(folder, manifests):
    assert len(add_units(manifests, str(folder), "v", 100, 150, VIDEO_FILES).new_shards) == 3


def test_a_single_file_can_be_added(folder, manifests):
    assert add_units(manifests, str(folder / "b.mp4"), "v", 10, 1 << 30, VIDEO_FILES).new_files == 1


def test_odd_names_are_added_and_what_no_table_can_hold_is_named(folder, manifests, caplog):
    """Links that go round in circles, pipes and broken links are neither followed for ever nor waited for."""
    odd = [
        "new\nline.mp4",
        "[0-9]{a,b}?*.mp4",
        "#part?query=1&x.mp4",
        "%03d.mp4",
        "concat:a|b.mp4",
        "-i.mp4",
        'it\'s "so".mp4',
        "日本語.mp4",
    ]
    for name in odd:
        (folder / name).write_bytes(b"x")
    with open(os.fsencode(folder) + b"/\xff\xfe.mp4", "wb"):
        pass
    (folder / "deep" / "round").symlink_to("..")
    (folder / "broken.mp4").symlink_to("nowhere")
    (folder / "itself.mp4").symlink_to("itself.mp4")
    os.mkfifo(folder / "pipe.mp4")
    assert add_units(manifests, str(folder), "v", 100, 1 << 30, VIDEO_FILES).new_files == 3 + len(odd)
    (entries,) = (manifests.load(shard).entries for shard in manifests.shards())
    assert {str(folder / name) for name in odd} < {entry.uri for entry in entries}
    (said,) = caplog.messages
    assert "\\udcff\\udcfe.mp4" in said and "rename" in said


def test_what_is_not_there_is_named(manifests, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        add_units(manifests, str(tmp_path / "nowhere"), "v", 1, 1, VIDEO_FILES)
    with pytest.raises(ManifestError, match="no shard 'x'"):
        manifests.load("x")
    with pytest.raises(UserError, match="nosuch"):
        add_units(manifests, "nosuch://bucket/videos", "v", 1, 1, VIDEO_FILES)


def test_names_of_shards_are_plain():
    assert shard_name("s3://bucket/My Videos (2024)/") == "my-videos-2024"


@pytest.mark.parametrize("same", [True, False], ids=["one folder", "two folders"])
def test_two_that_add_at_once_lose_nothing_and_double_nothing(manifests, tmp_path, monkeypatch, same):
    """Before, both took the same numbers, and the later one's manifests went over the earlier one's."""
    folders = [tmp_path / "one", tmp_path / ("one" if same else "other")]
    for number in range(5):
        for place in folders:
            place.mkdir(exist_ok=True)
            (place / f"{number}.mp4").write_bytes(b"x")
    found, waiting = Manifests.next_ordinal, [folders[1]]

    def interrupted(self: Manifests, name: str, shards: list[str] | None = None) -> int:
        number = found(self, name, shards)
        while waiting:  # another process is through before this one has made its first shard
            add_units(Manifests(manifests.storage), str(waiting.pop()), "v", 2, 1 << 30, VIDEO_FILES)
        return number

    monkeypatch.setattr(Manifests, "next_ordinal", interrupted)
    added = add_units(manifests, str(folders[0]), "v", 2, 1 << 30, VIDEO_FILES)
    uris = [entry.uri for manifest in manifests.all() for entry in manifest.entries]
    assert sorted(uris) == sorted({str(path) for place in folders for path in place.iterdir()})
    assert (added.new_files, added.known_files) == ((0, 5) if same else (5, 0))
