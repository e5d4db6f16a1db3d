"""The samples of a training set: which clips they are, in which bin each lies, and what is said of it.

Every export is made of these: the WebDataset tars of `training_dataset`, and what other packages write. The bins are
those of the reference pipeline, and two more for what these leave out.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import Field

from curate_assets.video.assets.caption_quality import CAPTION_QUALITY
from curate_assets.video.assets.clip_files import CLIP_FILES
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.concept_clusters import CONCEPT_CLUSTERS
from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.balancing import NOT_SAMPLED, balanced, groups_by
from curate_assets.video.caption_rows import text_digest
from curate_assets.video.caption_texts import CAPTION_STAGES, WindowCaption, caption_columns, window_captions
from curate_assets.video.verdicts import SCORED
from curate_resources.declarations.table import Row, Table
from curate_resources.storage.root import Storage
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.dedup.balance import REST, BalanceConfig
from gpu_kernels.shots.splitting import SECOND
from gpu_kernels.strict import StrictModel

SAMPLED = (CLIP_FILES, *CAPTION_STAGES, CAPTION_QUALITY, CONCEPT_CLUSTERS, DUPLICATE_GROUPS, CLIP_SELECTION)
"""The tables that decide what samples there are; an export is stale when they have changed."""


class SamplesConfig(StrictModel):
    """Which clips are samples."""

    min_seconds: float = Field(default=0.0, ge=0)
    """Shorter clips are left out. Those of less than 5 s have a duration bin of their own, such as `0_5`."""
    max_aspect_ratio: float | None = Field(default=None, gt=0)
    """Clips that are wider for their height are left out; `null`: those beyond 10 have a bin of their own, `wide`."""
    require_caption: bool = False
    """Whether clips without any caption are left out."""
    balance: BalanceConfig | None = None
    """How many samples there are of each kind of clip ([balance](balance.md)); `null`: all that there are."""

    unless_default = frozenset({"balance"})


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
    group: str | None = None
    """What it was balanced by; None without `balance`."""


@dataclass(frozen=True)
class LeftOut:
    """A clip with a file that is no sample, and why: `no_duration_bin`, `no_aspect_bin`, `no_caption`; where `balance`
    does without it, `not_sampled`."""

    shard: str
    video_id: str
    clip_id: str
    sha256: str
    reason: str
    group: str | None = None


def bin_of(width: int, height: int, seconds: float, config: SamplesConfig) -> Bin | None:
    """The bin of a clip: closed at both ends, and the first that fits takes it. None if the clip is to be left out."""
    short, aspect, seconds = min(width, height), width / height, round(seconds, _DIGITS)
    if seconds < config.min_seconds or (config.max_aspect_ratio is not None and aspect > config.max_aspect_ratio):
        return None
    resolution = "1080" if short >= 1080 else "720" if short >= 720 else "lt_720"
    shape = next((name for most, name in _ASPECTS if aspect <= most), _WIDE)
    duration = next((name for least, most, name in _DURATIONS if least <= seconds <= most), None)
    return Bin(resolution, shape, duration or f"{config.min_seconds:g}_5")


def samples_of(tables: Tables, config: SamplesConfig) -> tuple[list[Sample], list[LeftOut]]:
    """The clips that belong into a training set, in the order of their bins and ids, and those that are left out."""

    def good(table: Table, columns: Sequence[str]) -> list[dict[str, Any]]:
        return tables.read(table, columns=["shard", *columns], where="status = 'ok'").to_pylist()

    def by_clip(table: Table, columns: Sequence[str]) -> dict[tuple[str, str], dict[str, Any]]:
        return {(row["shard"], row["clip_id"]): row for row in good(table, ["clip_id", *columns])}

    kept = {key for key, row in by_clip(DUPLICATE_GROUPS, ["keeper"]).items() if row["keeper"]}
    kept &= {key for key, row in by_clip(CLIP_SELECTION, ["selected"]).items() if row["selected"]}
    clips = by_clip(CLIPS, ["video_id", "start_frame", "end_frame", "start_ns", "end_ns"])
    # Of those that were made at all: what is off is in no record.
    measured = {record: rows for table, record in _RECORDS if (rows := by_clip(table, record.columns))}
    videos = {(row["shard"], row["video_id"]): row for row in good(SOURCE_VIDEOS, ["video_id", "uri", "average_rate"])}
    captions = _captions(
        {table.name: good(table, caption_columns(table, "end_frame", *_BY)) for table in CAPTION_STAGES},
        good(CAPTION_QUALITY, _FLAGS),
    )
    samples: list[Sample] = []
    left_out: list[LeftOut] = []
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
        *(f"crop_{name}" for name in _CROP),
    ]
    for file in good(CLIP_FILES, columns):
        key = (file["shard"], file["clip_id"])
        clip, video = clips.get(key), videos.get((file["shard"], file["video_id"]))
        if key not in kept or clip is None or video is None:
            continue  # of an earlier selection, or a source that is gone; clip_files was not made again yet
        seconds = file["duration_ns"] / SECOND
        place = bin_of(file["width"], file["height"], seconds, config)
        texts = captions.get(key, [])
        reason = None
        if place is None:
            reason = "no_duration_bin" if seconds < config.min_seconds else "no_aspect_bin"
        elif config.require_caption and not texts:
            reason = "no_caption"
        if place is None or reason is not None:
            left_out.append(LeftOut(file["shard"], file["video_id"], file["clip_id"], file["sha256"], reason or ""))
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
            **({"crop": {name: file[f"crop_{name}"] for name in _CROP}} if file["crop_width"] else {}),
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
    if config.balance is not None and samples:  # of none there are no groups
        samples, more = _balanced(samples, tables, config.balance)
        left_out += more
    return sorted(samples, key=lambda sample: (sample.bin.folder, sample.clip_id, sample.shard)), left_out


def _balanced(samples: Sequence[Sample], tables: Tables, config: BalanceConfig) -> tuple[list[Sample], list[LeftOut]]:
    groups = groups_by(tables, config.by)
    chosen = balanced([(sample.shard, sample.clip_id) for sample in samples], groups, config)
    found: list[Sample] = []
    left_out: list[LeftOut] = []
    for each in samples:
        group = groups.get((each.shard, each.clip_id), REST)
        if (each.shard, each.clip_id) in chosen:
            found.append(replace(each, group=group))
        else:
            left_out.append(LeftOut(each.shard, each.video_id, each.clip_id, each.sha256, NOT_SAMPLED, group))
    return found, left_out


_CROP = ("x", "y", "width", "height")
_BY = ("model", "model_revision")
_FLAGS = ("clip_id", "start_frame", "text_digest", "flags")


def _captions(
    rows: Mapping[str, Iterable[Row]], qualities: Iterable[Row]
) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """By shard and clip, what a record says of each window with a text: the caption that counts, those that it was made
    from under `earlier`, and the flags of that very text, where there are any such."""
    flags = {(row["shard"], row["clip_id"], row["start_frame"], row["text_digest"]): row["flags"] for row in qualities}
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for each in sorted(window_captions(rows), key=lambda each: each.window["start_frame"]):
        if (caption := each.caption) is None:
            continue
        shard, clip_id, start = (each.window[name] for name in ("shard", "clip_id", "start_frame"))
        said = {"start_frame": start, "end_frame": each.window["end_frame"]} | _told(caption) | _earlier(each)
        of_text = flags.get((shard, clip_id, start, text_digest(caption["text"])))
        found.setdefault((shard, clip_id), []).append(said | ({} if of_text is None else {"flags": of_text}))
    return found


def _told(row: Row) -> dict[str, Any]:
    return {name: row[name] for name in ("text", *_BY)}


def _earlier(window: WindowCaption) -> dict[str, Any]:
    before = {name: _told(row) for name, row in window.texts.items() if name != window.stage}
    return {"stage": window.stage, "earlier": before} if before else {}


class ChangedFile(Exception):
    """A clip file that is not the one that was cut."""


def content_of(storage: Storage, sample: Sample) -> bytes:
    """The clip's file.

    Raises:
        FileNotFoundError: it is gone.
        ChangedFile: it is not the one that was cut.
    """
    again = f"`curate materialize --select clip_files --force --shard {sample.shard}` makes it again"
    try:
        data = storage.read(sample.path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{storage.uri(sample.path)} is gone: {again}") from error
    if hashlib.sha256(data).hexdigest() != sample.sha256:
        raise ChangedFile(f"{storage.uri(sample.path)} changed since it was cut: {again}")
    return data
