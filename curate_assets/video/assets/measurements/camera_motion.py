"""`camera_motion`: pans, tilts, zooms, rolls and shakes of each clip, from samples of the scan."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from curate_assets.graph.graph import Asset, Record
from curate_assets.graph.score import Score, at_most
from curate_assets.video.assets.clips import CLIP_ID, CLIPS
from curate_assets.video.assets.frame_signals import FRAME_SIGNALS, signals_by_video
from curate_assets.video.assets.source_videos import VIDEO_ID
from curate_assets.video.measuring import unless_enabled
from curate_resources.declarations.stage import Stage, Work, Worker
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.storage.root import Storage
from gpu_kernels.scores.camera_motion import CameraMotionConfig, Step, camera_motion

CAMERA_MOTION = Table(
    name="camera_motion",
    grain="clip",
    keys=("video_id", "clip_id"),
    columns=(
        VIDEO_ID,
        CLIP_ID,
        Column("label", pa.string(), "what the camera does most of the time; `unknown` where too little moves as one"),
        Column("labels", pa.list_(pa.string()), "all that it does for a third of the time at least, most first"),
        Column("known", pa.float32(), "share of the samples in which it can be said what it does"),
        Column("pan", pa.float32(), "its mean turn to the right, as a share of the picture's longer side per second"),
        Column("tilt", pa.float32(), "its mean turn upwards, in the same unit"),
        Column("zoom", pa.float32(), "by what share the picture grows in a second, on average"),
        Column("roll", pa.float32(), "its mean turn clockwise, in degrees per second"),
        Column(
            "strength",
            pa.float32(),
            "what the picture's edge moves in a second, as a share of its longer side: the median of the samples",
        ),
        Column(
            "jitter",
            pa.float32(),
            "the same, of what departs from the samples around it, which is shaking: also the median",
        ),
        Column("static", pa.float32(), "share of these samples in which the camera stands"),
    ),
    description=(
        "Per clip: what the camera does, in words and in numbers, from sparse features that are followed from frame to "
        "frame at a few frames per second. Numbers are null where the word is `unknown`."
    ),
)

_STEP = Step._fields


def open_camera_motion(config: Any, storage: Storage) -> Worker:
    """A worker that looks at the samples within spans."""

    def measure(work: Work) -> Mapping[str, list[Row]]:
        signals = signals_by_video(
            work.inputs[FRAME_SIGNALS.name], ("sample_frames", "sample_others", "sample_step_ns", *_STEP)
        )
        rows: list[Row] = []
        for clip in work.items.to_pylist():
            signal = signals(clip["video_id"])
            within = (signal["sample_frames"] >= clip["start_frame"]) & (signal["sample_others"] < clip["end_frame"])
            steps = np.stack([signal[name][within] for name in _STEP], axis=1).astype(np.float64)
            found = camera_motion(steps, signal["sample_step_ns"][within] / 1e9)
            rows.append({"video_id": clip["video_id"], "clip_id": clip["clip_id"], **found._asdict()})
        return {CAMERA_MOTION.name: rows}

    return measure


MEASURE_CAMERA_MOTION = Stage(
    name="measure_camera_motion",
    item=CLIPS.name,
    reads=(FRAME_SIGNALS.name,),
    writes=(CAMERA_MOTION,),
    open=open_camera_motion,
    idle=unless_enabled("camera_motion"),
)


def _jitter(row: Row) -> float:
    return row["jitter"] or 0.0


def _strength(row: Row) -> float:
    return row["strength"] or 0.0


SCORES = (
    Score(
        "camera_jitter",
        "Shaking of the camera",
        ("jitter",),
        _jitter,
        thresholds=(
            at_most(
                "Greatest typical (median) shaking, as a share of the longer side per second. A clip where it cannot "
                "be said passes."
            ),
        ),
    ),
    Score(
        "camera_strength",
        "Motion of the camera",
        ("strength",),
        _strength,
        thresholds=(
            at_most(
                "Greatest typical (median) motion of the camera, as a share of the longer side per second. A brief "
                "fast move passes, and so does a clip where it cannot be said."
            ),
        ),
    ),
)

ASSET = Asset(
    CAMERA_MOTION,
    MEASURE_CAMERA_MOTION,
    "measurements",
    scores=SCORES,
    recorded=Record("camera", ("label", "labels", "pan", "tilt", "zoom", "roll", "strength", "jitter")),
    section=CameraMotionConfig,
    exported=True,
)
