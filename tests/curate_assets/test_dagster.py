"""The graph as Dagster runs it: real runs, partitions, checks, events."""

import subprocess
import sys

import dagster as dg
import pytest
from dagster import DagsterInstance

from curate_assets.definitions import defs
from curate_assets.orchestration.asset_selection import asset_names, selected
from curate_assets.orchestration.backfills import progress_of
from curate_assets.orchestration.multi_assets import reported
from curate_assets.orchestration.partitions import SHARDS
from curate_assets.orchestration.runs import RunOutcome, register_shards, run_assets
from curate_assets.video.graph import VIDEO
from curate_resources.pipeline.commit import Materialized
from curate_resources.sources.manifests import Manifest, Manifests
from curate_resources.storage.root import Storage

CHEAP = {"engine": {"kind": "in_process"}, "clips": {"min_seconds": 0.6, "min_frames": 15, "crop_seconds": 0.2}}


@pytest.fixture
def instance():
    with DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def materializations(instance, asset) -> dict[str, dg.AssetMaterialization]:
    result = instance.fetch_materializations(dg.AssetKey(asset), limit=100)
    return {record.partition_key: record.asset_materialization for record in result.records}


def run(root, instance, selection, shards, **settings) -> list[RunOutcome]:
    register_shards(instance, root.shards)
    curation = {"root": str(root.path), **CHEAP, **settings}
    return list(run_assets(instance, selected(selection), shards, curation))


def test_the_graph_is_the_one_that_is_documented(snapshot):
    graph = defs.resolve_asset_graph()
    described = {
        key.to_user_string(): {
            "from": sorted(parent.to_user_string() for parent in graph.get(key).parent_keys),
            "partitioned": graph.get(key).is_partitioned,
            "checks": sorted(check.name for check in graph.get(key).check_keys),
        }
        for key in graph.get_all_asset_keys()
    }
    assert described == snapshot


def test_importing_the_code_location_is_light():
    heavy = "ray torch av cv2 decord transformers lance lancedb duckdb ffmpeg pandas".split()
    code = f"import sys, curate_assets.definitions; print([m for m in {heavy!r} if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_one_partition_runs_through_the_whole_graph(copy, instance):
    (outcome,) = run(copy, instance, "*", ["b-000000"])
    assert (outcome.error, outcome.failed_checks, outcome.shards) == (None, (), ("b-000000",))
    for name in asset_names():
        assert materializations(instance, name), name
    metadata = materializations(instance, "clips")["b-000000"].metadata
    assert {"failures", "seconds", "bytes", "table_version", "dagster/row_count", "shots"} <= set(metadata)
    assert "data:image/jpeg;base64," in str(
        materializations(instance, "storyboards")["b-000000"].metadata["preview"].value
    )
    funnel = str(materializations(instance, "clip_selection")["b-000000"].metadata["preview"].value)
    assert "data:image/svg+xml;base64," in funnel and "| selected |" in funnel


def test_what_was_computed_has_its_time_its_rate_and_its_cost(copy, instance):
    prices = {"cpu_hour": 3600.0, "currency": "EUR"}
    run(copy, instance, "clips,motion_scores", ["b-000000"], prices=prices, force=True)
    metadata = {
        name: each.value
        for name, each in materializations(instance, "motion_scores")["b-000000"].metadata.items()
        if isinstance(each, dg.IntMetadataValue | dg.FloatMetadataValue | dg.TextMetadataValue)
    }
    assert metadata["cpu_seconds"] > 0 and metadata["gpu_seconds"] == 0
    assert (
        metadata["compute_cost"] == pytest.approx(metadata["cpu_seconds"], rel=1e-4) and metadata["currency"] == "EUR"
    )
    assert metadata["clips_per_second"] == pytest.approx(metadata["computed"] / metadata["seconds"], rel=1e-4)
    assert "videos_per_second" in materializations(instance, "clips")["b-000000"].metadata  # whose items are videos


