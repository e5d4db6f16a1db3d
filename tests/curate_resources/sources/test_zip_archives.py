"""ZIPs of videos: unpacked once, whoever made them and wherever they lie; hostile ones add nothing."""

import io
import random
import shutil
import struct
import zipfile
from pathlib import Path

import pytest

from curate_assets.video.video_files import VIDEO_FILES
from curate_resources.sources.adding import add_units
from curate_resources.sources.manifests import Manifests
from curate_resources.sources.shard_names import shard_name
from curate_resources.sources.zip_archives import ZipRefused, unpack
from curate_resources.storage import object_stores
from curate_resources.storage.local_copies import hashed_copy
from curate_resources.storage.root import Storage

CONTENTS = {name: random.Random(name).randbytes(3 << 20) for name in ("day 1/a.mp4", "day 1/b 50%.mov", "c.MKV")}


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.mkdir("day 1")
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


@pytest.fixture
def manifests(tmp_path) -> Manifests:
    return Manifests(Storage(str(tmp_path / "root")))


def added(manifests: Manifests, source: str) -> tuple[int, int, int]:
    done = add_units(manifests, source, shard_name(source), 100, 1 << 40, VIDEO_FILES)
    return done.new_files, done.changed_files, done.known_files


def contents(manifests: Manifests) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for shard in manifests.shards():
        for entry in manifests.load(shard).entries:
            with hashed_copy(entry.uri) as (path, _):
                found[entry.uri.split("/unpacked/")[1].split("/", 1)[1]] = Path(path).read_bytes()
    return found


