"""`training_dataset`: the kept clips as WebDataset tars, binned by resolution, aspect ratio and duration.

A tar depends on nothing but its
samples: the same samples give the same bytes. Next to each tar lies a record with its checksum, written after it, so
that a run that was cut short goes on where it stopped.
"""

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curate_assets.graph.graph import Asset
from curate_assets.graph.platform import PlatformConfig
from curate_assets.graph.shard_checks import Check, Problems, Shard, nothing_wrong
from curate_assets.graph.whole_table import Gathered, Made, Markdown
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.clips import CLIP_ID
from curate_assets.video.assets.concept_clusters import clusters_are_made
from curate_assets.video.assets.source_videos import VIDEO_ID
from curate_assets.video.balancing import Share, shares, shares_markdown
from curate_assets.video.sample_tars import SampleTar, samples_digest
from curate_assets.video.samples import (
    SAMPLED,
    Bin,
    ChangedFile,
    LeftOut,
    Sample,
    SamplesConfig,
    content_of,
    samples_of,
)
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.pipeline.commit import in_order
from curate_resources.storage.root import Storage
from curate_resources.tables.lance_tables import Tables


class TrainingDatasetConfig(SamplesConfig):
    """How the training set is laid out."""

    version: str = Field(default="v0", pattern=r"^[A-Za-z0-9._-]+$")
    """First part of every path in the dataset."""
    tar_mib: int = Field(default=500, ge=1)
    """A tar is closed when it reaches this size."""
    tars_per_part: int = Field(default=100, ge=1)
    """Tars in one `part_` folder."""


TRAINING_DATASET = Table(
    name="training_dataset",
    grain="sample",
    keys=("video_id", "clip_id"),
    version="2",
    sections=("training_dataset",),
    columns=(
        VIDEO_ID,
        CLIP_ID,
        Column("resolution", pa.string(), "bin by the short side: `1080`, `720` or `lt_720`"),
        Column(
            "aspect_ratio",
            pa.string(),
            "bin by width to height: `9_16`, `3_4`, `1_1`, `4_3`, `16_9`, or `wide` beyond 10",
        ),
        Column(
            "duration",
            pa.string(),
            "bin by seconds: `5_10`, `10_30`, `30_inf`, each with both its ends, the first that fits; and one "
            "from `training_dataset.min_seconds` to 5",
        ),
        Column("tar", pa.string(), "the tar that holds the sample, below the root"),
        Column("bytes", pa.int64(), "size of the clip file"),
        Column(
            "left_out",
            pa.string(),
            "why the clip is no sample: `no_duration_bin`, `no_aspect_bin`, `no_caption`, or `not_sampled` where "
            "`training_dataset.balance` does without it",
        ),
        Column("balanced_by", pa.string(), "its cluster or label, where the set is balanced; empty: it has none"),
    ),
    description=(
        "The training set: every kept clip and the WebDataset tar that holds it, in bins by short side, aspect ratio "
        "and duration. Clips that the settings leave out are empty rows that say why; a clip whose file is gone or "
        "changed is a failed row."
    ),
)


@dataclass(frozen=True)
class Tar:
    """One tar to be written; `digest` stands for its samples."""

    path: str
    samples: tuple[Sample, ...]
    digest: str


@dataclass(frozen=True)
class Written:
    """What `write_dataset` did."""

    rows: dict[str, pa.Table]
    tars: int
    resumed: int
    samples: int
    bytes: int
    manifest: str

    @property
    def lost(self) -> list[str]:
        """What keeps clips out of the set whose files cannot be used; each names its file."""
        return [error["message"] for part in self.rows.values() for error in part["error"].to_pylist() if error]


