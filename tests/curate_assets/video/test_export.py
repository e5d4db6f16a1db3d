"""The exported ZIP is the training set as it lies on disk, with its tables, and the same bytes every time."""

import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from curate_assets.graphs import GRAPH
from curate_assets.video import export
from curate_assets.video.assets.training_dataset import TRAINING_DATASET, TrainingDatasetConfig, write_dataset
from curate_assets.video.export import export_dataset
from curate_assets.video.graph import VIDEO
from curate_resources.storage import object_stores
from curate_resources.storage.stored_object import StorageUnavailable
from gpu_kernels.errors import UserError

SMALL_TARS = TrainingDatasetConfig(min_seconds=0.1, tar_mib=1)

EXPORTED = [asset.table for asset in VIDEO.assets if asset.exported and asset.name != "concept_clusters"]  # off


@pytest.fixture
def dataset(copy) -> Any:
    written = write_dataset(copy.tables, SMALL_TARS)
    copy.tables.replace(TRAINING_DATASET, written.rows)
    return copy


def members(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_STORED}
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_zip_has_the_set_as_it_lies_on_disk_and_its_tables(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "_ROWS", 3)
    done = export_dataset(GRAPH, dataset.tables, "v0", str(tmp_path / "set.zip"))
    found = members((tmp_path / "set.zip").read_bytes())
    paths = [path for path in (dataset.path / "datasets").rglob("*") if path.is_file()]
    files = {str(path.relative_to(dataset.path)): path for path in paths}
    assert {name: content for name, content in found.items() if name.startswith("datasets/")} == {
        name: path.read_bytes() for name, path in files.items()
    }
    for table in EXPORTED:
        rows = pq.read_table(io.BytesIO(found.pop(f"tables/{table.name}.parquet")))
        assert rows.equals(dataset.tables.read(table)), table.name
    assert set(found) == set(files)
    assert (done.samples, done.bytes) == (
        json.loads(found["datasets/v0/manifest.json"])["samples"],
        (tmp_path / "set.zip").stat().st_size,
    )


def test_it_is_the_same_bytes_on_a_disk_in_a_bucket_and_at_a_presigned_url(dataset, s3, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    bucket = s3.bucket("exported")
    url = object_stores.signed(f"{bucket}/put.zip", 300, "PUT")
    for to, share in ((str(tmp_path / "new" / "set.zip"), 0.0), (f"{bucket}/set.zip", 0.3), (url, 0.0)):
        s3.proxy.share = share
        assert export_dataset(GRAPH, dataset.tables, "v0", to).to == to.partition("?")[0]
    content = (tmp_path / "new" / "set.zip").read_bytes()
    for uri in (f"{bucket}/set.zip", f"{bucket}/put.zip"):
        assert object_stores.read_range(uri, 0, object_stores.stat(uri).bytes) == content
    for fault in s3.proxy.FAULTS:
        s3.proxy.behave()
        s3.proxy.planned = {("PUT", 1): fault}
        object_stores.write(url, io.BytesIO(content))
        assert s3.proxy.requests["PUT"] == (1 if fault in ("slow", "torn") else 2), fault  # its answer is empty
    assert object_stores.read_range(f"{bucket}/put.zip", 0, len(content)) == content
    s3.proxy.behave()
    with pytest.raises(StorageUnavailable, match=r"/nowhere/put\.zip: the server answers 404$"):
        object_stores.write(url.replace("/exported/", "/nowhere/"), io.BytesIO(content))


def test_of_some_shards_only_their_samples(dataset, tmp_path):
    by_shard: dict[str, set[str]] = {}
    for row in dataset.tables.read(TRAINING_DATASET, where="status = 'ok'").to_pylist():
        by_shard.setdefault(row["shard"], set()).add(row["clip_id"])
    assert len(by_shard) == 2
    for shard, clips in by_shard.items():
        done = export_dataset(GRAPH, dataset.tables, "v0", str(tmp_path / f"{shard}.zip"), frozenset({shard}))
        assert done.samples == len(clips)
        found = members((tmp_path / f"{shard}.zip").read_bytes())
        kept: set[str] = set()
        for line in json.loads(found["datasets/v0/manifest.json"])["tars"]:
            content = found[f"datasets/v0/{line['path']}"]
            assert line["bytes"] == len(content)
            with tarfile.open(fileobj=io.BytesIO(content)) as tar:
                kept |= {name.removesuffix(".mp4") for name in tar.getnames() if name.endswith(".mp4")}
        assert kept == clips
        for table in EXPORTED:
            rows = pq.read_table(io.BytesIO(found[f"tables/{table.name}.parquet"]))
            assert rows.equals(dataset.tables.read(table, shard)), table.name


def test_a_tar_that_changed_is_named_and_nothing_is_written(dataset, tmp_path):
    tar = next((dataset.path / "datasets").rglob("*.tar"))
    tar.write_bytes(tar.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=rf"{tar.name} is not the tar"):
        export_dataset(GRAPH, dataset.tables, "v0", str(tmp_path / "out" / "set.zip"))
    assert not list((tmp_path / "out").iterdir())


def test_what_cannot_be_exported_or_written_to_is_said(copy, tmp_path):
    with pytest.raises(FileNotFoundError, match="--select training_dataset"):
        export_dataset(GRAPH, copy.tables, "v0", str(tmp_path / "set.zip"))
    copy.tables.replace(TRAINING_DATASET, write_dataset(copy.tables, SMALL_TARS).rows)
    for folder in (str(tmp_path), "s3://bucket/folder/"):
        with pytest.raises(UserError, match="is a folder"):
            export_dataset(GRAPH, copy.tables, "v0", folder)
    for name in ("set.tar", "https://bucket.example/set.tar.gz?signature=a.zip"):
        with pytest.raises(UserError, match="exported as a ZIP"):
            export_dataset(GRAPH, copy.tables, "v0", str(tmp_path / name) if "://" not in name else name)
    assert not list(tmp_path.glob("set*"))
    assert not Path(tmp_path / "set.zip").exists()
