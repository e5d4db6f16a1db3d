"""`clip_selection`: the verdict on every clip, and every reason against it. The only asset with score thresholds."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate_assets.drift import Measures, measures_of_others, too_few, too_short_history
from curate_assets.graph import Asset
from curate_assets.shard_checks import Check, Finding, Shard
from curate_assets.video.assets.clips import CLIP_ID, CLIPS
from curate_assets.video.assets.motion_scores import MOTION_SCORES
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS, VIDEO_ID
from curate_resources.stage import Column, Row, Stage, Table, Work, Worker
from curate_resources.storage import Storage
from curate_resources.tables import Tables
from gpu_kernels.clips import SECOND
from gpu_kernels.selection import ClipSelectionConfig, Measured, rejection_reasons

_REJECTED = "rejected_share"
_REJECTED_CLIPS = "select clip_id, reasons from clip_selection where shard = $shard and not selected order by clip_id"


def _measures(rows: pa.Table) -> Measures:
    """The shares of clips that are rejected, and that each reason rejects."""
    found = rows.filter(pc.field("status") == "ok").select(["selected", "reasons"]).to_pylist()
    if not found:
        return {"clips": [0.0]}
    reasons = Counter(reason for row in found for reason in row["reasons"])
    shares = {f"{_REJECTED}_{reason}": [count / len(found)] for reason, count in sorted(reasons.items())}
    rejected = sum(not row["selected"] for row in found) / len(found)
    return {"clips": [float(len(found))], _REJECTED: [rejected], **shares}


CLIP_SELECTION = Table(
    name="clip_selection",
    grain="clip",
    keys=("video_id", "clip_id"),
    sections=("clip_selection",),
    measures=_measures,
    identity=("selected",),
    columns=(
        VIDEO_ID,
        CLIP_ID,
        Column("selected", pa.bool_(), "the verdict"),
        Column(
            "reasons",
            pa.list_(pa.string()),
            "every reason against the clip: a score's name with `_low`, `_high` or `_unmeasured`",
        ),
    ),
    description=(
        "The verdict on every clip and every reason against it, from thresholds on scores that were measured before. "
        "Changing a threshold recomputes this table and nothing that was measured."
    ),
)


def measured(clip: Row, video: Row, motion: Row | None) -> Measured:
    """What thresholds are compared with: of a clip's row, its video's, and its motion scores where it has any."""
    return {
        "motion_peak": motion["peak"] if motion else None,
        "motion_global_mean": motion["global_mean"] if motion else None,
        "motion_per_patch": motion["per_patch_min_256"] if motion else None,
        "short_side": min(video["width"], video["height"]),
        "seconds": (clip["end_ns"] - clip["start_ns"]) / SECOND,
        "frame_rate": video["average_rate"],
    }


def open_selector(config: Any, storage: Storage) -> Worker:
    """A worker that compares scores with thresholds."""

    def select(work: Work) -> Mapping[str, list[Row]]:
        motion = {m["clip_id"]: m for m in work.inputs[MOTION_SCORES.name].to_pylist() if m["status"] == "ok"}
        videos = {video["video_id"]: video for video in work.inputs[SOURCE_VIDEOS.name].to_pylist()}
        rows: list[Row] = []
        for clip in work.items.to_pylist():
            found = measured(clip, videos[clip["video_id"]], motion.get(clip["clip_id"]))
            reasons = rejection_reasons(found, config.clip_selection)
            rows.append(
                {
                    "video_id": clip["video_id"],
                    "clip_id": clip["clip_id"],
                    "selected": not reasons,
                    "reasons": reasons,
                }
            )
        return {CLIP_SELECTION.name: rows}

    return select


SELECT = Stage(
    name="select",
    item=CLIPS.name,
    reads=(SOURCE_VIDEOS.name, MOTION_SCORES.name),
    writes=(CLIP_SELECTION,),
    open=open_selector,
)


def _rejected(shard: Shard) -> Finding:
    measured = shard.measures(CLIP_SELECTION)
    if note := too_few(shard, measured["clips"][0], "clips"):
        return Finding([], note=note)
    share, limit = measured[_REJECTED][0], shard.config.checks.max_rejected_share
    if share <= limit:
        return Finding([], {_REJECTED: share})
    reasons = [f"{reason}: {value:.1%}" for reason, value in _by_reason(measured).items()]
    return Finding([f"{share:.1%} of the clips are rejected, more than {limit:.1%}", *reasons], {_REJECTED: share})


def _rejections_changed(shard: Shard) -> Finding:
    measured, others = shard.measures(CLIP_SELECTION), measures_of_others(shard, CLIP_SELECTION, "clips")
    if note := too_few(shard, measured["clips"][0], "clips") or too_short_history(shard, others):
        return Finding([], note=note)
    limit = shard.config.checks.max_rejection_change
    own, elsewhere = _by_reason(measured), [_by_reason(other) for other in others]
    problems: list[str] = []
    greatest = 0.0
    for reason in sorted({reason for shares in (own, *elsewhere) for reason in shares}):
        share, usual = own.get(reason, 0.0), float(np.mean([shares.get(reason, 0.0) for shares in elsewhere]))
        greatest = max(greatest, abs(share - usual))
        if abs(share - usual) > limit:
            problems.append(f"{reason} rejects {share:.1%} of the clips, elsewhere {usual:.1%}")
    return Finding(problems, {"greatest_change": greatest, "shards_compared": len(others)})


def _by_reason(measures: Measures) -> dict[str, float]:
    each = f"{_REJECTED}_"
    return {name.removeprefix(each): values[0] for name, values in measures.items() if name.startswith(each)}


CHECKS = (
    Check(
        CLIP_SELECTION,
        "rejections_few",
        "Rejected clips are within checks.max_rejected_share.",
        _rejected,
        _REJECTED_CLIPS,
    ),
    Check(
        CLIP_SELECTION,
        "rejections_steady",
        "Every reason rejects about as many clips as in other shards, to checks.max_rejection_change.",
        _rejections_changed,
        _REJECTED_CLIPS,
        warns=True,
    ),
)


def preview(tables: Tables, shard: str) -> str:
    """The funnel of the shard so far."""
    from curate_assets.video.report.funnel import funnel  # it knows all tables, those that are made of this one too
    from curate_assets.video.report.funnel_markdown import funnel_markdown

    steps = funnel(tables, shard=shard)
    return funnel_markdown(steps[: 1 + [step.name for step in steps].index("selected")])


ASSET = Asset(CLIP_SELECTION, SELECT, "clips", CHECKS, preview=preview, section=ClipSelectionConfig, exported=True)
