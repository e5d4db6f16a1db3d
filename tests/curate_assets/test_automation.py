"""New video becomes partitions and runs by itself, and what goes wrong is told; all of it by real Dagster instances."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest
from dagster._core.definitions.freshness_evaluator import TimeWindowFreshnessPolicyEvaluator
from dagster._core.loader import LoadingContextForTest
from dagster._core.test_utils import freeze_time

from curate_assets.definitions import defs
from curate_assets.orchestration import automation, sensors
from curate_assets.orchestration.asset_graph import defs as graph
from curate_assets.orchestration.automation import audit_job, kept_fresh, schedules, upkeep_job
from curate_assets.orchestration.partitions import SHARDS
from curate_assets.orchestration.resource import curation
from curate_assets.orchestration.sensors import failure_alert, source_sensor
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.source_videos import UNITS
from curate_assets.video.graph import VIDEO
from curate_assets.video.video_files import VIDEO_FILES
from curate_resources.sources.declared import Source, Sources
from curate_resources.sources.discovery import Discovery, Progress
from curate_resources.sources.manifests import Manifests
from curate_resources.storage.root import Storage
from curate_resources.tables.lance_tables import Tables


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def storage(tmp_path) -> Storage:
    return Storage(str(tmp_path / "root"))


def put(folder: Path, *names: str, modified: float = 1e9) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"x")
        os.utime(folder / name, (modified, modified))


def tick(sensor: dg.SensorDefinition, instance: dg.DagsterInstance, cursor: str | None) -> dg.SensorResult:
    context = dg.build_sensor_context(instance, cursor=cursor, definitions=defs)
    result = sensor(context)
    assert isinstance(result, dg.SensorResult)
    return result


def registered(instance: dg.DagsterInstance) -> list[str]:
    return sorted(instance.get_dynamic_partitions(SHARDS.name or ""))


def test_a_sensor_registers_every_shard_once_whatever_is_lost(storage, instance, tmp_path):
    put(tmp_path / "in", *(f"{number}.mp4" for number in range(5)))
    source = Source(uri=str(tmp_path / "in"), videos_per_shard=2, launch=True, priority=7)
    sensor = source_sensor(UNITS, storage, "in", source, ["source_videos", "clips"], on=False)
    assert sensor.default_status == dg.DefaultSensorStatus.STOPPED
    first = tick(sensor, instance, None)
    assert registered(instance) == ["in-000000", "in-000001", "in-000002"]
    assert [(request.partition_key, request.run_key) for request in first.run_requests or ()] == [
        (key, key) for key in registered(instance)
    ]
    assert {request.tags["dagster/priority"] for request in first.run_requests or ()} == {"7"}
    again = tick(sensor, instance, first.cursor)
    assert not again.run_requests and again.skip_reason
    # The manifests of two more shards are written, and then Dagster hears nothing of it.
    put(tmp_path / "in", "6.mp4", "7.mp4", "8.mp4")
    Discovery(storage, "in", source, VIDEO_FILES).look()
    late = tick(sensor, instance, again.cursor)
    assert registered(instance) == [f"in-{number:06d}" for number in range(5)]
    assert [request.partition_key for request in late.run_requests or ()] == ["in-000003", "in-000004"]
    assert tick(sensor, instance, None).run_requests  # a cursor that was reset; the run keys are the same as before
    assert registered(instance) == [f"in-{number:06d}" for number in range(5)]


def test_a_tick_launches_so_many_runs_and_the_next_goes_on(storage, instance, tmp_path, monkeypatch):
    """Shards of files that came late among them, which another look has closed."""
    monkeypatch.setattr(sensors, "_RUNS_PER_TICK", 2)
    put(tmp_path / "in", *(f"{number}.mp4" for number in range(3)))
    source = Source(uri=str(tmp_path / "in"), videos_per_shard=1, launch=True)
    storage.write("sources/in.json", Progress(next_late=2).model_dump_json().encode())
    sensor = source_sensor(UNITS, storage, "in", source, ["source_videos"], on=False)
    cursor, launched = None, list[list[str | None]]()
    for _ in range(4):
        result = tick(sensor, instance, cursor)
        launched.append([request.partition_key for request in result.run_requests or ()])
        cursor = result.cursor
    late = ["in-late-000000", "in-late-000001"]
    assert launched == [late, ["in-000000", "in-000001"], ["in-000002"], []]
    assert registered(instance) == ["in-000000", "in-000001", "in-000002", *late]


def test_the_audit_finds_what_came_late_changed_or_is_gone(storage, instance, tmp_path):
    put(tmp_path / "in", "b.mp4", "d.mp4", "e.mp4", "f.txt")
    source = Source(uri=str(tmp_path / "in"), videos_per_shard=2)
    Discovery(storage, "in", source, VIDEO_FILES).look()
    put(tmp_path / "in", "a.mp4", "c.mp4", "g.mp4")  # g is the looks', the others are behind them
    put(tmp_path / "in", "d.mp4", modified=1.1e9)
    (tmp_path / "in" / "e.mp4").unlink()
    job = audit_job(VIDEO, Sources(sources={"in": source, "lost": Source(uri=str(tmp_path / "nowhere"))}))
    config = {"resources": {"curation": {"config": {"root": storage.root}}}}
    for expected in ({"late": 2, "changed": 1, "gone": 1}, {"late": 0, "changed": 0, "gone": 1}):
        result = job.execute_in_process(
            config, instance=instance, resources={"curation": curation}, raise_on_error=False
        )
        assert result.success
        (found,) = [event for event in result.all_events if event.event_type_value == "ASSET_OBSERVATION"][:1]
        metadata = found.asset_observation_data.asset_observation.metadata
        assert {name: metadata[name].value for name in expected} == expected
        assert metadata["first_gone"].value == [str(tmp_path / "in" / "e.mp4")]
    assert registered(instance) == ["in-late-000000"]
    manifests = Manifests(storage)
    entries = {entry.uri[-5:]: entry for shard in manifests.shards() for entry in manifests.load(shard).entries}
    assert sorted(entries) == ["a.mp4", "b.mp4", "c.mp4", "d.mp4", "e.mp4"]
    assert entries["d.mp4"].version.startswith(f"{int(1.1e9 * 1e9)} ")
    Discovery(storage, "in", source, VIDEO_FILES).look()
    assert [Path(entry.uri).name for entry in manifests.load("in-000002").entries] == ["g.mp4"]


def test_new_shards_are_requested_and_old_ones_are_not(instance):
    """One run for all that is made of a shard's own videos; files only once duplicates were grouped."""
    assert SHARDS.name is not None
    instance.add_dynamic_partitions(SHARDS.name, ["old"])
    first = dg.evaluate_automation_conditions(defs, instance)
    assert first.total_requested == 0
    instance.add_dynamic_partitions(SHARDS.name, ["new"])
    second = dg.evaluate_automation_conditions(defs, instance, cursor=first.cursor)
    for asset in ("source_videos", "storyboards", "clips", "clip_selection", "duplicate_pairs"):
        assert second.get_requested_partitions(dg.AssetKey(asset)) == {"new"}, asset
    assert second.get_requested_partitions(dg.AssetKey("clip_files")) == set()
    for asset in ("clip_selection", "source_videos"):
        instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition="new"))
    third = dg.evaluate_automation_conditions(defs, instance, cursor=second.cursor)
    assert third.get_requested_partitions(dg.AssetKey("clip_files")) == set()
    instance.report_runless_asset_event(dg.AssetMaterialization("duplicate_groups"))
    fourth = dg.evaluate_automation_conditions(defs, instance, cursor=third.cursor)
    assert fourth.get_requested_partitions(dg.AssetKey("clip_files")) == {"new"}
    assert fourth.get_requested_partitions(dg.AssetKey("clips")) == set()


