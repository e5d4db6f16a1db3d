"""Shards of several sources are made by their own settings, in one run, and a plan foresees it."""

import subprocess
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner

from curate_assets.graph.platform import ConfigError
from curate_assets.operations.outlook import outlook
from curate_assets.orchestration.runs import RunOutcome, register_shards, run_assets
from curate_assets.orchestration.sensors import source_sensor
from curate_assets.settings.presets import ShardSettings
from curate_assets.settings.resolve import CurationConfig, resolve_config
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.source_videos import UNITS
from curate_assets.video.video_files import VIDEO_FILES
from curate_cli.app import app
from curate_resources.sources.audit import audit
from curate_resources.sources.declared import Source
from curate_resources.sources.discovery import Discovery
from curate_resources.sources.manifests import Manifests
from curate_resources.storage.root import Storage
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.media.ffmpeg import ffmpeg_executable

CONFIG = b"""
shot_signals: {network: none}
clips: {splitter: fixed_stride, stride_seconds: 3.0, min_seconds: 0.5, min_frames: 10}
engine: {kind: in_process}
"""
ASSETS = frozenset({"source_videos", "shot_signals", "clips"})


@pytest.fixture
def storage(tmp_path) -> Storage:
    """A source of short clips, one of long ones, and one without a preset: a shard of one video each."""
    storage = Storage(str(tmp_path / "root"))
    storage.write("curate.yaml", CONFIG)
    storage.write("presets/short.yaml", b"clips: {stride_seconds: 1.0}\n")
    storage.write("presets/long.yaml", b"clips: {stride_seconds: 2.0}\n")
    for name, preset in (("ads", "short"), ("films", "long"), ("other", None)):
        folder = tmp_path / name
        folder.mkdir()
        command = [ffmpeg_executable(), "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=128x96:r=25", "-t", "6"]
        subprocess.run([*command, "-metadata", f"title={name}", str(folder / f"{name}.mp4")], check=True)
        source = Source(uri=str(folder), preset=preset, settle_seconds=0, close_after_seconds=0)
        assert Discovery(storage, name, source, VIDEO_FILES).look(now=4e9).files == 1
    return storage


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def run(storage: Storage, instance: dg.DagsterInstance, given: dict[str, Any] | None = None) -> list[RunOutcome]:
    shards = Manifests(storage).shards()
    register_shards(instance, shards)
    return list(run_assets(instance, ASSETS, shards, {"root": storage.root, **(given or {})}))


def look(storage: Storage, given: dict[str, Any] | None = None) -> dict[str, Any]:
    ahead = outlook(ShardSettings.read(storage, given), ASSETS, Manifests(storage).shards())
    return {asset.name: asset for asset in ahead.assets}


def clips(storage: Storage) -> dict[str, int]:
    counts: dict[str, int] = {}
    for shard in Tables(storage).read(CLIPS, columns=["shard"], where="status = 'ok'")["shard"].to_pylist():
        counts[shard] = counts.get(shard, 0) + 1
    return counts


def test_rows_are_made_by_the_settings_of_their_source_and_a_plan_foresees_it(storage, instance):
    (outcome,) = run(storage, instance)
    assert outcome.error is None
    assert outcome.shards == ("ads-000000", "films-000000", "other-000000")  # of one run
    assert clips(storage) == {"ads-000000": 6, "films-000000": 3, "other-000000": 2}
    assert not any(asset.shards for asset in look(storage).values())
    storage.write("presets/long.yaml", b"clips: {stride_seconds: 1.5}\n")
    ahead = look(storage)
    assert {name: asset.shards for name, asset in ahead.items() if asset.shards} == {"clips": ("films-000000",)}
    assert ahead["clips"].reasons == {"clips.stride_seconds 2.0 -> 1.5": 1}
    run(storage, instance)
    assert clips(storage) == {"ads-000000": 6, "films-000000": 4, "other-000000": 2}
    given = {"clips": {"stride_seconds": 3.0}}  # for one run, and before any preset
    assert look(storage, given)["clips"].shards == ("ads-000000", "films-000000")
    run(storage, instance, given)
    assert set(clips(storage).values()) == {2}


