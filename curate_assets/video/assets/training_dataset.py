"""`training_dataset`: the kept clips as WebDataset tars, binned by resolution, aspect ratio and duration.

The bins are those of the reference pipeline, and two more for what these leave out. A tar depends on nothing but its
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
from pydantic import Field

from curate_assets.graph.graph import Asset
from curate_assets.graph.platform import PlatformConfig
from curate_assets.graph.shard_checks import Check, Problems, Shard, nothing_wrong
from curate_assets.graph.whole_table import Gathered, Made
from curate_assets.video.assets.captions import CAPTIONS
from curate_assets.video.assets.clip_files import CLIP_FILES
from curate_assets.video.assets.clip_selection import CLIP_SELECTION, SCORED
from curate_assets.video.assets.clips import CLIP_ID, CLIPS
from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS, VIDEO_ID
from curate_assets.video.sample_tars import SampleTar, samples_digest
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.pipeline.commit import in_order
from curate_resources.storage.root import Storage
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.shots.splitting import SECOND
from gpu_kernels.strict import StrictModel


class TrainingDatasetConfig(StrictModel):
    """How the training set is laid out."""

    version: str = Field(default="v0", pattern=r"^[A-Za-z0-9._-]+$")
    """First part of every path in the dataset."""
    min_seconds: float = Field(default=0.0, ge=0)
    """Shorter clips are left out. Those of less than 5 s have a duration bin of their own, such as `0_5`."""
    max_aspect_ratio: float | None = Field(default=None, gt=0)
    """Clips that are wider for their height are left out; `null`: those beyond 10 have a bin of their own, `wide`."""
    tar_mib: int = Field(default=500, ge=1)
    """A tar is closed when it reaches this size."""
    tars_per_part: int = Field(default=100, ge=1)
    """Tars in one `part_` folder."""
    require_caption: bool = False
    """Whether clips without any caption are left out."""


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
            "why the clip is no sample: `no_duration_bin`, `no_aspect_bin` or `no_caption`",
        ),
    ),
    description=(
        "The training set: every kept clip and the WebDataset tar that holds it, in bins by short side, aspect ratio "
        "and duration. Clips that the settings leave out are empty rows that say why; a clip whose file is gone or "
        "changed is a failed row."
    ),
)

_ASPECTS = ((0.65, "9_16"), (0.88, "3_4"), (1.16, "1_1"), (1.55, "4_3"), (10.0, "16_9"))
_WIDE = "wide"
_DURATIONS = ((5.0, 10.0, "5_10"), (10.0, 30.0, "10_30"), (30.0, float("inf"), "30_inf"))
_DIGITS = 6
"""Of seconds: times are rounded to the ticks of their file's clock, and 10 s are 10 s."""


_RECORDS = [(asset.table, asset.recorded) for asset in SCORED if asset.recorded is not None]
"""What of the measurements is in a sample's record."""


@dataclass(frozen=True)
class Bin:
    """Where samples of one kind lie."""

    resolution: str
    aspect_ratio: str
    duration: str

    @property
    def folder(self) -> str:
        """Path below the dataset's version."""
        return f"resolution_{self.resolution}/aspect_ratio_{self.aspect_ratio}/duration_{self.duration}"


@dataclass(frozen=True, eq=False)
class Sample:
    """One clip of the training set: its file, and what the JSON beside it says."""

    shard: str
    video_id: str
    clip_id: str
    path: str
    bytes: int
    sha256: str
    bin: Bin
    about: dict[str, Any]


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


def bin_of(width: int, height: int, seconds: float, config: TrainingDatasetConfig) -> Bin | None:
    """The bin of a clip: closed at both ends, and the first that fits takes it. None if the clip is to be left out."""
    short, aspect, seconds = min(width, height), width / height, round(seconds, _DIGITS)
    if seconds < config.min_seconds or (config.max_aspect_ratio is not None and aspect > config.max_aspect_ratio):
        return None
    resolution = "1080" if short >= 1080 else "720" if short >= 720 else "lt_720"
    shape = next((name for most, name in _ASPECTS if aspect <= most), _WIDE)
    duration = next((name for least, most, name in _DURATIONS if least <= seconds <= most), None)
    return Bin(resolution, shape, duration or f"{config.min_seconds:g}_5")


def write_dataset(tables: Tables, config: TrainingDatasetConfig) -> Written:
    """Write all tars that are not there yet and the manifest, and make the table's rows of every shard.

    A clip whose file is gone or changed is a failed row, and costs no other its place.
    """
    samples, left_out = _samples(tables, config)
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
    for row in left_out:
        rows[row["shard"]].append(row)
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