def test_the_code_location_loads_with_sources(tmp_path):
    sources = {"studio-a": {"uri": "s3://studio-*/takes"}, "disk": {"uri": str(tmp_path)}}
    (tmp_path / "sources.yaml").write_text(json.dumps({"automation": {"enabled": True}, "sources": sources}))
    settings = {"CURATE_SOURCES": str(tmp_path / "sources.yaml"), "DAGSTER_HOME": str(tmp_path)}
    script = (
        "from curate_assets.definitions import defs; repository = defs.get_repository_def(); "
        "print(sorted((each.name, each.default_status.value) for each in repository.sensor_defs))"
    )
    loading = [sys.executable, "-m", "dagster", "definitions", "validate", "-m", "curate_assets.definitions"]
    done = [
        subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True)
        for command in (loading, [sys.executable, "-c", script])
    ]
    assert done[0].returncode == 0, done[0].stderr
    assert done[1].stdout.strip() == str(
        [
            ("alert_of_failures", "STOPPED"),
            ("make_new_shards", "RUNNING"),
            ("watch_disk", "RUNNING"),
            ("watch_studio_a", "RUNNING"),
        ]
    )


def test_one_setting_turns_everything_on(storage):
    for on in (False, True):
        declared = Sources.model_validate({"automation": {"enabled": on}, "sources": {"in": {"uri": "/in"}}})
        states = [each.default_status.value for each in schedules(VIDEO, declared)]
        assert len(states) == 4 and set(states) == {"RUNNING" if on else "STOPPED"}