@pytest.mark.parametrize("where", ["disk", "bucket"])
def test_a_zip_is_unpacked_once_under_whatever_name_it_comes(s3, tmp_path, where, monkeypatch):
    bucket = s3.bucket(f"zipped-{where}")
    manifests = Manifests(Storage(str(tmp_path / "root") if where == "disk" else f"{bucket}/root"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    content = zipped({**CONTENTS, "read me.txt": b"no video"}, zipfile.ZIP_DEFLATED)
    object_stores.write(f"{bucket}/Takes.zip", io.BytesIO(content))
    (tmp_path / "copy.ZIP").write_bytes(content)
    s3.proxy.share = 0.1
    first = object_stores.signed(f"{bucket}/Takes.zip", 60)
    assert added(manifests, first) == (3, 0, 0)
    assert manifests.shards() == ["takes-000000"]  # and no signature in it
    assert contents(manifests) == CONTENTS
    for again in (object_stores.signed(f"{bucket}/Takes.zip", 90), f"{bucket}/Takes.zip", str(tmp_path / "copy.ZIP")):
        assert added(manifests, again) == (0, 0, 3)


def test_a_url_signed_anew_is_the_same_file_and_the_one_that_is_kept(s3, manifests):
    uri = s3.bucket("renewed") + "/a.mp4"
    object_stores.write(uri, io.BytesIO(b"a"))
    urls = [object_stores.signed(uri, seconds) for seconds in (60, 90)]
    assert added(manifests, urls[0]) == (1, 0, 0)
    assert added(manifests, urls[1]) == (0, 0, 1)
    ((entry,),) = (manifests.load(shard).entries for shard in manifests.shards())
    assert entry.uri == urls[1]
    object_stores.write(uri, io.BytesIO(b"other"))
    assert added(manifests, urls[0]) == (0, 1, 0)


def test_a_root_that_was_moved_finds_what_it_unpacked_and_has_nothing_twice(manifests, tmp_path):
    (tmp_path / "takes.zip").write_bytes(zipped(CONTENTS))
    assert added(manifests, str(tmp_path / "takes.zip")) == (3, 0, 0)
    before = manifests.load("takes-000000").entries
    (tmp_path / "root").rename(tmp_path / "moved")
    moved = Manifests(Storage(str(tmp_path / "moved")))
    assert added(moved, str(tmp_path / "takes.zip")) == (0, 0, 3)
    after = moved.load("takes-000000").entries
    assert contents(moved) == CONTENTS and moved.shards() == ["takes-000000"]
    assert all(
        new.same_file(old) and new.uri.startswith(f"{tmp_path}/moved/") for new, old in zip(after, before, strict=True)
    )


def edited(content: bytes, field: int, value: bytes) -> bytes:
    """Other bytes at an offset of the last member's entry in the directory."""
    at = content.rindex(b"PK\1\2") + field
    return content[:at] + value + content[at + len(value) :]


def bomb() -> bytes:
    """Every entry of the directory points at the same bytes."""
    content = zipped({f"{number}.mp4": b"x" * 1000 for number in range(10)})
    first = content.index(b"PK\1\2")
    at, offset = first, struct.unpack_from("<I", content, first + 42)
    while (at := content.find(b"PK\1\2", at + 1)) > 0:
        content = content[: at + 42] + struct.pack("<I", *offset) + content[at + 46 :]
    return content


def link() -> bytes:
    about = zipfile.ZipInfo("a.mp4")
    about.external_attr = 0o120777 << 16
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(about, "/etc/passwd")
    return file.getvalue()


PLAIN = zipped({"a.mp4": b"a" * 1000})
HOSTILE: dict[str, tuple[bytes, str]] = {
    "outside": (zipped({"../../a.mp4": b"a"}), "leads out"),
    "absolute": (zipped({"/a.mp4": b"a"}), "leads out"),
    "drive": (zipped({"C:\\a.mp4": b"a"}), "leads out"),
    "file below a file": (zipped({"a.mp4": b"a", "a.mp4/b.mp4": b"b"}), "is a file"),
    "twice": (zipped({"a.mp4": b"a", "./a.mp4": b"b"}), "there twice"),
    "encrypted": (edited(PLAIN, 8, b"\1\0"), "encrypted"),
    "link": (link(), "is a link"),
    "other method": (zipped({"a.mp4": b"a"}, zipfile.ZIP_LZMA), "neither stored"),
    "expands": (zipped({"a.mp4": bytes(50 << 20)}, zipfile.ZIP_DEFLATED), "expand more"),
    "overlaps": (bomb(), "overlaps"),
    "claims more than there is": (edited(PLAIN, 20, struct.pack("<II", 999_999, 999_999)), "overlaps"),
    "claims less": (edited(PLAIN, 24, struct.pack("<I", 10)), "CRC"),
    "damaged": (PLAIN.replace(b"a" * 1000, b"a" * 999 + b"b"), "CRC"),
    "cut short": (PLAIN[:-30], "not a zip"),
    "long directory": (PLAIN[:-10] + struct.pack("<I", 1 << 30) + PLAIN[-6:], "offset"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_zip_adds_nothing_and_is_named(manifests, tmp_path, case):
    content, says = HOSTILE[case]
    path = tmp_path / "hostile.zip"
    path.write_bytes(content)
    with pytest.raises(ZipRefused, match=rf"hostile\.zip.*({says})"):
        added(manifests, str(path))
    assert [found for found in sorted(tmp_path.rglob("*")) if found.is_file()] == [path]
    assert manifests.shards() == []


def test_what_is_no_video_may_be_odd(manifests, tmp_path):
    path = tmp_path / "odd.zip"
    path.write_bytes(zipped({"a.mp4": b"a", "../evil.txt": b"b", "notes.txt": bytes(50 << 20)}, zipfile.ZIP_DEFLATED))
    assert [video.bytes for video in unpack(manifests.storage, str(path), VIDEO_FILES).members] == [1]
    assert not (tmp_path / "root" / "evil.txt").exists()


def test_memory_does_not_grow_with_the_videos(manifests, tmp_path):
    import tracemalloc

    path = tmp_path / "large.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("large.mp4", random.Random(0).randbytes(64 << 20))
    tracemalloc.start()
    try:
        added(manifests, str(path))
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_a_zip_that_the_disk_has_no_room_for_adds_nothing(manifests, tmp_path, monkeypatch):
    path = tmp_path / "takes.zip"
    path.write_bytes(zipped(CONTENTS))
    needed = sum(map(len, CONTENTS.values()))
    disk = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: disk._replace(free=needed - 1))
    with pytest.raises(ZipRefused, match=rf"takes\.zip: its files take .* and the disk of {tmp_path / 'root'} has"):
        added(manifests, str(path))
    assert manifests.shards() == [] and not (tmp_path / "root" / "unpacked").exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: disk._replace(free=needed))
    assert added(manifests, str(path)) == (3, 0, 0)