def _samples(tables: Tables, config: TrainingDatasetConfig) -> tuple[list[Sample], list[Row]]:
    def good(table: Table, columns: Sequence[str]) -> list[dict[str, Any]]:
        return tables.read(table, columns=["shard", *columns], where="status = 'ok'").to_pylist()

    def by_clip(table: Table, columns: Sequence[str]) -> dict[tuple[str, str], dict[str, Any]]:
        return {(row["shard"], row["clip_id"]): row for row in good(table, ["clip_id", *columns])}

    kept = {key for key, row in by_clip(DUPLICATE_GROUPS, ["keeper"]).items() if row["keeper"]}
    kept &= {key for key, row in by_clip(CLIP_SELECTION, ["selected"]).items() if row["selected"]}
    clips = by_clip(CLIPS, ["video_id", "start_frame", "end_frame", "start_ns", "end_ns"])
    measured = {record: by_clip(table, record.columns) for table, record in _RECORDS}
    videos = {(row["shard"], row["video_id"]): row for row in good(SOURCE_VIDEOS, ["video_id", "uri", "average_rate"])}
    captions: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in good(CAPTIONS, ["clip_id", "start_frame", "end_frame", "text", "model", "model_revision"]):
        captions.setdefault((row["shard"], row["clip_id"]), []).append(row)
    samples: list[Sample] = []
    left_out: list[Row] = []
    columns = [
        "video_id",
        "clip_id",
        "path",
        "bytes",
        "sha256",
        "width",
        "height",
        "frames",
        "duration_ns",
        "has_audio",
    ]
    for file in good(CLIP_FILES, columns):
        key = (file["shard"], file["clip_id"])
        clip, video = clips.get(key), videos.get((file["shard"], file["video_id"]))
        if key not in kept or clip is None or video is None:
            continue  # of an earlier selection, or a source that is gone; clip_files was not made again yet
        seconds = file["duration_ns"] / SECOND
        place = bin_of(file["width"], file["height"], seconds, config)
        texts = [
            {name: row[name] for name in ("start_frame", "end_frame", "text", "model", "model_revision")}
            for row in sorted(captions.get(key, []), key=lambda row: row["start_frame"])
        ]
        reason = None
        if place is None:
            reason = "no_duration_bin" if seconds < config.min_seconds else "no_aspect_bin"
        elif config.require_caption and not texts:
            reason = "no_caption"
        if place is None or reason is not None:
            left_out.append(_left_out(file, reason or "", config))
            continue
        about = {
            "clip_id": file["clip_id"],
            "video_id": file["video_id"],
            "source_uri": video["uri"],
            "span_frames": [clip["start_frame"], clip["end_frame"]],
            "span_seconds": [clip["start_ns"] / SECOND, clip["end_ns"] / SECOND],
            "seconds": seconds,
            "width": file["width"],
            "height": file["height"],
            "frames": file["frames"],
            "frame_rate": video["average_rate"],
            "has_audio": file["has_audio"],
            "sha256": file["sha256"],
            **{
                record.name: {name: rows[key][name] for name in record.columns} if key in rows else None
                for record, rows in measured.items()
            },
            "captions": texts,
        }
        samples.append(
            Sample(
                file["shard"],
                file["video_id"],
                file["clip_id"],
                file["path"],
                file["bytes"],
                file["sha256"],
                place,
                about,
            )
        )
    return sorted(samples, key=lambda sample: (sample.bin.folder, sample.clip_id, sample.shard)), left_out


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
                data = _content(storage, sample)
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


class ChangedFile(Exception):
    """A clip file that is not the one that was cut."""


def _content(storage: Storage, sample: Sample) -> bytes:
    again = f"`curate materialize --select clip_files --force --shard {sample.shard}` makes it again"
    try:
        data = storage.read(sample.path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{storage.uri(sample.path)} is gone: {again}") from error
    if hashlib.sha256(data).hexdigest() != sample.sha256:
        raise ChangedFile(f"{storage.uri(sample.path)} changed since it was cut: {again}")
    return data


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


def _left_out(file: Mapping[str, Any], reason: str, config: TrainingDatasetConfig) -> Row:
    return {
        "shard": file["shard"],
        "video_id": file["video_id"],
        "clip_id": file["clip_id"],
        "left_out": reason,
        "status": "empty",
        "fingerprint": _fingerprint(config, file["sha256"]),
    }


def _made(tables: Tables, config: PlatformConfig, _: str) -> Made:
    written = write_dataset(tables, config.section(TRAINING_DATASET.name, TrainingDatasetConfig))
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
        },
    )


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
    (CLIP_FILES, CAPTIONS, DUPLICATE_GROUPS, CLIP_SELECTION),
    kinds=frozenset({"webdataset", "lance"}),
)

ASSET = Asset(
    TRAINING_DATASET,
    GATHER,
    "delivery",
    CHECKS,
    section=TrainingDatasetConfig,
    same_for_all="it holds clips of all shards",
    exported=True,
    published=True,
)
