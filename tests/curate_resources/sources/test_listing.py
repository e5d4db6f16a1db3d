"""What is taken for a source and what is left out, and that all who list say the same: `curate add`, looks, audits."""

import contextlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import boto3
import pytest

from curate_assets.video.video_files import VIDEO_FILES
from curate_resources.sources.adding import Added, NoUnits, add_units
from curate_resources.sources.audit import audit
from curate_resources.sources.declared import Source
from curate_resources.sources.discovery import Discovery
from curate_resources.sources.event_intake import take_in
from curate_resources.sources.event_queue import Message
from curate_resources.sources.gone import gone_sources
from curate_resources.sources.listing import LeftOut, folder_of, listed_in
from curate_resources.sources.manifests import Manifests
from curate_resources.sources.progress import Progress
from curate_resources.sources.shard_names import given_shard_name, shard_name
from curate_resources.storage import object_stores
from curate_resources.storage.own_files import MARKER
from curate_resources.storage.root import Storage
from gpu_kernels.errors import NotThere, UserError

LATER = 10_000_000_000.0


def add(root: str, source: str, **rest) -> Added:
    return add_units(Manifests(Storage(root)), source, "v", 100, 1 << 30, VIDEO_FILES, **rest)


def taken(root: str) -> list[str]:
    return sorted(entry.uri for manifest in Manifests(Storage(root)).all() for entry in manifest.entries)


def looked(root: str, source: str) -> list[str]:
    """What a look, and then an audit of a source that starts behind everything, take."""
    found = Discovery(Storage(root), "w", Source(uri=source, close_after_seconds=0), VIDEO_FILES)
    assert found.look(LATER).problems == ()
    by_look = taken(root)
    assert audit(found, LATER).late == 0
    return by_look


@pytest.fixture
def folder(tmp_path):
    """A folder with three videos and all that is none."""
    top = tmp_path / "videos"
    for name in (
        "a.mp4",
        "deep/b.MOV",
        "notes.txt",
        "small.mjpeg",
        "._a.mp4",
        "a.mp4.part",
        "a.mp4.crdownload",
        "~$a.mp4",
        "a.mp4~",
        "Thumbs.db",
        "@eaDir/a.mp4/film.mp4",
        ".Trash-1000/files/old.mp4",
        "deep/$RECYCLE.BIN/old.mp4",
        "deep/__MACOSX/x.mp4",
    ):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(b"x")
    (top / "placeholder.mp4").touch()
    (top / "gone.mp4").symlink_to("nowhere")
    (top / "itself.mp4").symlink_to("itself.mp4")
    os.mkfifo(top / "pipe.mp4")
    with socket.socket(socket.AF_UNIX) as bound, contextlib.chdir(top):  # the name of a socket is short
        bound.bind("socket.mp4")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "c.mp4").write_bytes(b"x")
    (elsewhere / "back").symlink_to(top)
    (top / "linked").symlink_to(elsewhere)
    (top / "round").symlink_to(".")
    (top / "again").symlink_to("deep")
    return top


VIDEOS = ["a.mp4", "deep/b.MOV", "linked/c.mp4"]


def test_all_who_list_a_folder_take_the_same_and_say_what_they_left_out(folder, tmp_path):
    added = add(str(tmp_path / "root"), str(folder))
    assert [str(Path(uri).relative_to(folder)) for uri in taken(str(tmp_path / "root"))] == VIDEOS
    assert added.left_out == {
        "leftovers of other programs": 6,
        "folders of other programs": 4,
        "links that lead nowhere": 2,
        "pipes, sockets and devices": 2,
        "links to folders that are listed anyway or lie behind another link": 3,
        "empty files": 1,
        "files of other kinds": 2,
    }
    assert added.ignored_files == 20 and added.first_left_out["empty files"] == (str(folder / "placeholder.mp4"),)
    assert looked(str(tmp_path / "watching"), str(folder)) == taken(str(tmp_path / "root"))


