"""`motion_scores`: how much each clip moves, from the signals over time; over the whole clip."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from curate_assets.graph.graph import Asset, Record
from curate_assets.graph.score import Score, at_least
from curate_assets.video.assets.clips import CLIP_ID, CLIPS
from curate_assets.video.assets.motion_signals import MOTION_SIGNALS
from curate_assets.video.assets.source_videos import VIDEO_ID
from curate_resources.declarations.stage import Stage, Work, Worker
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.storage.root import Storage
from gpu_kernels.scores.motion import span_motion

MOTION_SCORES = Table(
    name="motion_scores",
    grain="clip",
    keys=("video_id", "clip_id"),
    version="4",
    columns=(
        VIDEO_ID,
        CLIP_ID,
        Column(
            "global_mean",
            pa.float32(),
            "mean motion over the whole clip and picture, in pixels per frame divided by width plus height",
        ),
        Column("per_patch_min_256", pa.float32(), "least of the patches' mean motions over the clip, in the same unit"),
        Column(
            "peak",
            pa.float32(),
            "what the liveliest patch reaches in a twentieth of the samples, and in two at least, in the same "
            "unit: whether anything moves anywhere in the picture",
        ),
    ),
    description=(
        "Motion of every clip, as a share of the picture's width plus height per frame: the mean over the whole clip "
        "and picture, the mean of the stillest 256-pixel patch, and what the liveliest patch reaches in a twentieth of "
        "the time. Empty where a video is too short for any sample."
    ),
)


def open_motion_scorer(config: Any, storage: Storage) -> Worker:
    """A worker that averages motion over spans."""

    def score(work: Work) -> Mapping[str, list[Row]]:
        signals = {s["video_id"]: s for s in work.inputs[MOTION_SIGNALS.name].to_pylist() if s["status"] == "ok"}
        rows: list[Row] = []
        for clip in work.items.to_pylist():
            signal = signals.get(clip["video_id"])
            if signal is None:
                raise ValueError("the video has no motion signals: see the error of its row in motion_signals")
            frames = np.array(signal["sample_frames"], np.int64)
            if len(frames) == 0:
                rows.append({"video_id": clip["video_id"], "clip_id": clip["clip_id"], "status": "empty"})
                continue
            shape = (len(frames), signal["patch_rows"], signal["patch_columns"])
            patches = np.array(signal["patches"], np.float32).reshape(shape)
            motion = span_motion(frames, patches, clip["start_frame"], clip["end_frame"])
            rows.append(
                {
                    "video_id": clip["video_id"],
                    "clip_id": clip["clip_id"],
                    "global_mean": motion.global_mean,
                    "per_patch_min_256": motion.per_patch_min,
                    "peak": motion.peak,
                }
            )
        return {MOTION_SCORES.name: rows}

    return score


SCORE_MOTION = Stage(
    name="score_motion",
    item=CLIPS.name,
    reads=(MOTION_SIGNALS.name,),
    writes=(MOTION_SCORES,),
    open=open_motion_scorer,
)


SCORES = (
    Score(
        "motion_peak",
        "Motion of the liveliest patch",
        ("peak",),
        scale="log",
        within=(0, 1),
        thresholds=(
            at_least(
                "Least motion that the liveliest 256-pixel patch reaches in a twentieth of the clip, and in two "
                "samples at least, as a share of width plus height per frame. The default rejects what stands still "
                "and nothing that moves; see [how it was chosen](models.md#motion).",
                default=0.00002,
            ),
        ),
    ),
    Score(
        "motion_global_mean",
        "Motion",
        ("global_mean",),
        scale="log",
        within=(0, 1),
        thresholds=(
            at_least(
                "Least mean motion over the clip and the picture, in the same unit. It rejects small things that move "
                "before a fixed camera."
            ),
        ),
    ),
    Score(
        "motion_per_patch",
        "Motion of the stillest patch",
        ("per_patch_min_256",),
        scale="log",
        within=(0, 1),
        thresholds=(at_least("Least mean motion of the stillest 256-pixel patch."),),
    ),
)

ASSET = Asset(
    MOTION_SCORES,
    SCORE_MOTION,
    "clips",
    scores=SCORES,
    recorded=Record("motion", ("global_mean", "per_patch_min_256", "peak")),
    exported=True,
)
