"""Checks that compare a shard with others, on planted rows; and what a check that blocks stops, in real runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
from dagster import DagsterInstance

from curate_assets.definitions import defs
from curate_assets.graph.shard_checks import Finding, Shard
from curate_assets.operations.query import run_query
from curate_assets.orchestration.asset_selection import selected
from curate_assets.orchestration.runs import register_shards, run_assets
from curate_assets.settings.resolve import CurationConfig
from curate_assets.testing import TemporaryRoot
from curate_assets.video.assets.clip_embeddings import CLIP_EMBEDDINGS
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.measurements.motion_scores import MOTION_SCORES
from curate_assets.video.assets.shot_signals import SHOT_SIGNALS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.graph import VIDEO
from curate_assets.video.video_files import VIDEO_FILES
from curate_resources.declarations.table import Row, Table
from curate_resources.sources.adding import add_units
from curate_resources.sources.manifests import Manifests
from curate_resources.storage.root import Storage
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.shots.splitting import SECOND

ORDINARY = [f"ordinary-{number}" for number in range(4)]
CLIPS_PER_SHARD = 40
CONFIG = CurationConfig()


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    """Four ordinary shards, with their history."""
    made = Tables(Storage(str(tmp_path)))
    for seed, shard in enumerate(ORDINARY):
        materialized(made, shard, shots(seed), vectors(seed), motion(seed), rejected(seed, 0.2))
    return made


def materialized(tables: Tables, shard: str, *parts: tuple[Table, list[Row]]) -> None:
    for table, rows in parts:
        TemporaryRoot(Path(tables.storage.root)).store(table, shard, rows, CONFIG)


def key(number: int) -> Row:
    return {"video_id": "video", "clip_id": f"video-{number:03d}"}


def shots(seed: int, scale: float = 1.0) -> tuple[Table, list[Row]]:
    """Shots with lengths around 5 s."""
    lengths = np.random.default_rng(seed).lognormal(np.log(5 * scale), 0.6, CLIPS_PER_SHARD)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    return CLIPS, [
        {**key(n), "shot": n, "start_ns": round(start * SECOND), "end_ns": round((start + length) * SECOND)}
        for n, (start, length) in enumerate(zip(starts.tolist(), lengths.tolist(), strict=True))
    ]


def vectors(seed: int, direction: int = 0) -> tuple[Table, list[Row]]:
    """Unit vectors about one axis."""
    values = np.random.default_rng(seed).normal(0, 0.1, (CLIPS_PER_SHARD, 16))
    values[:, direction] += 1
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return CLIP_EMBEDDINGS, [{**key(n), "vector": vector} for n, vector in enumerate(values.tolist())]


def motion(seed: int, peak: float = 0.01) -> tuple[Table, list[Row]]:
    """Motion scores, whose peaks are around one value."""
    peaks = np.random.default_rng(seed).lognormal(np.log(peak), 0.5, CLIPS_PER_SHARD)
    return MOTION_SCORES, [
        {**key(n), "global_mean": value / 10, "per_patch_min_256": value / 100, "peak": value}
        for n, value in enumerate(peaks.tolist())
    ]


def rejected(seed: int, share: float) -> tuple[Table, list[Row]]:
    against = np.random.default_rng(seed).random(CLIPS_PER_SHARD) < share
    return CLIP_SELECTION, [
        {**key(n), "selected": not no, "reasons": ["seconds_low"] if no else []}
        for n, no in enumerate(against.tolist())
    ]


def found(tables: Tables, shard: str) -> Mapping[str, Finding]:
    """What the checks that compare shards say of one, as far as it has rows."""
    about = Shard(shard, tables, CONFIG, VIDEO.units)
    steady = [each for each in VIDEO.checks if each.name.endswith("_steady") and tables.exists(each.table.name)]
    return {check.name: check.judge(about) for check in steady}


def test_an_ordinary_shard_passes_and_is_compared_with_the_others(tables: Tables) -> None:
    materialized(tables, "new", shots(9), vectors(9), motion(9), rejected(9, 0.2))
    for name, finding in found(tables, "new").items():
        assert finding.problems == [] and finding.note == "", name
        assert finding.numbers["shards_compared"] == len(ORDINARY)


@pytest.mark.parametrize(
    ("check", "strange"),
    [
        ("shot_lengths_steady", shots(9, scale=0.2)),
        ("shot_lengths_steady", shots(9, scale=5)),
        ("embeddings_steady", vectors(9, direction=3)),
        ("scores_steady", motion(9, peak=0.1)),
        ("rejections_steady", rejected(9, 0.9)),
    ],
)
def test_a_strange_shard_fails_its_check_and_no_other(
    tables: Tables, check: str, strange: tuple[Table, list[Row]]
) -> None:
    materialized(tables, "new", shots(9), vectors(9), motion(9), rejected(9, 0.2))
    materialized(tables, "new", strange)
    assert [name for name, finding in found(tables, "new").items() if finding.problems] == [check]
    # Those before it are not thrown by it.
    assert all(finding.problems == [] for finding in found(tables, ORDINARY[0]).values())


def test_vectors_of_other_lengths_are_not_compared(tables: Tables) -> None:
    table, rows = vectors(9)
    materialized(tables, "new", (table, [row | {"vector": row["vector"][: 8 + n % 2]} for n, row in enumerate(rows)]))
    assert "0 other shards" in found(tables, "new")["embeddings_steady"].note
    assert found(tables, ORDINARY[0])["embeddings_steady"].problems == []


@pytest.mark.parametrize(("reason", "fails"), [("not_listed", False), ("seconds_low", True)])
def test_clips_that_a_list_leaves_out_are_no_failure(tables: Tables, reason: str, fails: bool) -> None:
    rows = [{**key(n), "selected": n < 30, "reasons": [] if n < 30 else [reason]} for n in range(1000)]
    materialized(tables, "new", (CLIP_SELECTION, rows))
    (check,) = (check for check in VIDEO.checks if check.name == "rejections_few")
    finding = check.judge(Shard("new", tables, CONFIG, VIDEO.units))
    assert bool(finding.problems) == fails and finding.note == ""


def test_a_shard_without_others_or_with_few_rows_is_not_judged(tables: Tables, tmp_path: Path) -> None:
    alone = Tables(Storage(str(tmp_path / "alone")))
    materialized(alone, "new", shots(9), vectors(9), motion(9), rejected(9, 0.2))
    assert all("checks.min_history" in finding.note for finding in found(alone, "new").values())
    few = [(table, rows[:5]) for table, rows in (shots(9, 9), vectors(9, 3), motion(9, 1.0), rejected(9, 1.0))]
    materialized(tables, "few", *few)
    assert all("checks.min_rows" in finding.note and not finding.problems for finding in found(tables, "few").values())


def test_other_settings_are_not_compared(tables: Tables) -> None:
    materialized(tables, "new", shots(9, 0.2))
    other = CurationConfig.model_validate({"clips": {"transition_threshold": 0.9}})
    (check,) = (check for check in VIDEO.checks if check.name == "shot_lengths_steady")
    assert check.judge(Shard("new", tables, other, VIDEO.units)).note.startswith("not judged: 0 other shards")


OF_SHARDS = [check for check in VIDEO.checks if VIDEO.asset(check.table.name).partitioned]


@pytest.mark.parametrize("check", OF_SHARDS, ids=lambda check: f"{check.table.name}-{check.name}")
def test_the_rows_of_every_check_can_be_queried(finished, check) -> None:
    run_query(finished.storage, check.sql_of("a-000000"))


def broken(root: Path, shards: Mapping[str, int]) -> list[str]:
    """Shards of so many files each that are no videos."""
    for name, files in shards.items():
        folder = root.parent / name
        folder.mkdir()
        for number in range(files):
            (folder / f"broken{number}.mp4").write_text(f"no video {number}")
        add_units(Manifests(Storage(str(root))), str(folder), name, 100, 1 << 30, VIDEO_FILES)
    return Manifests(Storage(str(root))).shards()


def materialize(instance: DagsterInstance, shard: str, curation: dict[str, Any]) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [asset for asset in defs.assets or [] if isinstance(asset, dg.AssetsDefinition)],
        instance=instance,
        resources=defs.resources,
        partition_key=shard,
        run_config={"resources": {"curation": {"config": curation}}},
        raise_on_error=False,
    )


def test_a_blocking_check_stops_what_comes_after(tmp_path: Path) -> None:
    shards = broken(tmp_path / "data", {"a": CONFIG.checks.min_rows, "b": CONFIG.checks.min_rows})
    curation = {"root": str(tmp_path / "data"), "engine": {"kind": "in_process"}}
    with DagsterInstance.ephemeral() as instance:
        register_shards(instance, shards)
        result = materialize(instance, shards[0], curation)
        assert not result.success
        failed = [each for each in result.get_asset_check_evaluations() if not each.passed]
        assert [(each.check_name, each.partition, each.blocking) for each in failed] == [
            ("failures_few", shards[0], True)
        ]
        assert f"where shard = '{shards[0]}'" in str(failed[0].metadata["command"].value)
        rows = failed[0].metadata["rows"]
        assert isinstance(rows, dg.TableMetadataValue)
        assert {row.data["stage"] for row in rows.records} == {"probe"} and all(row.data["uri"] for row in rows.records)
        # All of its own step, which streams; and none of the steps after it.
        step = {key.to_user_string() for key in defs.resolve_assets_def("source_videos").keys}
        made = {event.asset_key.to_user_string() for event in result.get_asset_materialization_events()}
        assert made == step

        outcomes = list(run_assets(instance, selected("*"), shards, curation))
        assert [outcome.shards for outcome in outcomes] == [tuple(shards)]
        said = outcomes[0].error or ""
        assert "failures_few of source_videos of b-000000" in said  # what, where, which files, and what to do
        assert "broken0.mp4: " in said and "curate retry-failed" in said
        history = instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(dg.AssetKey("source_videos"), "failures_few"), limit=10
        )
        assert {record.partition for record in history} == set(shards)


def test_a_few_files_that_fail_stop_nothing(tmp_path: Path) -> None:
    """A shard of one file, which is no video: the whole graph is made, and a warning names the file."""
    (shard,) = broken(tmp_path / "data", {"late": 1})
    with DagsterInstance.ephemeral() as instance:
        register_shards(instance, [shard])
        result = materialize(instance, shard, {"root": str(tmp_path / "data"), "engine": {"kind": "in_process"}})
    assert result.success
    made = {event.asset_key.to_user_string() for event in result.get_asset_materialization_events()}
    assert {"duplicate_groups", "training_dataset", "dataset_report"} <= made
    (warned,) = [each for each in result.get_asset_check_evaluations() if not each.passed]
    assert (warned.check_name, warned.severity) == ("failures_few", dg.AssetCheckSeverity.WARN)
    assert "broken0.mp4" in str(warned.metadata["findings"].value)


def test_no_single_file_fails_a_blocking_check(tmp_path: Path, new_root, footage, encode) -> None:
    """One frame, a still with sound, a file of another kind: each has its row, and the video beside them its clip."""
    folder = tmp_path / "videos"
    folder.mkdir()
    film, still = footage("bigbuckbunny.mp4"), ("-c:v", "libx264", "-vf", "scale=160:-2")
    encode(film, folder / "good.mp4", "-frames:v", "75", *still)
    encode(film, folder / "one.mp4", "-frames:v", "1", "-an", *still)
    encode(film, folder / "podcast.mp4", "-t", "3", "-vf", "scale=160:-2,select='eq(n,0)'", "-c:a", "aac")
    (folder / "notes.mp4").write_text("no video")
    root = new_root(folder)
    root.run()
    root.group()
    shard = Shard(root.shards[0], root.tables, CONFIG, VIDEO.units)
    names = {row["video_id"]: Path(row["uri"]).name for row in shard.good(SOURCE_VIDEOS)}
    assert sorted((names[row["video_id"]], row["status"]) for row in shard.rows(CLIPS)) == [
        ("good.mp4", "ok"),
        ("one.mp4", "empty"),
        ("podcast.mp4", "empty"),
    ]
    assert all(row["dropped"] and row["start_ns"] < row["end_ns"] for row in shard.rows(CLIPS) if row["dropped"])
    wrong = {f"{check.table.name}: {check.name}": check.judge(shard).problems for check in OF_SHARDS}
    assert {name: problems for name, problems in wrong.items() if problems} == {}


def test_what_is_wrong_with_one_video_blocks_nothing_and_names_its_file(tmp_path: Path) -> None:
    tables = Tables(Storage(str(tmp_path)))
    video = {"uri": "/films/odd.mp4", "video_id": "video"}
    span = {"start_frame": 0, "start_ns": 0, "end_ns": SECOND}
    wrong = [{**key(0), **span, "end_frame": 9}, {**key(1), **span, "end_frame": 25, "end_ns": 0}]
    unit = [{**key(0), "vector": [0.5] + [0.0] * 15}]
    planted = (SOURCE_VIDEOS, [video]), (SHOT_SIGNALS, [{"video_id": "video", "frames": 9}]), (CLIPS, wrong)
    materialized(tables, "new", *planted, (CLIP_EMBEDDINGS, unit))
    about = Shard("new", tables, CONFIG, VIDEO.units)
    for name in ("spans_inside_video", "spans_apart", "vectors_unit_length"):
        (check,) = (check for check in VIDEO.checks if check.name == name)
        (problem,) = check.judge(about).problems
        assert "/films/odd.mp4" in problem and not check.blocking, name
    assert [check.table.name for check in OF_SHARDS if check.blocking] == ["source_videos"]
