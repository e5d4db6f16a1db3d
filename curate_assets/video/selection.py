"""`clip_selection`: the verdict on every clip, and every reason against it. The only asset with score thresholds."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from curate_assets.video.clips import CLIP_ID, CLIPS
from curate_assets.video.measures import rejections
from curate_assets.video.motion import MOTION_SCORES
from curate_assets.video.source_videos import SOURCE_VIDEOS, VIDEO_ID
from curate_resources.stage import Column, Row, Stage, Table, Work, Worker
from curate_resources.storage import Storage
from gpu_kernels.clips import SECOND
from gpu_kernels.selection import Measured, rejection_reasons

CLIP_SELECTION = Table(
    name="clip_selection",
    grain="clip",
    keys=("video_id", "clip_id"),
    sections=("clip_selection",),
    measures=rejections,
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