def test_a_listing_goes_on_from_any_path_as_if_it_had_not_stopped(folder):
    whole = [found.path for found in listed_in(str(folder)) if not isinstance(found, LeftOut)]
    for number, path in enumerate(whole):
        rest = [found.path for found in listed_in(str(folder), path) if not isinstance(found, LeftOut)]
        assert rest == whole[number + 1 :]


DENIED = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"] if os.geteuid() == 0 else []
"""Folders are closed to root, too, once it has given up its capabilities."""

ADD = """
import json, sys
from curate_assets.video.video_files import VIDEO_FILES
from curate_resources.sources.adding import add_units
from curate_resources.sources.manifests import Manifests
from curate_resources.storage.root import Storage
added = add_units(Manifests(Storage(sys.argv[1])), sys.argv[2], "v", 100, 1 << 30, VIDEO_FILES)
print(json.dumps([added.new_files, added.left_out["folders that cannot be read"]]))
"""


@pytest.mark.skipif(bool(DENIED) and shutil.which("setpriv") is None, reason="root is refused nothing without setpriv")
def test_a_folder_that_cannot_be_read_is_named_and_the_others_go_on(folder, tmp_path):
    (folder / "closed").mkdir(mode=0)
    command = [*DENIED, sys.executable, "-c", ADD, str(tmp_path / "root"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [3, 1]


def test_a_source_without_videos_is_an_error_that_says_what_is_there(tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "notes.txt").write_bytes(b"x")
    with pytest.raises(NoUnits, match=r"no videos in .*videos: 1 files of other kinds; videos end in .*\.mp4"):
        add(str(tmp_path / "root"), str(tmp_path / "videos"))
    assert not (tmp_path / "root").exists()


def test_what_a_root_holds_is_never_a_source(tmp_path, monkeypatch):
    videos, root, other = tmp_path / "videos", tmp_path / "videos" / "curate-data", tmp_path / "videos" / "deep" / "old"
    for path in (videos / "a.mp4", root / "media/clips/1.mp4", other / "media/clips/2.mp4", other / "own/b.mp4"):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
    (other / "history/materializations.lance").mkdir(parents=True)  # made before roots were marked
    add_units(Manifests(Storage(str(root))), str(videos / "a.mp4"), "v", 1, 1, VIDEO_FILES)
    assert (root / MARKER).is_file()
    again = add(str(root), str(videos))
    assert (again.new_files, again.known_files, again.left_out["folders of Curate Graph"]) == (0, 1, 2)
    assert looked(str(tmp_path / "watching"), str(videos)) == [str(videos / "a.mp4")]
    for source in (root, other, root / "media", root / "media/clips/1.mp4", other / "media" / "clips"):
        with pytest.raises(UserError, match="of Curate Graph, and never a source"):
            add(str(tmp_path / "third"), str(source))
    with pytest.raises(UserError, match="never a source"):
        add(str(tmp_path / "fresh"), str(tmp_path / "fresh"))
    assert add(str(tmp_path / "third"), str(other / "own")).new_files == 1  # a folder of one's own in a root


@pytest.fixture(scope="session")
def client(s3_server):
    keys = {name.lower(): value for name, value in s3_server.keys.items() if name != "AWS_REGION"}
    return boto3.client("s3", endpoint_url=s3_server.url, region_name="us-east-1", **keys)


def test_in_a_bucket_roots_and_leftovers_are_left_out_wherever_a_listing_stops(s3, tmp_path):
    bucket = s3.bucket("rooted")
    for key in ("in/a.mp4", "in/b/._x.mp4", "in/b/@eaDir/y.mp4", "in/b/c.mp4", "in/old/own.mp4", "in/z.mp4"):
        object_stores.write(f"{bucket}/{key}", io.BytesIO(b"x"))
    for key in ("media/clips/1.mp4", "unpacked/é/2.mp4", "history/materializations.lance/data/1.lance"):
        object_stores.write(f"{bucket}/in/old/{key}", io.BytesIO(b"x"))
    root = f"{bucket}/in/root"
    assert add(root, f"{bucket}/in/a.mp4").new_files == 1
    for key in ("media/clips/1.mp4", "unpacked/é/2.mp4"):
        object_stores.write(f"{root}/{key}", io.BytesIO(b"x"))
    wanted = [f"{bucket}/in/{name}" for name in ("a.mp4", "b/c.mp4", "z.mp4")]
    added = add(str(tmp_path / "root"), f"{bucket}/in")
    assert taken(str(tmp_path / "root")) == wanted
    assert added.left_out == {"leftovers of other programs": 2, "folders of Curate Graph": 2}
    assert looked(str(tmp_path / "watching"), f"{bucket}/in") == wanted
    for source in (root, f"{root}/media", f"{bucket}/in/old/unpacked/é"):
        with pytest.raises(UserError, match="never a source"):
            add(str(tmp_path / "third"), source)


class Queue:
    """The messages of a queue that was read once."""

    url = "http://queue"

    def __init__(self, *keys: str) -> None:
        records = [
            {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "odd"}, "object": {"key": key}}}
            for key in keys
        ]
        self.messages = [Message("1", "receipt", json.dumps({"Records": records}))]

    def received(self):
        yield self.messages