def test_a_preset_that_is_no_good_costs_its_own_shards_only(storage, instance):
    storage.write("presets/short.yaml", b"clips: {max_second: 1.0}\n")
    storage.delete("presets/long.yaml")
    ahead = look(storage)
    assert set(ahead["clips"].blocked) == {"ads-000000", "films-000000"}
    (outcome,) = run(storage, instance)
    assert outcome.error is not None
    assert "presets/short.yaml is not valid" in outcome.error and "clips.max_second: unknown key" in outcome.error
    assert "there is no preset 'long'" in outcome.error
    assert clips(storage) == {"other-000000": 2}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("duplicate_groups: {min_similarity: 0.9}", r"curate\.yaml:\n  duplicate_groups: clips of all shards"),
        ("checks: {max_duplicate_share: 0.9}", r"checks\.max_duplicate_share"),
        ("engine: {kind: ray}", "engine: one run"),
        ("shot_signals: {network: none}\nclips: {splitter: shots}", "short.yaml is not valid"),
        ("clips: [", "short.yaml is not valid YAML"),
    ],
)
def test_what_a_preset_cannot_have_is_named_with_its_file(tmp_path, text, says):
    storage = Storage(str(tmp_path))
    storage.write("presets/short.yaml", text.encode())
    with pytest.raises(ConfigError, match=says):
        ShardSettings.read(storage).preset("short")


def test_late_files_get_the_preset_and_a_sensor_makes_no_shards_for_a_bad_one(storage, instance, tmp_path):
    source = Source(uri=str(tmp_path / "films"), preset="long", settle_seconds=0)
    (tmp_path / "films" / "a.mp4").write_bytes(b"x")
    (late,) = audit(Discovery(storage, "films", source, VIDEO_FILES), now=4e9).late_shards
    assert ShardSettings.read(storage).of(late).clips.stride_seconds == 2.0
    (tmp_path / "films" / "z.mp4").write_bytes(b"x")
    storage.write("presets/long.yaml", b"prices: {cpu_hour: 1.0}\n")
    sensor = source_sensor(UNITS, storage, "films", source, ["clips"], on=False)
    with pytest.raises(ConfigError, match=r"presets/long\.yaml cannot set"):
        sensor(dg.build_sensor_context(instance))
    assert Discovery(storage, "films", source, VIDEO_FILES).progress().next_shard == 1


def test_added_videos_have_a_preset(storage, tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.mp4").write_bytes(b"x")
    command = ["add", str(tmp_path / "more"), "--root", storage.root, "--preset"]
    assert CliRunner().invoke(app, [*command, "nosuch"]).exit_code == 2
    assert CliRunner().invoke(app, [*command, "short"]).exit_code == 0
    assert [Manifests(storage).load(shard).preset for shard in Manifests(storage).matching(["more-*"])] == ["short"]
    assert Path(storage.root, "manifests", "other-000000.json").read_text().count("preset") == 0


def test_the_preset_of_the_reference_holds_for_a_root_or_for_one_source(tmp_path):
    storage = Storage(str(tmp_path))
    source = ShardSettings.read(storage).preset("cosmos")
    assert source.clip_selection.motion_global_mean_min == 0.00098
    assert source.clip_selection.motion_peak_min is None
    assert source.training_dataset == CurationConfig().training_dataset  # bins concern all sources
    storage.write("curate.yaml", b"preset: cosmos\nclip_selection: {short_side_min: 480}\n")
    whole = ShardSettings.read(storage).whole
    assert (whole.clip_selection.short_side_min, whole.clip_selection.motion_per_patch_min) == (480, 1e-6)
    assert (whole.training_dataset.min_seconds, whole.duplicate_groups.min_similarity) == (5.0, 0.99)
    one_run = ShardSettings.read(Storage(str(tmp_path / "other")), {"preset": "cosmos", "clips": {"min_seconds": 3.0}})
    assert (one_run.whole.clips.min_seconds, one_run.whole.training_dataset.min_seconds) == (3.0, 5.0)
    with pytest.raises(ConfigError, match=r"there is no preset 'cosmo' under .*; did you mean 'cosmos'\?"):
        resolve_config(storage, {"preset": "cosmo"})
