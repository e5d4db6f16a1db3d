"""Discovery of new video: no file missed or in two shards, whatever the order, the clock, and when a look dies."""

import io
import json
import os
import random
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from curate_assets.video.video_files import VIDEO_FILES
from curate_resources.sources import discovery, unit_listing
from curate_resources.sources.declared import Source, SourcesError, declared_sources
from curate_resources.sources.discovery import Discovery
from curate_resources.sources.listing import stat_in
from curate_resources.sources.manifests import Manifests
from curate_resources.storage import object_stores
from curate_resources.storage.root import Storage
from curate_resources.storage.stored_object import StoredObject

LONG_AGO = 1_000_000_000


class Watched:
    """A folder that is watched, with files that are as old as a test says."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder / "watched"
        self.folder.mkdir()
        source = {"uri": str(self.folder), "videos_per_shard": 3, "settle_seconds": 60, "close_after_seconds": 600}
        self.storage = Storage(str(folder / "root"))
        self.discovery = Discovery(self.storage, "w", Source.model_validate(source | settings), VIDEO_FILES)

    def put(self, name: str, modified: float = LONG_AGO, size: int = 1) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
        os.utime(path, (modified, modified))

    def shards(self) -> dict[str, list[str]]:
        manifests = Manifests(self.storage)
        return {
            shard: [str(Path(entry.uri).relative_to(self.folder)) for entry in manifests.load(shard).entries]
            for shard in manifests.shards()
        }

    def files(self) -> Counter[str]:
        return Counter(name for names in self.shards().values() for name in names)


@pytest.fixture
def watched(tmp_path):
    return Watched(tmp_path)


def test_shards_are_full_or_have_waited(watched):
    for name in ("a.mp4", "b/1.mp4", "b-2.mp4", "c.txt", "d.MOV"):
        watched.put(name, LONG_AGO)
    look = watched.discovery.look(now=LONG_AGO + 100)
    assert (look.shards, look.files, look.waiting, look.done) == (("w-000000",), 3, 1, True)
    assert watched.discovery.look(now=LONG_AGO + 200).shards == ()
    watched.put("e.mp4", LONG_AGO + 250)
    assert watched.discovery.look(now=LONG_AGO + 300).unsettled == 2  # the one that waits, and the one that is new
    assert watched.discovery.look(now=LONG_AGO + 601).shards == ("w-000001",)
    assert watched.files() == Counter({"a.mp4": 1, "b/1.mp4": 1, "b-2.mp4": 1, "d.MOV": 1, "e.mp4": 1})


def test_links_are_read_where_they_lead_to_a_file_and_names_of_no_text_are_told_of(watched, caplog):
    watched.put("a.mp4")
    with open(os.fsencode(watched.folder) + b"/\xff\xfe.mp4", "wb"):
        pass
    watched.put("deep/b.mp4")
    for link, target in (("c.mp4", "a.mp4"), ("nowhere.mp4", "gone"), ("itself.mp4", "itself.mp4"), ("deep/up", "..")):
        (watched.folder / link).symlink_to(target)
    watched.discovery.look(now=LONG_AGO + 1000)
    assert watched.files() == Counter(["a.mp4", "c.mp4", "deep/b.mp4"])
    assert ["\\udcff\\udcfe.mp4' is left out" in said for said in caplog.messages] == [True]


def test_files_that_are_still_written_wait_and_those_after_them_do_not(watched):
    watched.put("a.mp4", LONG_AGO + 990)
    for name in "bcd":
        watched.put(f"{name}.mp4")
    assert watched.discovery.look(now=LONG_AGO + 1000).files == 3
    watched.put("a.mp4", LONG_AGO + 1050)
    assert watched.discovery.look(now=LONG_AGO + 1100).files == 0
    (watched.folder / "e.mp4").write_bytes(b"x")
    os.utime(watched.folder / "e.mp4", (LONG_AGO + 1100, LONG_AGO + 1100))
    assert watched.discovery.look(now=LONG_AGO + 1100).unsettled == 2
    (watched.folder / "e.mp4").rename(watched.folder / "f.mp4")  # e was a temporary name
    watched.discovery.look(now=LONG_AGO + 1110)
    assert watched.discovery.look(now=LONG_AGO + 3000).files == 2
    assert watched.files() == Counter({f"{name}.mp4": 1 for name in "abcdf"})


def test_large_files_close_shards_by_bytes(tmp_path):
    watched = Watched(tmp_path, gib_per_shard=1000 / (1 << 30), close_after_seconds=0)
    for name, size in (("a", 400), ("b", 600), ("c", 1), ("d", 5000), ("e", 10)):
        watched.put(f"{name}.mp4", size=size)
    watched.discovery.look(now=LONG_AGO + 1000)
    assert list(watched.shards().values()) == [["a.mp4", "b.mp4"], ["c.mp4"], ["d.mp4"], ["e.mp4"]]


class Died(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("seed", range(20))
def test_looks_that_die_anywhere_miss_and_double_nothing(tmp_path, monkeypatch, seed):
    """Files come in order while looks die before and after each write."""
    chance = random.Random(seed)
    watched = Watched(tmp_path, videos_per_shard=chance.randint(1, 5), close_after_seconds=chance.choice([0, 300]))
    write, now, count = Storage.write, LONG_AGO, 0

    def dying(storage: Storage, path: str, data: bytes) -> None:
        if chance.random() < 0.15:
            raise Died
        write(storage, path, data)
        if chance.random() < 0.15:
            raise Died

    for step in range(40):
        monkeypatch.setattr(Storage, "write", dying if step < 35 else write)
        for _ in range(chance.randint(0, 4) if step < 30 else 0):
            watched.put(f"{count:04d}.mp4", now - chance.choice([0, 30, 100]))
            count += 1
        with suppress(Died):
            watched.discovery.look(now=now)
        now += 50
    watched.discovery.look(now=now + 10_000)
    assert watched.files() == Counter({f"{number:04d}.mp4": 1 for number in range(count)})


def test_what_waits_and_cannot_be_looked_at_is_told_and_stays_and_the_rest_goes_on(watched, monkeypatch):
    watched.put("a.mp4", LONG_AGO + 990), watched.put("b.mp4", LONG_AGO + 990)
    assert watched.discovery.look(now=LONG_AGO + 1000).unsettled == 2
    for name in "cde":
        watched.put(f"{name}.mp4", LONG_AGO + 900)

    def refused(folder: str, path: str) -> StoredObject:
        if path.endswith("/a.mp4"):
            raise PermissionError(f"{path} is refused")
        return stat_in(folder, path)

    monkeypatch.setattr(unit_listing, "stat_in", refused)
    look = watched.discovery.look(now=LONG_AGO + 1100)
    (problem,) = look.problems
    assert "1 files" in problem and "a.mp4 is refused" in problem
    assert (look.files, look.waiting, look.unsettled, look.done) == (3, 1, 2, False)
    assert watched.discovery.look(now=LONG_AGO + 1480).shards == ()  # e has not waited long enough
    assert watched.discovery.look(now=LONG_AGO + 1600).files == 1
    monkeypatch.undo()
    assert watched.discovery.look(now=LONG_AGO + 2000).files == 1
    assert watched.files() == Counter({f"{name}.mp4": 1 for name in "abcde"})


def test_a_folder_that_is_away_loses_no_file_that_waits(watched):
    watched.put("a.mp4", LONG_AGO + 990)
    assert watched.discovery.look(now=LONG_AGO + 1000).unsettled == 1
    watched.folder.rename(watched.folder.with_name("away"))
    look = watched.discovery.look(now=LONG_AGO + 1100)
    assert look.unsettled == 1 and len(look.problems) == 1
    watched.folder.with_name("away").rename(watched.folder)
    assert watched.discovery.look(now=LONG_AGO + 2000).files == 1


def test_as_many_as_may_wait_are_looked_at_again(watched, monkeypatch):
    monkeypatch.setattr(discovery, "_MOST_UNSETTLED", 3)
    for name in "abcde":
        watched.put(f"{name}.mp4", LONG_AGO + 990)
    assert watched.discovery.look(now=LONG_AGO + 1000).unsettled == 3
    assert watched.discovery.look(now=LONG_AGO + 1100).files == 3
    assert watched.discovery.look(now=LONG_AGO + 3000).files == 2


def test_what_cannot_be_listed_does_not_stop_the_rest(tmp_path):
    for name in ("one", "two", "three"):
        (tmp_path / name / "raw").mkdir(parents=True)
        (tmp_path / name / "raw" / "a.mp4").write_bytes(b"x")
    storage = Storage(str(tmp_path / "root"))
    (tmp_path / "two" / "raw" / "a.mp4").unlink()
    (tmp_path / "two" / "raw").rmdir()
    source = Source(uri=f"{tmp_path}/*/raw", settle_seconds=0, close_after_seconds=0)
    look = Discovery(storage, "w", source, VIDEO_FILES).look(now=2e10)
    assert look.files == 2 and not look.done
    (problem,) = look.problems
    assert "two/raw" in problem


def test_buckets_and_prefixes_that_match_are_found_as_they_come(s3, tmp_path):
    def put(bucket: str, path: str) -> None:
        object_stores.write(f"s3://{bucket}/{path}", io.BytesIO(b"x"))

    s3.bucket("crew-a"), s3.bucket("crew-b"), s3.bucket("other")
    put("crew-a", "takes/day1/raw/1.mp4"), put("crew-a", "takes/day1/proxies/1.mp4"), put("other", "takes/x/raw/1.mp4")
    source = Source(uri="s3://crew-*/takes/*/raw", exclude=["skip*/**"], settle_seconds=0, close_after_seconds=0)
    crew = Discovery(Storage(str(tmp_path / "root")), "crew", source, VIDEO_FILES)
    found = [crew.look(now=4e9).files]
    put("crew-b", "takes/day1/raw/2.mp4"), put("crew-b", "takes/day1/raw/skipped/2.mp4")
    s3.proxy.share = 0.2
    found.append(crew.look(now=4e9).files)
    s3.bucket("crew-c")
    put("crew-c", "takes/day7/raw/3.mp4"), put("crew-a", "takes/day1/raw/2.mp4")
    found += [crew.look(now=4e9).files, crew.look(now=4e9).files]
    assert found == [1, 1, 2, 0]
    manifests = Manifests(crew.storage)
    uris = [entry.uri for shard in manifests.shards() for entry in manifests.load(shard).entries]
    assert sorted(uris) == [
        "s3://crew-a/takes/day1/raw/1.mp4",
        "s3://crew-a/takes/day1/raw/2.mp4",
        "s3://crew-b/takes/day1/raw/2.mp4",
        "s3://crew-c/takes/day7/raw/3.mp4",
    ]


def test_a_look_stops_in_time_and_the_next_goes_on(tmp_path, monkeypatch):
    watched = Watched(tmp_path, tick_seconds=10)
    for number in range(20):
        watched.put(f"{number:02d}.mp4")
    clock = iter(range(0, 10**6, 2))
    monkeypatch.setattr("curate_resources.sources.discovery.time.monotonic", lambda: next(clock))
    looks = [watched.discovery.look(now=LONG_AGO + 10_000) for _ in range(12)]
    assert [look.done for look in looks][:2] == [False, False] and looks[-1].done
    assert watched.files() == Counter({f"{number:02d}.mp4": 1 for number in range(20)})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sources: {a: {uri: x, videos_per_shards: 3}}", r"sources\.a\.videos_per_shards: unknown key"),
        ("sources: {A_b: {uri: x}}", "lower-case letters"),
        ("sources: {a: {uri: 's3://b/**/x'}}", r"belongs into include"),
        ("sources: [", "is not valid YAML"),
    ],
)
def test_bad_sources_are_named(tmp_path, text, says):
    storage = Storage(str(tmp_path))
    storage.write("sources.yaml", text.encode())
    with pytest.raises(SourcesError, match=says):
        declared_sources(storage)


def test_sources_are_read_from_the_root_or_from_where_the_variable_says(tmp_path, monkeypatch):
    storage = Storage(str(tmp_path / "root"))
    assert declared_sources(storage).sources == {}
    storage.write("sources.yaml", json.dumps({"sources": {"a": {"uri": "/videos/"}}}).encode())
    assert declared_sources(storage).sources["a"].uri == "/videos"
    (tmp_path / "own.yaml").write_text("sources: {b: {uri: /elsewhere, include: ['**/*.bin']}}")
    monkeypatch.setenv("CURATE_SOURCES", str(tmp_path / "own.yaml"))
    (source,) = declared_sources(storage).sources.values()
    assert source.takes("deep/er/x.bin", VIDEO_FILES) and source.takes("x.bin", VIDEO_FILES)
    assert not source.takes("x.mp4", VIDEO_FILES)