def test_keys_that_cannot_be_used_are_named_and_left_out_and_the_others_go_on(s3, client, tmp_path, caplog):
    bucket, odd = s3.bucket("odd"), ["in/a//x.mp4", "in/./x.mp4", "in/b/../x.mp4", "in/tab\t.mp4", "in//x.mp4"]
    for key in ("in/a.mp4", "in/a/1.mp4", "in/z/2.mp4", *odd):
        client.put_object(Bucket="odd", Key=key, Body=b"x")
    wanted = [f"{bucket}/in/{name}" for name in ("a.mp4", "a/1.mp4", "z/2.mp4")]
    added = add(str(tmp_path / "root"), f"{bucket}/in")
    assert taken(str(tmp_path / "root")) == wanted
    assert sorted(added.first_left_out["names that manifests cannot hold"]) == sorted(f"{bucket}/{key}" for key in odd)
    assert sorted(said.split("'")[1] for said in caplog.messages) == sorted(
        f"{bucket}/{key}".replace("\t", "\\t") for key in odd
    )
    assert looked(str(tmp_path / "watching"), f"{bucket}/*") == wanted
    assert Storage(bucket).folders("in") == ["a", "b", "z"] and Storage(bucket).files("in") == ["a.mp4"]
    progress = Progress()
    queue: Any = Queue("in/late.mp4", *odd)
    take_in(queue, Source(uri=f"{bucket}/in"), VIDEO_FILES, progress, 0.0, lambda: True)
    assert progress.due == [f"{bucket}/in"]


def test_an_object_whose_key_is_also_a_folder_is_taken_and_an_empty_bucket_is_said_to_be_empty(s3, client, tmp_path):
    bucket = s3.bucket("prefixes.ts")
    with pytest.raises(NoUnits, match=f"no videos in {bucket}; videos end in"):
        add(str(tmp_path / "root"), bucket)
    for key in ("v.mp4", "v.mp4/thumb.jpg", "v.mp4/deeper.mp4"):
        client.put_object(Bucket="prefixes.ts", Key=key, Body=b"x")
    add(str(tmp_path / "root"), f"{bucket}/v.mp4")
    assert taken(str(tmp_path / "root")) == [f"{bucket}/v.mp4", f"{bucket}/v.mp4/deeper.mp4"]


def test_brackets_in_the_name_of_a_watched_folder_are_part_of_it(tmp_path):
    (tmp_path / "[2024] takes" / "raw [a]").mkdir(parents=True)
    (tmp_path / "[2024] takes" / "raw [a]" / "v.mp4").write_bytes(b"x")
    for uri in ("[2024] takes", "*/raw [?]"):
        folder = str(tmp_path / str(len(uri)))
        assert looked(folder, f"{tmp_path}/{uri}") == [f"{tmp_path}/[2024] takes/raw [a]/v.mp4"]
    assert folder_of("s3://b/[x]", "s3://b/[x]/v.mp4") == "s3://b/[x]"