def test_whatever_the_ui_lists_says_what_it_is(storage):
    declared = Sources.model_validate({"sources": {"in": {"uri": "/in"}}})
    planned = schedules(VIDEO, declared)
    listed = [*planned, *(each.job for each in planned), *automation.sensors(VIDEO, storage, declared)]
    assert [each.name for each in listed if not each.description] == []
    assert [each.name for each in planned] == [f"{each.job.name}_schedule" for each in planned]


def test_dagster_sees_when_the_dataset_is_too_old(instance):
    """By its own evaluation, of the time at which the asset was made."""
    assert all(spec.freshness_policy is None for spec in kept_fresh(VIDEO, graph, None).resolve_all_asset_specs())
    fresh = kept_fresh(VIDEO, graph, 12.0).resolve_asset_graph()
    node = fresh.get(dg.AssetKey("training_dataset"))
    assert {key.to_user_string() for key in fresh.get_all_asset_keys() if fresh.get(key).freshness_policy} == {
        "training_dataset",
        "dataset_report",
    }

    def state(hours: float) -> str:
        with freeze_time(datetime.now(UTC) + timedelta(hours=hours)):
            looked = TimeWindowFreshnessPolicyEvaluator().evaluate_freshness(LoadingContextForTest(instance), node)
            return asyncio.run(looked).value

    assert state(0) == "UNKNOWN"
    instance.report_runless_asset_event(dg.AssetMaterialization("training_dataset"))
    assert [state(hours) for hours in (1, 10, 13)] == ["PASS", "WARN", "FAIL"]


def test_upkeep_tells_what_it_did(storage, instance):
    for shard in ("a-000000", "b-000000"):
        row = {"shard": shard, "video_id": "v", "clip_id": shard, "status": "ok", "fingerprint": "f"}
        Tables(storage).swap(CLIPS, shard, pa.Table.from_pylist([row], schema=CLIPS.rows_schema))
    storage.write("media/clips/lost.mp4", b"12345")
    result = upkeep_job(VIDEO, 0.0).execute_in_process(
        {"resources": {"curation": {"config": {"root": storage.root}}}},
        instance=instance,
        resources={"curation": curation},
    )
    (told,) = (
        event.step_output_data.metadata for event in result.events_for_node("keep_tables") if event.is_successful_output
    )
    assert told["compacted"].value == ["clips"]
    assert told["orphans_removed"].value == 1 and not storage.exists("media/clips/lost.mp4")
    assert Tables(storage).shards(CLIPS) == ["a-000000", "b-000000"]


@contextmanager
def webhook() -> Iterator[tuple[str, list[dict[str, object]]]]:
    told: list[dict[str, object]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", told
    finally:
        server.shutdown()
        server.server_close()


def test_a_failed_run_is_told_to_the_webhook_once_it_is_not_started_again(tmp_path):
    (tmp_path / "dagster.yaml").write_text("run_retries: {enabled: true, max_retries: 1}")

    @dg.op
    def breaks() -> None:
        raise ValueError("the disk is full")

    @dg.job
    def broken() -> None:
        breaks()

    with webhook() as (url, told), dg.DagsterInstance.from_config(str(tmp_path)) as instance:

        def alerted(tags: dict[str, str]) -> str:
            result = broken.execute_in_process(instance=instance, raise_on_error=False, tags=tags)
            run = instance.get_run_by_id(result.run_id)
            failure = result.get_run_failure_event()
            context = dg.build_run_status_sensor_context("alert", failure, instance, run)  # pyright: ignore[reportArgumentType]
            failure_alert(url, on=True)(context.for_run_failure())
            return result.run_id

        alerted({})
        assert not told, "the daemon will start it again"
        last = alerted({"dagster/partition": "a-000000", "dagster/max_retries": "0"})
    (message,) = told
    assert (message["run_id"], message["job"], message["shards"]) == (last, "broken", ["a-000000"])
    assert last in str(message["text"])