def write_dataset(tables: Tables, config: TrainingDatasetConfig) -> Written:
    """Write all tars that are not there yet and the manifest, and make the table's rows of every shard.

    A clip whose file is gone or changed is a failed row, and costs no other its place.
    """
    samples, left_out = samples_of(tables, config)
    storage = tables.storage
    base = f"datasets/{config.version}"
    rows: dict[str, list[Row]] = {shard: [] for shard in tables.shards(CLIP_SELECTION)}
    records: list[dict[str, Any]] = []
    resumed = written = 0
    for tar in _tars(samples, config):
        path = f"{base}/{tar.path}"
        record, lost = _record(storage, path), dict[Sample, Exception]()
        if record is not None and record["digest"] == tar.digest:
            resumed += 1
        else:
            record, lost = _write_tar(storage, path, tar)
        if record["samples"]:
            records.append({"path": tar.path, **record})
            written += record["samples"]
        for sample in tar.samples:
            row = _lost(sample, lost[sample], config) if sample in lost else _row(sample, path, config)
            rows[sample.shard].append(row)
    for clip in left_out:
        rows[clip.shard].append(_left_out(clip, config))
    _delete_stale(storage, base, {record["path"] for record in records})
    manifest = f"{base}/manifest.json"
    total = sum(record["bytes"] for record in records)
    storage.write(manifest, manifest_text(config.version, records))
    made = {
        shard: in_order(TRAINING_DATASET, [pa.Table.from_pylist(part, schema=TRAINING_DATASET.rows_schema)])
        for shard, part in rows.items()
    }
    return Written(made, len(records), resumed, written, total, storage.uri(manifest))


def manifest_text(version: str, records: Sequence[Mapping[str, Any]]) -> bytes:
    """The manifest of a dataset with these tars, given by their records and paths."""
    counts = {key: sum(record[key] for record in records) for key in ("samples", "bytes")}
    return json.dumps({"version": version, **counts, "tars": list(records)}, indent=1, sort_keys=True).encode()


def _tars(samples: Sequence[Sample], config: TrainingDatasetConfig) -> Iterator[Tar]:
    bins: dict[Bin, list[Sample]] = {}
    for sample in samples:
        bins.setdefault(sample.bin, []).append(sample)
    for place, members in bins.items():
        for number, chosen in enumerate(_filled(members, config.tar_mib << 20)):
            part = number // config.tars_per_part
            path = f"{place.folder}/part_{part:06d}/{number % config.tars_per_part:06d}.tar"
            digest = samples_digest((sample.clip_id, sample.sha256, sample.about) for sample in chosen)
            yield Tar(path, tuple(chosen), digest)


def _filled(samples: Sequence[Sample], size: int) -> Iterator[list[Sample]]:
    chosen: list[Sample] = []
    for sample in samples:
        if chosen and sum(other.bytes for other in chosen) + sample.bytes > size:
            yield chosen
            chosen = []
        chosen.append(sample)
    if chosen:
        yield chosen


def _record(storage: Storage, path: str) -> dict[str, Any] | None:
    """The record of a tar that is whole; None if there is none."""
    if not storage.exists(f"{path}.json") or not storage.exists(path):
        return None
    record = json.loads(storage.read(f"{path}.json"))
    return record if storage.size(path) == record["bytes"] else None


def _write_tar(storage: Storage, path: str, tar: Tar) -> tuple[dict[str, Any], dict[Sample, Exception]]:
    """The record of a tar, and the samples that are not in it because their files cannot be used; no tar of none."""
    lost: dict[Sample, Exception] = {}
    with storage.writer(path) as file:
        written = SampleTar(file)
        for sample in tar.samples:
            try:
                data = content_of(storage, sample)
            except (FileNotFoundError, ChangedFile) as error:
                lost[sample] = error
            else:
                written.add(sample.clip_id, io.BytesIO(data), len(data), sample.about)
        record = written.finished()
    if record["samples"]:
        storage.write(f"{path}.json", json.dumps(record, sort_keys=True).encode())
    else:
        storage.delete(f"{path}.json")
        storage.delete(path)
    return record, lost


def _delete_stale(storage: Storage, base: str, current: set[str]) -> None:
    """Remove tars of an earlier manifest that are no part of this one."""
    manifest = f"{base}/manifest.json"
    if not storage.exists(manifest):
        return
    for record in json.loads(storage.read(manifest))["tars"]:
        if record["path"] not in current:
            storage.delete(f"{base}/{record['path']}.json")
            storage.delete(f"{base}/{record['path']}")