@pytest.mark.parametrize(
    ("source", "says"),
    {
        "": "name of the source is empty",
        "~nobody-77/takes": "does not exist",
        "circle": "does not exist",
        "http://[::1/v.mp4": "not a URL",
        "http://ex ample/v.zip": "not a URL",
        "s3://": "no name of a bucket",
        "S3://bucket/v": "cannot open S3://bucket/v: use a folder",
    }.items(),
)
def test_what_can_be_no_source_is_refused_in_one_sentence(tmp_path, monkeypatch, source, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(UserError, match=says):
        add(str(tmp_path / "root"), source)
    assert not (tmp_path / "root").exists()


def test_leftovers_and_odd_names_in_a_zip_are_left_out(tmp_path):
    with zipfile.ZipFile(tmp_path / "takes.zip", "w") as archive:
        longest = "é" * 125 + "v.mp4"  # of 255 bytes
        for name in (longest, f"é{longest}", "__MACOSX/._a.mp4", "tab\t.mp4", "empty.mp4", "notes.txt"):
            archive.writestr(name, b"" if name == "empty.mp4" else b"x")
    added = add(str(tmp_path / "root"), str(tmp_path / "takes.zip"))
    assert (added.new_files, added.left_out) == (
        1,
        {
            "leftovers of other programs": 1,
            "names that manifests cannot hold": 2,
            "empty files": 1,
            "files of other kinds": 1,
        },
    )


@pytest.mark.parametrize("where", ["disk", "bucket"])
def test_files_that_are_gone_are_told_of_and_forgotten_when_asked(s3, tmp_path, where):
    storage = Storage(str(tmp_path / "videos") if where == "disk" else s3.bucket("gone"))
    root = str(tmp_path / "root")
    for name in ("in/a.mp4", "in/b.mp4", "other/c.mp4"):
        storage.write(name, b"x")
    add(root, storage.uri("in"))
    add(root, storage.uri("other"))
    storage.delete("in/a.mp4")
    added = add(root, storage.uri("in"))
    assert (added.known_files, added.gone_files, added.first_gone) == (1, 1, (storage.uri("in/a.mp4"),))
    assert len(taken(root)) == 3
    manifests = Manifests(Storage(root))
    gone = gone_sources(manifests, manifests.shards())
    assert (gone.files, gone.first, gone.complete) == (1, added.first_gone, True)
    assert f"1 source files are gone: {added.first_gone[0]}. Their rows stay" in str(gone)
    storage.delete("in/b.mp4")
    (tmp_path / "videos" / "in").mkdir(parents=True, exist_ok=True)
    if where == "disk":
        with pytest.raises(NoUnits, match="2 files of earlier shards are gone"):
            add(root, storage.uri("in"))
    else:  # a folder of a bucket is gone with its last object
        with pytest.raises(NotThere, match="does not exist"):
            add(root, storage.uri("in"))
    assert add(root, storage.uri("in"), forget_gone=True).changed_shards == ("v-000000",)
    assert taken(root) == [storage.uri("other/c.mp4")]
    storage.delete("other/c.mp4")
    shutil.rmtree(tmp_path / "videos")
    assert add(root, storage.uri("other/c.mp4"), forget_gone=True).gone_files == 1
    assert taken(root) == []
    with pytest.raises(NotThere, match="does not exist"):
        add(root, storage.uri("other"), forget_gone=True)


def test_names_of_shards_come_out_sensible_or_are_refused(tmp_path, monkeypatch):
    folder = tmp_path / "Été 2024 (raw)"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert [shard_name(source) for source in (".", "../Été 2024 (raw)", "s3://Bucket-1", "s3://b/x/takes.zip")] == [
        "ete-2024-raw",
        "ete-2024-raw",
        "bucket-1",
        "takes",
    ]
    assert [shard_name(source) for source in ("/", "日本", "x" * 300)] == ["shard", "shard", "x" * 100]
    assert given_shard_name("a b/c:é") == "a-b-c-e"
    for name in ("日本", "a-日本", "--", "x" * 101):
        with pytest.raises(UserError, match="--name"):
            given_shard_name(name)