def test_several_partitions_of_one_run_each_have_their_own_materialization(copy, instance):
    (outcome,) = run(copy, instance, "clips,motion_scores", copy.shards)
    assert outcome.error is None
    assert outcome.shards == ("a-000000", "b-000000")
    found = materializations(instance, "clips")
    assert set(found) == {"a-000000", "b-000000"}
    rows = {shard: found[shard].metadata["dagster/partition_row_count"].value for shard in found}
    assert {each.metadata["dagster/row_count"].value for each in found.values()} == {sum(rows.values())}  # the table's
    assert rows == {shard: copy.tables.read(_table("clips"), shard).num_rows for shard in copy.shards}
    versions = {shard: (found[shard].tags or {})["dagster/data_version"] for shard in found}
    assert len(set(versions.values())) == 2
    key = dg.AssetCheckKey(dg.AssetKey("clips"), "spans_inside_video")
    verdicts = instance.event_log_storage.get_asset_check_partition_info([key])
    assert {verdict.partition_key for verdict in verdicts if verdict.is_current} == set(copy.shards)


def test_a_call_is_one_run_that_the_ui_can_repeat(copy, instance):
    """Of per-shard assets on neighbouring shards, and of those that are made for all shards at once, in one."""
    (outcome,) = run(copy, instance, "*", copy.shards)
    assert outcome.error is None
    (record,) = instance.get_run_records()
    made = record.dagster_run
    assert made.job_name == "__ASSET_JOB" and made.run_config["resources"]["curation"]["config"]["root"]
    assert {key.to_user_string() for key in made.asset_selection} == set(asset_names())
    ends = [made.tags[f"dagster/asset_partition_range_{end}"] for end in ("start", "end")]
    assert ends == [copy.shards[0], copy.shards[-1]]
    assert made.remote_job_origin.location_name == "curate"
    for name in ("clips", "duplicate_pairs", "clip_files"):
        assert set(materializations(instance, name)) == set(copy.shards), name
    for name in ("duplicate_groups", "training_dataset", "dataset_report"):
        assert set(materializations(instance, name)) == {None}, name


def test_a_call_of_shards_that_are_no_neighbours_is_one_backfill(copy, instance):
    register_shards(instance, ["a-000000", "a-000001", "b-000000"])
    done = run(copy, instance, "clip_selection,duplicate_groups", ["a-000000", "b-000000"])
    assert [(each.shards, each.error) for each in done] == [(("a-000000",), None), (("b-000000",), None), ((), None)]
    (backfill,) = instance.get_backfills()
    assert {each.tags["dagster/backfill"] for each in instance.get_runs()} == {backfill.backfill_id}
    progress = progress_of(instance, backfill.backfill_id)
    assert progress.succeeded and [(each.shard, each.done) for each in progress.shards] == [
        ("a-000000", 1),
        ("b-000000", 1),
        ("", 1),
    ]


def test_shards_that_fail_stop_no_others_of_their_run(copy, instance, monkeypatch):
    """Nor does anything that needs them begin."""
    monkeypatch.setattr("curate_assets.orchestration.multi_assets.SHARDS_AT_ONCE", 1)
    clips = _table("clips")
    copy.tables.swap(clips, "a-000000", clips.rows_schema.empty_table())
    (outcome,) = run(copy, instance, "clip_selection,duplicate_pairs", copy.shards)
    assert "clips" in (outcome.error or "")
    assert set(materializations(instance, "clip_selection")) == {"b-000000"}
    assert not materializations(instance, "duplicate_pairs")


def test_dagster_marks_what_was_made_from_other_rows_and_nothing_else(copy, instance):
    """Also for a run of several shards, whose events are not results of a step."""
    from dagster._core.definitions.data_version import CachingStaleStatusResolver
    from dagster._core.workspace.context import LoadingContext

    class Loading(LoadingContext):
        def __init__(self):
            self._loaders = {}

        @property
        def instance(self):
            return instance

        @property
        def loaders(self):
            return self._loaders

    def causes(asset: str) -> list[list[str]]:
        graph = defs.resolve_asset_graph()
        resolver = CachingStaleStatusResolver(instance, graph, Loading())
        return [[why.reason for why in resolver.get_stale_causes(dg.AssetKey(asset), shard)] for shard in copy.shards]

    chosen = "source_videos,shot_signals,motion_signals,storyboards,clips,motion_scores,clip_selection"
    run(copy, instance, chosen, copy.shards)
    assert causes("clips") == causes("clip_selection") == [[], []]
    run(copy, instance, "source_videos", copy.shards)  # again, and nothing changed
    assert causes("clips") == causes("shot_signals") == [[], []]
    run(copy, instance, "clips", copy.shards, clips={**CHEAP["clips"], "transition_threshold": 0.99})
    assert causes("shot_signals") == [[], []]
    assert causes("motion_scores")[0] == ["has a new dependency data version"]


