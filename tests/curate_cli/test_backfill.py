"""`curate plan` and `curate backfill` as a user calls them, with a daemon of Dagster's own."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from curate_assets.orchestration import backfills
from curate_cli.app import app
from curate_resources.engines import interruption
from curate_resources.sources.manifests import Entry, Manifest, Manifests
from curate_resources.storage.root import Storage
from curate_resources.tables.history import History
from gpu_kernels.media.ffmpeg import ffmpeg_executable

REPOSITORY = Path(__file__).resolve().parents[2]
SETTINGS = """
clips: {splitter: fixed_stride, min_seconds: 0.6, min_frames: 15}
shot_signals: {network: none}
engine: {kind: in_process}
"""
CHEAP = "source_videos,shot_signals,motion_signals,storyboards,clips,motion_scores,clip_selection"


def environment(root: Path) -> dict[str, str]:
    others = {key: value for key, value in os.environ.items() if key != "DAGSTER_HOME"}
    paths = f"{REPOSITORY}:{os.environ.get('PYTHONPATH', '')}"
    return others | {"CURATE_ROOT": str(root), "DAGSTER_HOME": str(root / "dagster"), "PYTHONPATH": paths}


def curate(root: Path, *arguments: str, code: int = 0) -> Any:
    """The command in this process, which has imported Dagster already."""
    done = CliRunner().invoke(app, [*arguments, "--root", str(root), "--json"], env=environment(root))
    assert done.exit_code == code, (done.stdout, done.stderr, done.exception)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Three shards of one video each, materialized up to the selection."""
    folder = tmp_path_factory.mktemp("videos")
    for name in ("one", "three", "two"):
        command = [ffmpeg_executable(), "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=128x96:r=25"]
        length = ["-t", str(1 + len(name) / 5)]
        subprocess.run([*command, *length, "-pix_fmt", "yuv420p", str(folder / f"{name}.mp4")], check=True)
    root = tmp_path_factory.mktemp("root") / "data"
    root.mkdir()
    (root / "curate.yaml").write_text(SETTINGS)
    curate(root, "add", str(folder), "--name", "s", "--videos-per-shard", "1")
    assert curate(root, "backfill", "--select", CHEAP, code=1)["error"]["type"] == "NoDaemon"
    (outcome,) = curate(root, "backfill", "--select", CHEAP, "--here")
    assert outcome["shards"] == ["s-000000", "s-000001", "s-000002"] and outcome["error"] is None
    assert curate(root, "backfill", "--select", CHEAP, "--here") == []
    return root


def needing(root: Path, *arguments: str) -> dict[str, set[str]]:
    """By asset, the shards that a plan says are missing or stale."""
    ahead = curate(root, "plan", "--select", CHEAP, *arguments)
    found = {asset["name"]: {*asset["absent"], *asset["stale"]} for asset in ahead["assets"]}
    return {name: shards for name, shards in found.items() if shards}


def test_a_backfill_by_the_daemon_makes_what_the_plan_says_and_nothing_else(root, dagster_processes, tmp_path):
    settings = tmp_path / "settings.yaml"
    settings.write_text("clip_selection: {short_side_min: 90}\n")
    changed = ("--config", str(settings))
    assert needing(root) == {}
    assert needing(root, *changed) == {"clip_selection": {"s-000000", "s-000001", "s-000002"}}
    ends = ("--shard", "s-000000", "--shard", "s-*2")
    with dagster_processes(root / "dagster", str(root)) as dagster:
        dagster.start_daemon()
        done = curate(root, "backfill", "--select", CHEAP, *ends, *changed, "--watch")
        assert done["status"] == "completed_success"
        assert {each["shard"]: (each["done"], each["total"]) for each in done["shards"]} == {
            "s-000000": (1, 1),
            "s-000002": (1, 1),
        }
        assert needing(root, *changed) == {"clip_selection": {"s-000001"}}
        assert curate(root, "backfill", "--status", done["id"]) == done

        dagster.stop("daemon")  # so that the backfill cannot end before it is canceled
        asked = curate(root, "backfill", "--select", CHEAP, *changed)
        assert [each["shard"] for each in asked["shards"]] == ["s-000001"] and not asked["ended"]
        assert curate(root, "backfill", "--select", CHEAP, *changed)["id"] == asked["id"]  # that one makes it already
        assert curate(root, "backfill", "--cancel", asked["id"])["status"] == "canceling"
        dagster.start_daemon()
        ended = curate(root, "backfill", "--status", asked["id"], "--watch", code=1)
        assert ended["status"] == "canceled"
        assert curate(root, "backfill", "--cancel", asked["id"], code=2)["error"]["type"] == "UnknownBackfill"
    (record,) = History(Storage(str(root))).last("clip_selection", 1, "s-000002")
    assert (record.computed, record.reused) == (1, 0)


def test_whoever_stops_watching_is_told_what_goes_on(tmp_path, monkeypatch):
    root, video = tmp_path / "data", Entry(uri=str(tmp_path / "a.mp4"), bytes=1, version="1")
    Manifests(Storage(str(root))).write(Manifest(shard="a-000000", entries=(video,)))
    monkeypatch.setattr(backfills, "require_daemon", lambda _instance: None)
    asked = curate(root, "backfill", "--select", "source_videos")["id"]

    def interrupted(*_arguments: object):
        raise KeyboardInterrupt

    monkeypatch.setattr(backfills, "followed", interrupted)
    monkeypatch.setattr(interruption, "_meaning", "")
    arguments = ["backfill", "--status", asked, "--watch", "--root", str(root)]
    assert CliRunner().invoke(app, arguments, env=environment(root)).exit_code == 130
    said = interruption.meaning()  # which `main` prints
    assert f"goes on with backfill {asked}" in said and f"--cancel {asked}` ends it" in said


def test_what_there_is_none_of_is_said(root):
    assert "there is no shard 'x-*'" in curate(root, "plan", "--shard", "x-*", code=2)["error"]["message"]
    assert curate(root, "backfill", "--failed", "--select", CHEAP) == []
    assert curate(root, "plan", "--shard", "s-000001..s-000002")["shards"] == ["s-000001", "s-000002"]
    assert "no backfill 'none'" in curate(root, "backfill", "--status", "none", code=2)["error"]["message"]
