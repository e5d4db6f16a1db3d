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
from gpu_kernels.scores.motion import ReferenceMotion, reference_motion, span_motion
from gpu_kernels.shots.splitting import SECOND

MOTION_SCORES = Table(
    name="motion_scores",
    grain="clip",
    keys=("video_id", "clip_id"),
    version="5",
    columns=(
        VIDEO_ID,
        CLIP_ID,
        Column(
            "mean",
            pa.float32(),
            "mean motion over the whole clip and picture, in pixels per frame divided by width plus height",
        ),
        Column("patch_min", pa.float32(), "least of the patches' mean motions over the clip, in the same unit"),
        Column(
            "peak",
            pa.float32(),
            "what the liveliest patch reaches in a twentieth of the samples, and in two at least: whether anything "
            "moves anywhere in the picture. Not per frame, but up to the frame that a sample was compared with",
        ),
        Column(
            "global_mean",
            pa.float32(),
            "the mean as Cosmos-Curate computes it: over the first half of the clip, of the codec's motion vectors as "
            "they come, whose reference is one or several frames away; where the codec gives none, that is `mean`",
        ),
        Column(
            "per_patch_min_256",
            pa.float32(),
            "likewise, the least of what the middles of the patches move; where the codec gives none, that is "
            "`patch_min`",
        ),
    ),
    description=(
        "Motion of every clip, as a share of the picture's width plus height per frame: the mean over the whole clip "
        "and picture, the mean of the stillest 256-pixel patch, what the liveliest patch reaches in a twentieth of the "
        "time, and two of these as Cosmos-Curate computes them. Empty where a video is too short for any sample."
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
            distances = np.array(signal["sample_distances"], np.int32)
            motion = span_motion(frames, distances, patches, clip["start_frame"], clip["end_frame"])
            reference = _as_the_reference(signal, clip) or ReferenceMotion(motion.mean, motion.patch_min)
            key = {"video_id": clip["video_id"], "clip_id": clip["clip_id"]}
            rows.append({**key, **motion._asdict(), **reference._asdict()})
        return {MOTION_SCORES.name: rows}

    return score


def _as_the_reference(signal: Row, clip: Row) -> ReferenceMotion | None:
    frames = np.array(signal["reference_frames"], np.int64)
    shape = (len(frames), signal["patch_rows"], signal["patch_columns"])
    centres = np.array(signal["reference_centres"], np.float32).reshape(shape)
    means = np.array(signal["reference_means"], np.float32)
    seconds = (clip["end_ns"] - clip["start_ns"]) / SECOND
    return reference_motion(frames, means, centres, clip["start_frame"], clip["end_frame"], seconds)


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
        "motion_mean",
        "Motion",
        ("mean",),
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
        "motion_global_mean",
        "Motion, as Cosmos-Curate measures it",
        ("global_mean",),
        scale="log",
        within=(0, 1),
        thresholds=(at_least("Least mean motion as Cosmos-Curate measures it."),),
    ),
    Score(
        "motion_per_patch",
        "Motion of the stillest patch, as Cosmos-Curate measures it",
        ("per_patch_min_256",),
        scale="log",
        within=(0, 1),
        thresholds=(at_least("Least mean motion of the stillest 256-pixel patch, as Cosmos-Curate measures it."),),
    ),
)

ASSET = Asset(
    MOTION_SCORES,
    SCORE_MOTION,
    "measurements",
    scores=SCORES,
    recorded=Record("motion", ("mean", "patch_min", "peak", "global_mean", "per_patch_min_256")),
    exported=True,
)