def test_a_run_that_dies_keeps_the_shards_it_finished(instance, tmp_path, monkeypatch):
    """The first of two shards was committed when the engine breaks down."""
    monkeypatch.setenv("CURATE_ROOT", str(tmp_path))
    for shard in ("one", "two"):
        Manifests(Storage(str(tmp_path))).write(Manifest(shard=shard, entries=()))

    def breaks_down():
        yield Materialized("clips", "one", 1, 2, {"ok": 2}, 2, 0, 0.1, 0, "digest"), {}
        raise RuntimeError("the cluster is gone")

    @dg.multi_asset(
        specs=[dg.AssetSpec("clips", partitions_def=SHARDS, skippable=True)],
        backfill_policy=dg.BackfillPolicy.single_run(),
        required_resource_keys={"curation"},
    )
    def dying(context: dg.AssetExecutionContext):
        yield from reported(context, VIDEO, context.resources.curation, breaks_down())

    register_shards(instance, ["one", "two"])
    result = dg.materialize(
        [dying],
        instance=instance,
        resources=defs.resources,
        tags={"dagster/asset_partition_range_start": "one", "dagster/asset_partition_range_end": "two"},
        raise_on_error=False,
    )
    assert not result.success
    assert set(materializations(instance, "clips")) == {"one"}


def test_a_check_fails_where_rows_are_wrong(copy, instance):
    table = _table("clip_embeddings")
    rows = copy.tables.read(table, "b-000000").drop_columns(["slot"]).to_pylist()
    rows[0]["vector"] = [2.0 * value for value in rows[0]["vector"]]
    import pyarrow as pa

    copy.tables.swap(table, "b-000000", pa.Table.from_pylist(rows, schema=table.rows_schema))
    (outcome,) = run(copy, instance, "clip_embeddings", ["b-000000"])
    assert outcome.failed_checks == ("clip_embeddings: vectors_unit_length",)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"clips": {"min_second": 3}}, "min_second"),
        ({"clips": {"transition_threshold": 3.0}}, "clips.transition_threshold"),
        ({"clip": {}}, "clip"),
        ({"captions": {"backend": "openai"}}, "endpoint"),
    ],
)
def test_a_wrong_setting_is_an_error_that_names_it(copy, instance, given, named):
    try:
        (outcome,) = run(copy, instance, "clips", ["b-000000"], **given)
        message = outcome.error or ""
    except dg.DagsterInvalidConfigError as error:
        message = str(error)
    assert named in message


def test_dagsters_own_command_materializes_a_partition(copy):
    """With the root's curate.yaml for the settings, as a user would do it."""
    import json
    import os

    from curate_assets.orchestration.runs import dagster_instance

    copy.storage.write("curate.yaml", json.dumps(CHEAP).encode())
    os.environ.pop("DAGSTER_HOME", None)
    try:
        with dagster_instance(str(copy.path)) as instance:
            register_shards(instance, copy.shards)
            environment = {**os.environ, "CURATE_ROOT": str(copy.path)}
            command = "asset materialize -m curate_assets.definitions --select clips --partition b-000000".split()
            dagster = [sys.executable, "-m", "dagster", *command]
            done = subprocess.run(dagster, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr[-2000:]
            assert set(materializations(instance, "clips")) == {"b-000000"}
    finally:
        os.environ.pop("DAGSTER_HOME", None)


def _table(name):
    from curate_assets.video.graph import VIDEO

    return VIDEO.tables[name]
