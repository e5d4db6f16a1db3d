"""`curate doctor` on healthy roots, and with one thing planted that is wrong: that line says so, and no other."""

import ctypes
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import boto3
import lance
import pyarrow as pa
import pytest

from curate_assets.doctor import CHECKS as ALL
from curate_assets.doctor import codecs, installation
from curate_assets.doctor.check import Check, Deployment, examined, ok
from curate_assets.doctor.stored_tables import opened_tables
from curate_assets.orchestration.runs import dagster_instance, register_shards
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.video_files import VIDEO_FILES
from curate_resources.sources.adding import add_units
from curate_resources.sources.manifests import Manifests
from curate_resources.storage.root import Storage
from curate_resources.tables.lance_tables import Tables

NAMES = [
    "storage settings",
    "root",
    "writing",
    "conditional writes",
    "clock",
    "configuration",
    "watched sources",
    "presets",
    "packages",
    "media libraries",
    "GPU",
    "codecs",
    "decoding child",
    "models",
    "model servers",
    "scratch folder",
    "sources",
    "event queues",
    "Ray",
    "Dagster",
    "Dagster daemon",
    "partitions",
    "tables",
]
ALWAYS = {"Dagster daemon": "warning"}  # no daemon runs in these tests


@pytest.fixture
def environment(tmp_path, monkeypatch) -> None:
    settings = tmp_path / "storage.yaml"
    settings.write_text(f"scratch: {{folder: {tmp_path / 'scratch'}, gib: 0.01}}\n")
    monkeypatch.setenv("CURATE_STORAGE", str(settings))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))


def made(root: str, tmp_path: Path) -> Storage:
    """A root with a shard that is registered, a table and a configuration."""
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_bytes(b"video")
    storage = Storage(root)
    add_units(Manifests(storage), str(tmp_path / "videos"), "videos", 10, 1 << 30, VIDEO_FILES)
    with dagster_instance(root) as instance:
        register_shards(instance, ["videos-000000"])
    rows = {**dict.fromkeys(CLIPS.rows_schema.names), "clip_id": "c", "status": "ok"}
    Tables(storage).swap(CLIPS, "videos-000000", pa.Table.from_pylist([rows], schema=CLIPS.rows_schema))
    storage.write("curate.yaml", b"clips: {min_seconds: 1.0}\n")
    return storage


@pytest.fixture
def storage(tmp_path, environment) -> Storage:
    return made(str(tmp_path / "root"), tmp_path)


def doctor(storage: Storage, before: Callable[[], None] | None = None) -> tuple[int, dict[str, dict[str, Any]]]:
    command = [sys.executable, "-m", "curate_cli.main", "doctor", "--json", "--root", storage.root]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=before)
    document = json.loads(done.stdout or "null")
    assert document, done.stderr
    return done.returncode, {check["name"]: check for check in document["checks"]}


def examined_here(storage: Storage) -> dict[str, dict[str, Any]]:
    """All checks but those of the installation, which takes most of the time, in this process."""
    checks = [check for check in ALL if check not in installation.CHECKS]
    return {line.name: asdict(line.finding) for line in examined(checks, Deployment(storage))}


def not_ok(checks: dict[str, dict[str, Any]]) -> dict[str, str]:
    assert all(check["remedy"] for check in checks.values() if check["status"] != "ok")
    return {name: check["status"] for name, check in checks.items() if check["status"] != "ok"}


def files(storage: Storage) -> list[str]:
    return sorted(found.path for found in storage.walk(""))


@pytest.mark.parametrize("where", ["disk", "bucket"])
def test_a_healthy_root_is_well_and_left_as_it_was(s3, environment, tmp_path, where):
    storage = made(str(tmp_path / "root") if where == "disk" else s3.bucket("healthy") + "/root", tmp_path)
    before = files(storage)
    code, checks = doctor(storage)
    assert (code, not_ok(checks), list(checks)) == (0, ALWAYS, NAMES)
    assert files(storage) == before
    assert "1 shards" in checks["root"]["found"] and "1 tables" in checks["tables"]["found"]


