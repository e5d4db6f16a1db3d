"""Every name that a disk or a bucket allows works as a root, a source and an output, or is refused before anything is
written, with the reason."""

import os
from pathlib import Path
from urllib.parse import quote

import boto3
import pyarrow as pa
import pytest

from curate_assets.operations.query import run_query
from curate_assets.orchestration.runs import dagster_home, dagster_instance, register_shards
from curate_assets.video.video_files import VIDEO_FILES
from curate_resources.declarations.table import Column, Table
from curate_resources.sources.adding import add_units
from curate_resources.sources.manifests import Manifests
from curate_resources.storage.local_copies import hashed_copy
from curate_resources.storage.root import Storage, file_writer, root_uri
from curate_resources.tables.history import History
from curate_resources.tables.lance_tables import Tables
from curate_resources.tables.upkeep import keep_up
from gpu_kernels.errors import UserError

NAMES = (
    "ha#sh",
    "que?ry=1&b",
    "%41",
    "sp ace é日本 100% q\"uo'te ;: back\\slash *[0-9]{a,b} ~ $HOME +",
    "-" + "x" * 200,
    "trailing dot.",
    "~nobody-77",
    "é" * 115,  # leaves no room for what a file is called while it is written
)
TABLE = Table(name="things", grain="thing", keys=("id",), columns=(Column("id", pa.string()),), description="")


def used(root: str, source: str, output: str) -> None:
    """Add a source, commit, query and write a file."""
    storage = Storage(root_uri(root))
    manifests, tables = Manifests(storage), Tables(storage)
    assert add_units(manifests, source, "v", 10, 1 << 30, VIDEO_FILES).new_files == 1
    assert add_units(manifests, source, "v", 10, 1 << 30, VIDEO_FILES).known_files == 1
    with hashed_copy(manifests.load("v-000000").entries[0].uri) as (path, _):
        assert Path(path).read_bytes() == b"video"
    for count in (1, 2):
        rows = [{"id": str(n), "shard": "v-000000", "status": "ok", "fingerprint": ""} for n in range(count)]
        tables.swap(TABLE, "v-000000", pa.Table.from_pylist(rows, schema=TABLE.rows_schema))
    History(storage).append()
    assert run_query(storage, "SELECT count(*) AS n FROM things")["n"].to_pylist() == [2]
    keep_up(storage, {TABLE.name: TABLE}, 0.0)
    assert tables.read(TABLE).num_rows == 2 and tables.names() == ["things"]
    with file_writer(output) as file:
        file.write(b"output")


@pytest.mark.parametrize("name", NAMES)
def test_on_a_disk(name, tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    for number, form in enumerate((str, lambda path: f"file://{quote(str(path))}")):
        top = tmp_path / str(number)
        source = top / f"source {name}" / f"{name}.mp4"
        source.parent.mkdir(parents=True)
        source.write_bytes(b"video")
        used(form(top / name), form(source.parent), form(top / f"out {name}"))
        assert {path.name for path in top.iterdir()} == {name, source.parent.name, f"out {name}"}
        assert {path.name for path in (top / name).iterdir()} >= {"manifests", "tables", "history"}


def test_dagsters_own_state_is_where_it_can_be_or_the_remedy_is_told(tmp_path, monkeypatch):
    for name in NAMES:
        monkeypatch.setenv("DAGSTER_HOME", "")
        root = str(tmp_path / name)
        if name in ("que?ry=1&b", "%41"):
            with pytest.raises(UserError, match="set DAGSTER_HOME to another local folder"):
                dagster_home(root)
    with dagster_instance(str(tmp_path / "ha#sh 100%")) as instance:
        assert register_shards(instance, ["v-000000"]) == ["v-000000"]


@pytest.fixture(scope="session")
def client(s3_server):
    keys = {name.lower(): value for name, value in s3_server.keys.items() if name != "AWS_REGION"}
    return boto3.client("s3", endpoint_url=s3_server.url, region_name="us-east-1", **keys)


@pytest.mark.parametrize("name", NAMES)
def test_in_a_bucket(name, s3, client, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    bucket = f"names-{NAMES.index(name)}"
    top = s3.bucket(bucket)
    client.put_object(Bucket=bucket, Key=f"source {name}/{name}.mp4", Body=b"video")
    used(f"{top}/{name}", f"{top}/source {name}", f"{top}/out {name}")
    keys = [each["Key"] for each in client.list_objects_v2(Bucket=bucket)["Contents"]]
    assert {key.split("/")[0] for key in keys} == {name, f"source {name}", f"out {name}"}


def test_what_cannot_be_a_root_is_refused_with_the_reason_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for root, why in {
        "new\nline": "control character",
        "tab\t": "control character",
        os.fsdecode(b"\xff"): "not UTF-8",
        "file://elsewhere/root": "names the machine 'elsewhere'",
        "s3://bucket/new\nline": "control character",
        "s3://bucket/a//b": "a part that is empty",
        "s3://bucket/a/../b": "`.` or `..`",
        "s3:///a": "no name of a bucket",
        "s3://bu cket/a": "no name of a bucket",
        f"s3://bucket/{'x' * 800}": "too long",
        "https://server/root": "use a folder",
        "nosuch://bucket/a": "use a folder",
        "s3:/bucket/a": "two slashes",
        "s3://": "no name of a bucket",
    }.items():
        with pytest.raises(UserError, match=why):
            root_uri(root)
    for output, why in {
        "s3://bucket/new\nline.zip": "cannot open",
        "s3://bucket/a//b.zip": "cannot open",
        "gs:/bucket/a.zip": "two slashes",
        "s3://bucket": "is a bucket",
        "s3://bucket/": "is a bucket",
        ".": "is a folder",
        "": "is a folder",
        "a/..": "is a folder",
        "/dev/null": "is a pipe, socket or device",
    }.items():
        with pytest.raises(UserError, match=why), file_writer(output):
            raise AssertionError
    assert not list(tmp_path.iterdir())
