"""What `curate plan` says before a run is what the run then does."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from curate_assets.operations.outlook import AssetOutlook, outlook
from curate_assets.orchestration.runs import register_shards, run_assets
from curate_assets.settings.presets import ShardSettings
from curate_assets.video.assets.scan import SCAN
from curate_assets.video.graph import VIDEO
from curate_assets.video.video_files import VIDEO_FILES
from curate_resources.sources.adding import add_units
from curate_resources.sources.manifests import Manifests
from curate_resources.tables.history import ALL_SHARDS, History
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.scores.measurement import MeasurementConfig

SETTINGS: dict[str, Any] = {
    "engine": {"kind": "in_process"},
    "clips": {"min_seconds": 0.6, "min_frames": 15, "crop_seconds": 0.2},
}
CURATED = frozenset(table.name for stage in VIDEO.phases[0].stages for table in stage.writes)
IDLE = {"clip_questions", "clip_answers", "answer_scores", "audio_scores", "selected_so_far", "shot_boundaries"} | {
    asset.name
    for asset in VIDEO.assets
    if asset.on_demand or (isinstance(asset.section, type) and issubclass(asset.section, MeasurementConfig))
}
"""Of these, those that have no rows as long as no questions are configured, and measurements that are off."""
EVERYTHING = CURATED | {
    "duplicate_pairs",
    "duplicate_groups",
    "concept_clusters",
    "captions",
    "clip_files",
    "training_dataset",
    "dataset_report",
}


@pytest.fixture(scope="module")
def whole(finished, tmp_path_factory):
    """A root where every asset was materialized by Dagster. Not to be changed: copy it."""
    root = finished.copy_to(tmp_path_factory.mktemp("whole") / "data")
    materialized(root, EVERYTHING)
    return root


@pytest.fixture
def root(whole, tmp_path):
    return whole.copy_to(tmp_path / "data")


def materialized(root, assets=EVERYTHING, settings: dict[str, Any] | None = None) -> None:
    from dagster import DagsterInstance

    with DagsterInstance.ephemeral() as instance:
        register_shards(instance, root.shards)
        curation = {"root": str(root.path), **merged(settings)}
        for outcome in run_assets(instance, frozenset(assets), root.shards, curation):
            assert outcome.error is None, outcome


def merged(settings: dict[str, Any] | None) -> dict[str, Any]:
    sections = {*SETTINGS, *(settings or {})}
    return {name: {**SETTINGS.get(name, {}), **(settings or {}).get(name, {})} for name in sections}


def look(root, settings: dict[str, Any] | None = None, assets=EVERYTHING, graph=VIDEO) -> dict[str, AssetOutlook]:
    ahead = outlook(ShardSettings.read(root.storage, merged(settings)), assets, root.shards, graph=graph)
    return {asset.name: asset for asset in ahead.assets}


def concerned(ahead: dict[str, AssetOutlook]) -> set[str]:
    return {name for name, asset in ahead.items() if asset.shards}


def agrees(root, ahead: dict[str, AssetOutlook], settings: dict[str, Any] | None = None) -> None:
    """Run, and compare with what was said: exactly, or within bounds where these were all that could be said."""
    done = root.run(CURATED, merged(settings))
    for name in CURATED - {table.name for table in SCAN.writes}:
        computed = sum(each.computed for each in done.values() if each.table == name)
        said = ahead[name]
        assert said.compute <= computed, name
        if not said.uncounted:
            assert computed <= said.compute + said.maybe, name
    scanned = sum(each.computed for each in done.values() if each.table == "shot_signals")  # one pass for all three
    said = [ahead[name] for name in ("shot_signals", "motion_signals", "storyboards")]
    assert max(each.compute for each in said) <= scanned <= max(each.compute + each.maybe for each in said)


def test_nothing_changed_and_nothing_is_to_be_done(root):
    before = sorted((path, path.stat().st_mtime_ns) for path in root.path.rglob("*"))
    ahead = look(root)
    assert concerned(ahead) == set()
    assert {name: asset.compute for name, asset in ahead.items() if asset.compute} == {"source_videos": 1}
    assert ahead["source_videos"].reasons == {"failed before": 1}
    assert ahead["source_videos"].retried == ("a-000000",)
    assert ahead["clips"].reuse == 4
    assert sorted((path, path.stat().st_mtime_ns) for path in root.path.rglob("*")) == before
    agrees(root, ahead)


def test_a_threshold_concerns_the_selection_and_what_depends_on_its_verdicts(root):
    settings = {"clip_selection": {"motion_global_mean_min": 0.5}}
    ahead = look(root, settings)
    clips = root.contents()["clip_selection"].num_rows
    assert ahead["clip_selection"].compute == clips
    (reason,) = ahead["clip_selection"].reasons
    assert reason.startswith("clip_selection.motion_global_mean_min ") and reason.endswith(" -> 0.5")
    assert concerned(ahead) == {
        "clip_selection",
        "duplicate_pairs",
        "duplicate_groups",
        "concept_clusters",
        "captions",
        "clip_files",
        "training_dataset",
        "dataset_report",
    }
    assert "clip_selection" in ahead["captions"].depends_on
    agrees(root, ahead, settings)
    # A threshold that no clip meets differently is evaluated, and makes no difference to anything else.
    materialized(root, settings=settings)
    assert concerned(look(root, {"clip_selection": {"motion_global_mean_min": 0.51}})) == {"clip_selection"}


def test_another_cut_is_foreseen_to_the_clip(root):
    settings = {"clips": {"transition_threshold": 0.99}}
    ahead = look(root, settings)
    assert ahead["shot_signals"].compute == ahead["storyboards"].compute == 0
    assert ahead["clips"].compute == 4 and ahead["motion_scores"].reasons.keys() == {"new in clips"}
    done = root.run(CURATED, merged(settings))
    for name in ("clips", "motion_scores", "clip_embeddings", "clip_selection"):
        assert ahead[name].compute == sum(each.computed for each in done.values() if each.table == name) > 0


def test_a_code_version_concerns_its_asset(root):
    asset = VIDEO.asset("motion_scores")
    newer = replace(asset.table, version="next")
    changed = replace(asset, table=newer, made_by=replace(asset.made_by, writes=(newer,)))
    graph = replace(VIDEO, listed=tuple(changed if each is asset else each for each in VIDEO.listed))
    ahead = look(root, graph=graph)
    rows = root.contents()["motion_scores"].num_rows
    assert (ahead["motion_scores"].compute, ahead["motion_scores"].reasons) == (rows, {"code version 5 -> next": rows})
    assert ahead["clip_embeddings"].compute == ahead["clips"].compute == 0
    done = root.run(CURATED, merged(None), stages=graph.phases[0].stages)
    for name in ("motion_scores", "clip_selection", "clips"):
        assert ahead[name].compute == sum(each.computed for each in done.values() if each.table == name)


@pytest.fixture
def changed_phone(root, replaced) -> Iterator[Path]:
    """One file of shard b has other content."""
    target = root.library / "b" / "phone.mp4"
    with replaced(target, (root.library / "b" / "bunny.mp4").read_bytes()[:-10]):
        root.add()
        yield target


def test_a_changed_file_concerns_its_shard_as_far_as_its_content_goes(root, changed_phone):
    ahead = look(root)
    assert ahead["source_videos"].reasons == {"failed before": 1, "changed file": 1}
    assert ahead["shot_signals"].compute == 0
    assert ahead["shot_signals"].maybe == 2  # the changed file, and the one that failed
    assert "source_videos" in ahead["shot_signals"].depends_on
    assert set(ahead["clips"].shards) == {"b-000000"}
    agrees(root, ahead)


def test_a_new_shard_is_counted_as_far_as_its_files_go(root, tmp_path, encode, footage):
    folder = tmp_path / "c"
    folder.mkdir()
    encode(footage("carphone_pristine.mp4"), folder / "new.mp4", "-frames:v", "60", "-c:v", "libx264")
    add_units(Manifests(root.storage), str(folder), "c", 100, 1 << 40, VIDEO_FILES)
    ahead = look(root)
    assert ahead["source_videos"].reasons == {"failed before": 1, "new shard": 1}
    assert ahead["source_videos"].shards == ("c-000000",)
    assert ahead["storyboards"].maybe == 2 and ahead["clip_embeddings"].uncounted == 2
    assert {"duplicate_pairs", "duplicate_groups", "clip_files", "training_dataset"} <= concerned(ahead)
    assert ahead["source_videos"].seconds is not None and ahead["source_videos"].seconds > 0
    agrees(root, ahead)


@pytest.mark.parametrize("kept", ["phone", None])
def test_forgotten_files_are_dropped_and_a_shard_that_lost_all_stops_nothing(root, kept):
    manifests = Manifests(root.storage)
    manifest = manifests.load("b-000000")
    left = tuple(entry for entry in manifest.entries if kept and kept in entry.uri)
    manifests.write(manifest.model_copy(update={"entries": left}))
    ahead = look(root)
    assert concerned(ahead) >= {*CURATED, "clip_files", "training_dataset"} - IDLE
    assert not concerned(ahead) & IDLE
    assert {shard for name in CURATED - IDLE for shard in ahead[name].stale} == {"b-000000"}
    assert ahead["source_videos"].dropped == 3 - len(left)
    materialized(root)
    tables = Tables(root.storage)
    for name in ("source_videos", "clips", "clip_files", "training_dataset"):
        found = set(tables.dataset(name).to_table(["video_id"], filter="shard = 'b-000000'")["video_id"].to_pylist())
        assert len(found) == len(left), name
    assert not concerned(look(root))


def test_shards_with_the_same_video_do_not_disturb_each_other(root, tmp_path):
    folder = tmp_path / "c"
    folder.mkdir()
    shutil.copy(root.library / "b" / "phone.mp4", folder / "again.mp4")
    add_units(Manifests(root.storage), str(folder), "c", 100, 1 << 40, VIDEO_FILES)
    root.run(CURATED, merged(None))
    ahead = look(root, assets=CURATED)
    assert concerned(ahead) == set()
    assert ahead["clips"].reuse == 5 and ahead["shot_signals"].reuse == 5
    root.tables.swap(_table("clips"), "c-000000", _table("clips").empty())
    ahead = look(root, assets=CURATED)
    assert ahead["clips"].shards == ("c-000000",) and ahead["clips"].reuse == 4


def test_what_has_no_past_has_no_estimate_and_what_has_no_input_says_so(new_root):
    fresh = new_root()
    ahead = look(fresh, assets={"source_videos"})
    assert ahead["source_videos"].compute == 6 and ahead["source_videos"].seconds is None
    ahead = look(fresh, assets={"clip_selection"})
    assert "materialize source_videos of this shard first" in ahead["clip_selection"].blocked["a-000000"]
    ahead = look(fresh, assets={"duplicate_groups", "clip_files"})  # also where what it reads is going to change
    assert "materialize source_videos of this shard first" in ahead["clip_files"].blocked["a-000000"]


def test_every_asset_has_its_records(whole):
    """Also those that Dagster's assets commit themselves."""
    history = History(whole.storage)
    for name in EVERYTHING:
        (record, *_) = history.last(name, 1)
        assert record.inputs
        if record.shard != ALL_SHARDS:
            assert record.table_version == whole.tables.version(name)
            assert record.rows == whole.tables.read(_table(name), record.shard).num_rows


def _table(name: str):
    from curate_assets.video.graph import VIDEO

    return VIDEO.tables[name]
