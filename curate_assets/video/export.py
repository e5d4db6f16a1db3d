"""`curate export`: the training set as one ZIP: tars, records and manifest where they lie under the root, and tables.

What is exported is the set as it was materialized last. Tars are copied; of a tar in which only some samples are of
the chosen shards, a smaller one is made. Everything goes through in small blocks.
"""

import hashlib
import json
import tarfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from curate_assets.graph.graph import Graph
from curate_assets.video.assets.training_dataset import TRAINING_DATASET, manifest_text
from curate_assets.video.sample_tars import SampleTar
from curate_resources.declarations.table import Table
from curate_resources.sources.manifests import place_of
from curate_resources.storage.range_file import range_file
from curate_resources.storage.root import file_writer
from curate_resources.storage.web_files import is_web
from curate_resources.storage.zip_writer import StoredZip
from curate_resources.tables.lance_tables import Tables, quoted
from gpu_kernels.errors import NotThere, UserError

_BLOCK = 1 << 20
_ROWS = 256
"""Of a table at a time: a clip's vector has some KiB."""


@dataclass(frozen=True)
class Exported:
    """What was written, and where to; a URL without its signature."""

    to: str
    bytes: int
    samples: int
    tars: int
    tables: tuple[str, ...]


def export_dataset(
    graph: Graph, tables: Tables, version: str, to: str, shards: frozenset[str] | None = None
) -> Exported:
    """Write the training set of all shards, or of some, to a file, an object, or a URL that takes a PUT.

    Raises:
        NotThere: the training set was never materialized.
        UserError: a tar is not the one that was written; or `to` is a folder, or named like another format.
    """
    if PurePosixPath(place_of(to)).suffix.lower() not in ("", ".zip"):
        raise UserError(f"{place_of(to)}: the training set is exported as a ZIP; name a file that ends in .zip")
    storage, base = tables.storage, f"datasets/{version}"
    if not storage.exists(f"{base}/manifest.json") or not tables.exists(TRAINING_DATASET.name):
        raise NotThere(
            f"there is no training set {version} under {storage.root}: `curate materialize --select training_dataset`"
        )
    exported = [asset.table for asset in graph.assets if asset.exported and tables.exists(asset.name)]
    with file_writer(to) as file:
        with closing(StoredZip(file)) as archive:
            records = list(_tars(tables, base, shards, archive))
            with archive.member(f"{base}/manifest.json") as content:
                content.write(manifest_text(version, records))
            for table in exported:
                _add_table(tables, table, shards, archive)
        size = file.seek(0, 2)
    samples = sum(record["samples"] for record in records)
    names = tuple(table.name for table in exported)
    return Exported(to.partition("?")[0] if is_web(to) else to, size, samples, len(records), names)


def _tars(tables: Tables, base: str, shards: frozenset[str] | None, archive: StoredZip) -> Iterator[dict[str, Any]]:
    """Put tars and the records beside them into the archive; the manifest's line for each."""
    storage = tables.storage
    for line in json.loads(storage.read(f"{base}/manifest.json"))["tars"]:
        path = f"{base}/{line['path']}"
        chosen = _chosen(tables, path, shards)
        if chosen is not None and not chosen:
            continue
        if chosen is None or len(chosen) == line["samples"]:
            _copy(tables, path, line, archive)
            record = {key: value for key, value in line.items() if key != "path"}
        else:
            with archive.member(path) as target:
                record = _smaller(storage.uri(path), chosen, SampleTar(target))
        with archive.member(f"{path}.json") as content:
            content.write(json.dumps(record, sort_keys=True).encode())
        yield {"path": line["path"], **record}


def _chosen(tables: Tables, tar: str, shards: frozenset[str] | None) -> set[str] | None:
    """The clips of a tar that are of some shards; None: all of them."""
    if shards is None:
        return None
    where = f"status = 'ok' AND tar = {quoted(tar)}"
    rows = tables.read(TRAINING_DATASET, columns=["shard", "clip_id"], where=where).to_pylist()
    return {row["clip_id"] for row in rows if row["shard"] in shards}


def _copy(tables: Tables, path: str, line: dict[str, Any], archive: StoredZip) -> None:
    uri, digest = tables.storage.uri(path), hashlib.sha256()
    with range_file(uri) as tar, archive.member(path) as target:
        while block := tar.read(_BLOCK):
            digest.update(block)
            target.write(block)
    if digest.hexdigest() != line["sha256"]:
        raise UserError(
            f"{uri} is not the tar that was written: delete it, and `curate materialize --select training_dataset` "
            "writes it again"
        )


def _smaller(uri: str, chosen: set[str], smaller: SampleTar) -> dict[str, Any]:
    """The record of a tar with only some samples of another."""
    with range_file(uri) as file, tarfile.open(fileobj=file, mode="r:") as tar:
        video = None
        while (member := tar.next()) is not None:
            clip_id, _, kind = member.name.rpartition(".")
            if clip_id not in chosen:
                continue
            if kind == "mp4":
                video = member
                continue
            assert video is not None
            about, content = tar.extractfile(member), tar.extractfile(video)
            assert about is not None and content is not None
            smaller.add(clip_id, content, video.size, json.loads(about.read()))
    return smaller.finished()


def _add_table(tables: Tables, table: Table, shards: frozenset[str] | None, archive: StoredZip) -> None:
    import pyarrow.parquet as pq

    with archive.member(f"tables/{table.name}.parquet") as content, pq.ParquetWriter(content, table.schema) as writer:
        for shard in tables.shards(table):
            if shards is None or shard in shards:
                for rows in _pages(tables, table, shard):
                    writer.write_table(rows)


def _pages(tables: Tables, table: Table, shard: str) -> Iterator[pa.Table]:
    """The rows of a shard, a few at a time, in the order of their slots, which have no gaps."""
    start = 0
    while True:
        first, end = (quoted(f"{shard}/{index:08d}") for index in (start, start + _ROWS))
        rows = tables.read(table, shard, where=f"slot >= {first} AND slot < {end}")
        if rows.num_rows:
            yield rows
        if rows.num_rows < _ROWS:
            return
        start += _ROWS
