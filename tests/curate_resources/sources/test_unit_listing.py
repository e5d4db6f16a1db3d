"""Units that are folders: the files of a rig, found by adding, by looks, by events' names and by audits alike."""

import json
import os
import random
import shutil
import zipfile
from pathlib import Path

import pytest

from curate_resources.declarations.units import Role, UnitFiles
from curate_resources.sources.adding import NoUnits, add_units
from curate_resources.sources.audit import audit
from curate_resources.sources.declared import Source
from curate_resources.sources.discovery import Discovery
from curate_resources.sources.manifests import Manifests
from curate_resources.storage.root import Storage

RIGS = UnitFiles(
    "rig", roles={"front": Role("front.png"), "lidar": Role("lidar/*.npy"), "log": Role("log.txt", needed=False)}
)
LONG_AGO = 1e9
LATER = 2e9


def put(folder: Path, name: str, content: bytes = b"x", modified: float = LONG_AGO) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (modified, modified))


def rig(folder: Path, name: str, *others: str, modified: float = LONG_AGO) -> None:
    for file in ("front.png", "lidar/0.npy", "lidar/1.npy", *others):
        put(folder, f"{name}/{file}", modified=modified)


def entries(root: Path) -> dict[str, dict[str, list[str]]]:
    """By the last two parts of a unit's place, the names of its files by role."""
    found: dict[str, dict[str, list[str]]] = {}
    for manifest in Manifests(Storage(str(root))).all():
        for entry in manifest.entries:
            roles: dict[str, list[str]] = {}
            for file in entry.files:
                roles.setdefault(file.role, []).append(file.uri.removeprefix(f"{entry.uri}/"))
            name = Path(entry.uri).name
            assert name not in found, f"{name} is in two shards"
            found[name] = roles
    return found


def discovery(root: Path, folder: Path | str, **settings: object) -> Discovery:
    source = Source.model_validate({"uri": str(folder), "settle_seconds": 60, "close_after_seconds": 0} | settings)
    return Discovery(Storage(str(root)), "rigs", source, RIGS)


WHOLE = {"front": ["front.png"], "lidar": ["lidar/0.npy", "lidar/1.npy"]}


def test_folders_with_all_that_is_needed_are_units_and_the_others_are_named(tmp_path):
    rig(tmp_path / "in", "a", "log.txt", "notes.md")
    rig(tmp_path / "in" / "deep", "b")
    put(tmp_path / "in", "c/front.png")
    put(tmp_path / "in", "loose.png")
    manifests = Manifests(Storage(str(tmp_path / "root")))
    added = add_units(manifests, str(tmp_path / "in"), "r", 10, 1 << 30, RIGS)
    assert entries(tmp_path / "root") == {"a": {**WHOLE, "log": ["log.txt"]}, "b": WHOLE}
    assert added.left_out == {"files of other kinds": 2, "incomplete rigs": 1}
    (manifest,) = manifests.all()
    assert [entry.bytes for entry in manifest.entries] == [4, 3]
    assert add_units(manifests, str(tmp_path / "in" / "a"), "r", 10, 1 << 30, RIGS).known_files == 1
    with pytest.raises(
        NoUnits, match=r"no rigs in .*c: 1 incomplete rigs; a rig is a folder with front\.png lidar/\*\.npy"
    ):
        add_units(manifests, str(tmp_path / "in" / "c"), "r", 10, 1 << 30, RIGS)


def test_a_unit_changes_when_any_of_its_files_does_and_is_gone_with_its_folder(tmp_path):
    rig(tmp_path / "in", "a")
    rig(tmp_path / "in", "b")
    manifests = Manifests(Storage(str(tmp_path / "root")))

    def add():
        return add_units(manifests, str(tmp_path / "in"), "r", 10, 1 << 30, RIGS)

    assert add().new_files == 2
    put(tmp_path / "in", "a/lidar/1.npy", b"other")
    put(tmp_path / "in", "b/lidar/2.npy")
    changed = add()
    assert (changed.changed_files, changed.new_files) == (2, 0)
    assert entries(tmp_path / "root")["b"]["lidar"] == ["lidar/0.npy", "lidar/1.npy", "lidar/2.npy"]
    shutil.rmtree(tmp_path / "in" / "a")
    assert add().first_gone == (str(tmp_path / "in" / "a"),)