def _fingerprint(config: TrainingDatasetConfig, *of: Any) -> str:
    text = json.dumps([TRAINING_DATASET.name, TRAINING_DATASET.version, config.settings(), of], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _row(sample: Sample, tar: str, config: TrainingDatasetConfig) -> Row:
    return {
        "shard": sample.shard,
        "video_id": sample.video_id,
        "clip_id": sample.clip_id,
        "resolution": sample.bin.resolution,
        "aspect_ratio": sample.bin.aspect_ratio,
        "duration": sample.bin.duration,
        "tar": tar,
        "bytes": sample.bytes,
        "balanced_by": sample.group,
        "status": "ok",
        "fingerprint": _fingerprint(config, sample.sha256, sample.about),
    }


def _lost(sample: Sample, error: Exception, config: TrainingDatasetConfig) -> Row:
    said = {"stage": TRAINING_DATASET.name, "type": type(error).__name__, "message": str(error), "attempt": 1}
    return {
        "shard": sample.shard,
        "video_id": sample.video_id,
        "clip_id": sample.clip_id,
        "status": "failed",
        "error": said,
        "fingerprint": _fingerprint(config, sample.sha256, sample.about),
    }


def _left_out(clip: LeftOut, config: TrainingDatasetConfig) -> Row:
    return {
        "shard": clip.shard,
        "video_id": clip.video_id,
        "clip_id": clip.clip_id,
        "left_out": clip.reason,
        "balanced_by": clip.group,
        "status": "empty",
        "fingerprint": _fingerprint(config, clip.sha256),
    }


def _made(tables: Tables, config: PlatformConfig, _: str) -> Made:
    written = write_dataset(tables, config.section(TRAINING_DATASET.name, TrainingDatasetConfig))
    balance = balance_of(TRAINING_DATASET.joined(written.rows))
    return Made(
        written.rows,
        {
            "dagster/row_count": written.samples,
            "left_out": sum(part["status"].to_pylist().count("empty") for part in written.rows.values()),
            "failures": len(written.lost),
            "tars": written.tars,
            "tars_already_there": written.resumed,
            "bytes": written.bytes,
            "manifest": written.manifest,
            **({"balance": Markdown(shares_markdown(balance))} if balance else {}),
        },
    )


def balance_of(rows: pa.Table) -> list[Share]:
    """The shares of groups before and after, from rows of the table; none where the set is not balanced."""
    counted = rows.filter(pc.field("status") != "failed")
    groups, status = counted["balanced_by"].to_pylist(), counted["status"].to_pylist()
    return shares((group, each == "ok") for group, each in zip(groups, status, strict=True))


def _has_groups(config: Any) -> None:
    balance = config.training_dataset.balance
    if balance is None:
        return
    if balance.by == "cluster" and not clusters_are_made(config):
        raise ValueError("training_dataset.balance needs clusters: set concept_clusters.clusters to their number")
    if balance.by == "label" and not config.clip_labels.enabled:
        raise ValueError("training_dataset.balance.by: label needs labels: set clip_labels.enabled to true")


def samples_in(tables: Tables) -> int | None:
    """Samples of the training set; None if it was never made."""
    if not tables.exists(TRAINING_DATASET.name):
        return None
    return tables.read(TRAINING_DATASET, columns=["status"], where="status = 'ok'").num_rows


def _no_clip_lost(shard: Shard) -> Problems:
    return [row["error"]["message"] for row in shard.rows(TRAINING_DATASET) if row["error"]]


CHECKS = (
    Check(
        TRAINING_DATASET,
        "no_clip_lost",
        "The file of every clip that belongs into the set is there, as it was cut.",
        nothing_wrong(_no_clip_lost),
        "select clip_id, error.message as message from training_dataset where status = 'failed'",
    ),
)

GATHER = Gathered(
    TRAINING_DATASET,
    _made,
    SAMPLED,
    kinds=frozenset({"webdataset", "lance"}),
)

ASSET = Asset(
    TRAINING_DATASET,
    GATHER,
    "delivery",
    CHECKS,
    section=TrainingDatasetConfig,
    agrees=_has_groups,
    same_for_all="it holds clips of all shards",
    exported=True,
    published=True,
)