def without_override() -> None:
    """Take root's right to write everywhere from a process and those that it becomes."""
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


def test_a_root_that_cannot_be_written_to(storage):
    os.chmod(storage.root, 0o555)
    code, checks = doctor(storage, without_override)
    assert code == 1
    assert not_ok(checks) == {"writing": "failed", "conditional writes": "warning", "clock": "warning", **ALWAYS}
    assert "PermissionError" in checks["writing"]["found"] and "right to write" in checks["writing"]["remedy"]


def missing_model(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.write("curate.yaml", b"clip_embeddings: {backend: clip, model: /no/such/model}\n")


def missing_model_of_a_preset(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.write("presets/studio.yaml", b"captions: {backend: transformers, model: /no/such/captioner}\n")


def unregistered_shard(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = storage.read("manifests/videos-000000.json").replace(b"videos-000000", b"later-000000")
    storage.write("manifests/later-000000.json", manifest)


def test_a_table_of_an_earlier_version_is_well(tmp_path):
    """Columns that are new are added behind the others when rows are written."""
    storage = made(str(tmp_path / "root"), tmp_path)
    lance.dataset(f"{storage.root}/tables/clips.lance").drop_columns(["dropped"])
    assert opened_tables(Deployment(storage)).status == "ok"


def other_columns(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    lance.write_dataset(pa.table({"slot": ["a"]}), f"{storage.root}/tables/motion_scores.lance")


def broken_table(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in Path(storage.root, "tables", "clips.lance", "_versions").iterdir():
        path.write_bytes(b"no manifest")


def unknown_setting(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.write("curate.yaml", b"clips: {min_second: 1.0}\n")


def unknown_source(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.write("sources.yaml", b"sources: {studio: {uri: s3://a, url: s3://b}}\n")


def preset_of_the_dataset(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.write("presets/studio.yaml", b"duplicate_groups: {min_similarity: 0.9}\n")


def missing_preset(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.write("sources.yaml", b"sources: {studio: {uri: s3://a, preset: studio}}\n")


def poor_codecs(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "_ENCODERS", ("libx264", "no_such_encoder"))


def silent_cluster(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.write("curate.yaml", b"cluster: {mode: cluster, address: 'http://127.0.0.1:9'}\n")


@pytest.mark.parametrize(
    ("plant", "name", "found", "remedy"),
    [
        (missing_model, "models", "/no/such/model", "`curate docs models`"),
        (missing_model_of_a_preset, "models", "/no/such/captioner", "`curate docs models`"),
        (unregistered_shard, "partitions", "later-000000", "curate add"),
        (other_columns, "tables", "motion_scores (lacks ['clip_id'", "materialize the asset again"),
        (broken_table, "tables", "clips does not open", "materialize the asset again"),
        (unknown_setting, "configuration", "clips.min_second: unknown key", "`curate docs configuration`"),
        (unknown_source, "watched sources", "sources.studio.url: unknown key", "sources.yaml"),
        (preset_of_the_dataset, "presets", "presets/studio.yaml cannot set", "fix the file"),
        (missing_preset, "presets", "there is no preset 'studio'", "fix the file"),
        (poor_codecs, "codecs", "no encoder no_such_encoder", "whose wheels bring all codecs"),
        (silent_cluster, "Ray", "no job server answers", "cluster.address"),
    ],
)
def test_one_fault_fails_its_line_with_a_remedy(storage, monkeypatch, plant, name, found, remedy):
    plant(storage, monkeypatch)
    checks = examined_here(storage)
    assert found in checks[name]["found"] and remedy in checks[name]["remedy"]
    depending = {
        "configuration": {"presets", "models", "model servers", "Ray"},
        "watched sources": {"presets", "event queues"},
    }.get(name, set[str]())
    assert not_ok(checks) == {name: "failed", **dict.fromkeys(depending, "warning"), **ALWAYS}


def test_a_queue_that_is_not_the_buckets(s3, environment, tmp_path):
    storage = made(str(tmp_path / "root"), tmp_path)
    s3.bucket("tells"), s3.bucket("tells-not")
    account = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    sqs, client = (boto3.client(service, endpoint_url=s3.url, **account) for service in ("sqs", "s3"))
    sqs.create_queue(QueueName="dead")
    dead = sqs.get_queue_attributes(QueueUrl=f"{s3.url}/123456789012/dead", AttributeNames=["QueueArn"])
    redrive = {"deadLetterTargetArn": dead["Attributes"]["QueueArn"], "maxReceiveCount": 5}
    url = sqs.create_queue(QueueName="tells", Attributes={"RedrivePolicy": json.dumps(redrive)})["QueueUrl"]
    arn = dead["Attributes"]["QueueArn"].removesuffix("dead") + "tells"
    told = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
    client.put_bucket_notification_configuration(Bucket="tells", NotificationConfiguration=told)

    def said(uri: str, queue: str) -> tuple[str, str]:
        source = {"uri": uri, "events": {"queue": queue}}
        storage.write("sources.yaml", json.dumps({"sources": {"studio": source}}).encode())
        finding = examined_here(storage)["event queues"]
        return finding["status"], finding["found"]

    assert said("s3://tells/takes", url)[0] == "ok"
    assert said("s3://tells*", url) == (
        "warning",
        f"studio: s3://tells-not does not tell {arn} of objects that are written",
    )
    status, found = said("s3://tells", f"{url}-nowhere")
    assert status == "failed" and "does not exist" in found


def test_a_limit_of_a_pool_that_no_asset_is_in(storage):
    with dagster_instance(storage.root) as instance:
        instance.event_log_storage.set_concurrency_slots("decoding", 2)
    checks = examined_here(storage)
    assert not_ok(checks) == {"Dagster": "warning", **ALWAYS}
    assert "decoding" in checks["Dagster"]["found"] and "decode, gpu, storage" in checks["Dagster"]["remedy"]


def test_keys_that_are_refused(s3, environment, tmp_path):
    storage = made(s3.bucket("refused") + "/root", tmp_path)
    s3.proxy.share, s3.proxy.faults = 1.0, ("denied",)
    checks = examined_here(storage)
    assert "access is denied" in checks["root"]["found"] and "credentials" in checks["root"]["remedy"]
    assert [name for name, status in not_ok(checks).items() if status == "failed"] == ["root"]


def test_a_store_that_knows_no_conditional_writes(s3, environment, tmp_path):
    storage = made(s3.bucket("unconditional") + "/root", tmp_path)
    before = files(storage)
    s3.proxy.share, s3.proxy.faults = 1.0, ("unconditional",)
    checks = examined_here(storage)
    assert not_ok(checks) == {"conditional writes": "failed", **ALWAYS}
    assert "3 of three creations" in checks["conditional writes"]["found"]
    assert files(storage) == before


def test_what_raises_or_hangs_is_a_line_and_stops_no_other(tmp_path):
    def raises(_: Deployment) -> Any:
        raise KeyError("no such thing")

    checks = (
        Check("raises", raises, "mend it"),
        Check("hangs", lambda _: time.sleep(60) or ok(""), "wait", seconds=0.1),
        Check("needs", lambda _: ok("fine"), "", needs=("hangs",)),
        Check("last", lambda _: ok("fine"), ""),
    )
    lines = {line.name: line.finding for line in examined(checks, Deployment(Storage(str(tmp_path))))}
    assert (lines["raises"].status, lines["raises"].found) == ("failed", "KeyError: 'no such thing'")
    assert (lines["hangs"].status, lines["hangs"].remedy) == ("failed", "wait")
    assert (lines["needs"].status, lines["needs"].remedy) == ("warning", "see hangs")
    assert lines["last"].status == "ok"
