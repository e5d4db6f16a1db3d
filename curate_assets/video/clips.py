"""`clips`: spans of every video, from its shot-transition curve. Pure and quick: no pixel is looked at."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from curate_assets.video.measures import shot_lengths
from curate_assets.video.signals import SHOT_SIGNALS
from curate_assets.video.source_videos import SOURCE_VIDEOS, VIDEO_ID
from curate_resources.stage import Column, Row, Stage, Table, Work, Worker
from curate_resources.storage import Storage
from gpu_kernels.clips import clip_spans

CLIP_ID = Column("clip_id", pa.string(), "id of the clip: the video's id, and its start and end in milliseconds")

CLIPS = Table(
    name="clips",
    grain="clip",
    keys=("video_id", "start_frame"),
    linked_by=("video_id", "clip_id"),
    identity=("clip_id",),
    version="3",
    sections=("clips",),
    measures=shot_lengths,
    columns=(
        VIDEO_ID,
        replace(CLIP_ID, meaning=CLIP_ID.meaning + "; null for a span that is no clip"),
        Column(
            "shot",
            pa.int32(),
            "number of the shot in its video, from 0; of the piece, with `clips.splitter: fixed_stride`",
        ),
        Column("start_frame", pa.int64(), "first frame"),
        Column("end_frame", pa.int64(), "the frame after the last one"),
        Column("start_ns", pa.int64(), "presentation time of the first frame"),
        Column("end_ns", pa.int64(), "where the last frame ends"),
        Column("dropped", pa.string(), "why the span is no clip: `too_short` (in seconds), or else `too_few_frames`"),
    ),
    description=(
        "Spans of every video, half open, in frames and nanoseconds. `clip_id` is the video's id and the span in "
        "time. A shot that is too short for a clip, or has too few frames, is an empty row that says so in `dropped`."
    ),
)


def clip_id(video_id: str, start_ns: int, end_ns: int) -> str:
    """A clip's id: its video's id and its span in milliseconds; sorts by video and time."""
    return f"{video_id}-{start_ns // 1_000_000:09d}-{end_ns // 1_000_000:09d}"


def open_splitter(config: Any, storage: Storage) -> Worker:
    """A worker that cuts transition curves into spans."""

    def split(work: Work) -> Mapping[str, list[Row]]:
        signals = {row["video_id"]: row for row in work.inputs[SHOT_SIGNALS.name].to_pylist() if row["status"] == "ok"}
        rows: list[Row] = []
        for video in work.items.select(["video_id", "first_pts_ns", "duration_ns"]).to_pylist():
            video_id, end_ns = video["video_id"], video["first_pts_ns"] + video["duration_ns"]
            if video_id not in signals:
                raise ValueError("the video has no shot signals: see the error of its row in shot_signals")
            signal = signals[video_id]
            pts = np.array(signal["pts_ns"], np.int64)
            curve = np.array(signal["transition"], np.float32)
            if (np.diff(pts) <= 0).any():
                raise ValueError("the frames' times go back: materialize shot_signals of this shard with --force")
            if config.clips.splitter == "shots" and len(curve) != len(pts):
                raise ValueError("the video was scanned with shot_signals.network: none, so it cannot be cut at shots")
            for span in clip_spans(curve, pts, end_ns, config.clips):
                rows.append(
                    {
                        "video_id": video_id,
                        "clip_id": None if span.dropped else clip_id(video_id, span.start_ns, span.end_ns),
                        "shot": span.shot,
                        "start_frame": span.start_frame,
                        "end_frame": span.end_frame,
                        "start_ns": span.start_ns,
                        "end_ns": span.end_ns,
                        "dropped": span.dropped,
                        "status": "empty" if span.dropped else "ok",
                    }
                )
        return {CLIPS.name: rows}

    return split


def settled_clips(clips: pa.Table) -> pa.Table:
    """Of the clips of a video's beginning, those that its rest cannot change: all but those of the last shot."""
    shots = clips["shot"].to_pylist()  # none where the row failed
    last = max((shot for shot in shots if shot is not None), default=0)
    return clips.filter(pa.array([shot is not None and shot < last for shot in shots], pa.bool_()))


SPLIT = Stage(
    name="split",
    item=SOURCE_VIDEOS.name,
    reads=(SHOT_SIGNALS.name,),
    writes=(CLIPS,),
    open=open_splitter,
    settled=settled_clips,
)