@pytest.mark.parametrize("seed", range(20))
def test_looks_that_stop_anywhere_take_every_rig_once_and_whole(tmp_path, seed, monkeypatch):
    """Rigs are written file by file between looks, which have time for a few files each."""
    chance = random.Random(seed)
    files = [
        (f"{above}{name}", file)
        for above in ("", "deep/", "deep/er/")
        for name in ("a", "b", "z")
        for file in ("front.png", "lidar/0.npy", "lidar/1.npy")
    ]
    waiting = files if chance.random() < 0.5 else chance.sample(files, len(files))
    found = discovery(tmp_path / "root", tmp_path / "in", units_per_shard=chance.randint(1, 4))
    (tmp_path / "in").mkdir()
    now, clock = LONG_AGO, [0.0]

    def tick() -> float:
        clock[0] += chance.random() * 6
        return clock[0]

    monkeypatch.setattr("curate_resources.sources.discovery.time.monotonic", tick)
    for _ in range(400):
        now += 30
        for name, file in [waiting.pop(0) for _ in range(min(len(waiting), chance.randint(0, 3)))]:
            put(tmp_path / "in", f"{name}/{file}", modified=now)
        if found.look(now).done and not waiting and now > LONG_AGO + 3000:
            break
    monkeypatch.undo()
    audit(found, LATER)  # for rigs that were complete only after the looks had passed
    expected = {f"{above}{name}" for above in ("", "deep/", "deep/er/") for name in ("a", "b", "z")}
    taken = [
        (entry.uri.removeprefix(f"{tmp_path}/in/"), len(entry.files))
        for manifest in Manifests(found.storage).all()
        for entry in manifest.entries
    ]
    assert sorted(taken) == sorted((name, 3) for name in expected)


def test_audits_see_what_looks_cannot(tmp_path):
    for name in ("b", "c"):
        rig(tmp_path / "in", name)
    put(tmp_path / "in", "d/front.png")
    found = discovery(tmp_path / "root", tmp_path / "in")
    assert found.look(LATER).files == 2
    rig(tmp_path / "in", "a")
    put(tmp_path / "in", "c/log.txt")
    put(tmp_path / "in", "d/lidar/0.npy")
    shutil.rmtree(tmp_path / "in" / "b")
    assert found.look(LATER).files == 0
    seen = audit(found, LATER)
    assert (seen.late, seen.changed, seen.gone) == (2, 1, 1)
    assert entries(tmp_path / "root") == {
        "a": WHOLE,
        "b": WHOLE,
        "c": {**WHOLE, "log": ["log.txt"]},
        "d": {"front": ["front.png"], "lidar": ["lidar/0.npy"]},
    }


def test_a_bucket_and_a_zip_hold_the_same_rigs(tmp_path, s3):
    rig(tmp_path / "in", "a")
    rig(tmp_path / "in" / "deep", "b", "log.txt")
    put(tmp_path / "in", "c/front.png")
    bucket = s3.bucket("rigs")
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for path in sorted(path for path in (tmp_path / "in").rglob("*") if path.is_file()):
            name = str(path.relative_to(tmp_path / "in"))
            archive.write(path, name)
            Storage(f"{bucket}/in").write(name, path.read_bytes())
    expected = {"a": WHOLE, "b": {**WHOLE, "log": ["log.txt"]}}
    for number, source in enumerate((f"{bucket}/in", str(tmp_path / "in.zip"))):
        root = tmp_path / f"root{number}"
        assert add_units(Manifests(Storage(str(root))), source, "r", 10, 1 << 30, RIGS).left_out["incomplete rigs"] == 1
        assert entries(root) == expected
    found = discovery(tmp_path / "looking", f"{bucket}/in", settle_seconds=0)
    assert found.look(now=4e9).files == 2 and audit(found, now=4e9).late == 0
    assert entries(tmp_path / "looking") == expected


def test_manifests_of_files_are_written_as_before(tmp_path):
    (tmp_path / "in").mkdir()
    put(tmp_path / "in", "a.png")
    manifests = Manifests(Storage(str(tmp_path / "root")))
    add_units(manifests, str(tmp_path / "in"), "p", 10, 1 << 30, UnitFiles("picture", frozenset({".png"})))
    (entry,) = json.loads(manifests.storage.read("manifests/p-000000.json"))["entries"]
    assert entry.keys() == {"uri", "bytes", "version"}
