"""`parquet_dataset`: an export: the training set as Parquet files, one for each resolution, clips and all.

In the package that brings it:

    [project.entry-points."curate.assets"]
    parquet_dataset = "parquet_dataset:ASSET"

`curate materialize --select parquet_dataset` then writes `datasets/parquet/<resolution>.parquet` below the root, and
`datasets.load_dataset("parquet", data_files=...)` reads them.
"""

import json
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate_assets import Asset, Column, Gathered, Made, PlatformConfig, Row, Table, Tables
from curate_assets.video import (
    CLIP_ID,
    SAMPLED,
    VIDEO_ID,
    ChangedFile,
    Sample,
    SamplesConfig,
    content_of,
    samples_of,
)

PARQUET_DATASET = Table(
    name="parquet_dataset",
    grain="sample",
    keys=("video_id", "clip_id"),
    sections=("parquet_dataset",),
    columns=(VIDEO_ID, CLIP_ID, Column("path", pa.string(), "the Parquet file that holds the sample, below the root")),
    description="The training set as Parquet files, one for each resolution.",
)


class ParquetDatasetConfig(SamplesConfig):
    """Which clips the Parquet files hold."""


_FILE = pa.schema([("clip_id", pa.string()), ("video", pa.large_binary()), ("about", pa.string())])
_ROWS = 64
"""Samples that are held in memory at a time."""


def make(tables: Tables, config: PlatformConfig, _: str) -> Made:
    """Write all files, and a row for each sample."""
    samples, left_out = samples_of(tables, config.section(PARQUET_DATASET.name, ParquetDatasetConfig))
    rows: dict[str, list[Row]] = {}
    for resolution, members in groupby(samples, key=lambda sample: sample.bin.resolution):
        path = f"datasets/parquet/{resolution}.parquet"
        with tables.storage.writer(path) as file, pq.ParquetWriter(file, _FILE) as parquet:
            batch: list[Row] = []
            for sample in members:
                row, error = _read(tables, sample)
                rows.setdefault(sample.shard, []).append(_row(sample, path, error))
                batch += [row] if row is not None else []
                if len(batch) == _ROWS:
                    parquet.write_table(pa.Table.from_pylist(batch, schema=_FILE))
                    batch = []
            parquet.write_table(pa.Table.from_pylist(batch, schema=_FILE))
    made = {shard: pa.Table.from_pylist(own, schema=PARQUET_DATASET.rows_schema) for shard, own in rows.items()}
    return Made(made, {"samples": len(samples), "left_out": len(left_out)})


def _read(tables: Tables, sample: Sample) -> tuple[Row | None, Exception | None]:
    """What the file has of a sample, or why it cannot be had: the others are written all the same."""
    try:
        video = content_of(tables.storage, sample)
    except (FileNotFoundError, ChangedFile) as error:
        return None, error
    return {"clip_id": sample.clip_id, "video": video, "about": json.dumps(sample.about, sort_keys=True)}, None


def _row(sample: Sample, path: str, error: Exception | None) -> dict[str, Any]:
    row = {"shard": sample.shard, "video_id": sample.video_id, "clip_id": sample.clip_id, "fingerprint": sample.sha256}
    if error is None:
        return {**row, "status": "ok", "path": path}
    said = {"stage": PARQUET_DATASET.name, "type": type(error).__name__, "message": str(error), "attempt": 1}
    return {**row, "status": "failed", "error": said}


ASSET = Asset(
    PARQUET_DATASET,
    Gathered(PARQUET_DATASET, make, SAMPLED, kinds=frozenset({"parquet", "lance"})),
    group="delivery",
    section=ParquetDatasetConfig,
)
