"""`clips`: spans of every video, from its shot-transition curve. Pure and quick: no pixel is looked at."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate_assets.graph.drift import Measures, measures_of_others, too_few, too_short_history
from curate_assets.graph.graph import Asset
from curate_assets.graph.platform import CheckLimits
from curate_assets.graph.score import Score, at_least, at_most
from curate_assets.graph.shard_checks import Check, Finding, Problems, Shard, nothing_wrong
from curate_assets.video.assets.shot_boundaries import SHOT_BOUNDARIES, parting_runs
from curate_assets.video.assets.shot_signals import SHOT_SIGNALS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS, VIDEO_ID
from curate_resources.declarations.stage import Stage, Work, Worker
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.storage.root import Storage
from gpu_kernels.shots.splitting import SECOND, ClipsConfig, clip_spans

_QUANTILES = tuple(step / 20 for step in range(21))
_SHORTEST = 1e-3
"""Seconds: shorter shots are all alike."""


def _measures(rows: pa.Table) -> Measures:
    """How many shots there are, and the _QUANTILES of their lengths in seconds, dropped ones included."""
    lengths: dict[tuple[str, int], int] = defaultdict(int)
    for row in rows.select(["video_id", "shot", "start_ns", "end_ns"]).to_pylist():
        if row["shot"] is not None:
            lengths[row["video_id"], row["shot"]] += row["end_ns"] - row["start_ns"]
    if not lengths:
        return {"shots": [0.0], "shot_seconds": []}
    seconds = np.array(list(lengths.values())) / SECOND
    return {"shots": [float(len(seconds))], "shot_seconds": np.quantile(seconds, _QUANTILES).tolist()}


CLIP_ID = Column(
    "clip_id", pa.string(), "id of the clip: the video's id, and its start and end in milliseconds", sought=True
)

CLIPS = Table(
    name="clips",
    grain="clip",
    keys=("video_id", "start_frame"),
    linked_by=("video_id", "clip_id"),
    identity=("clip_id",),
    version="3",
    sections=("clips",),
    measures=_measures,
    columns=(
        VIDEO_ID,
        replace(CLIP_ID, meaning=CLIP_ID.meaning + "; null for a span that is not a clip"),
        Column(
            "shot",
            pa.int32(),
            "number of the shot in its video, from 0; of the piece, with `clips.splitter: fixed_stride`",
        ),
        Column("start_frame", pa.int64(), "first frame"),
        Column("end_frame", pa.int64(), "the frame after the last one"),
        Column("start_ns", pa.int64(), "presentation time of the first frame"),
        Column("end_ns", pa.int64(), "where the last frame ends"),
        Column(
            "dropped", pa.string(), "why the span is not a clip: `too_short` (in seconds), or else `too_few_frames`"
        ),
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
        parting = parting_runs(work.inputs[SHOT_BOUNDARIES.name]) if config.shot_boundaries.enabled else None
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
            if parting is not None and video_id not in parting:
                raise ValueError("its transitions were not judged: see the error of its row in shot_boundaries")
            runs = parting[video_id] if parting is not None else None
            for span in clip_spans(curve, pts, end_ns, config.clips, runs):
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
    reads=(SHOT_SIGNALS.name, SHOT_BOUNDARIES.name),
    writes=(CLIPS,),
    open=open_splitter,
    settled=settled_clips,
)


def _spans_inside(shard: Shard) -> Problems:
    videos = {row["video_id"]: row for row in shard.good(SHOT_SIGNALS)}
    found: Problems = []
    for row in shard.rows(CLIPS):
        if row["status"] == "failed":
            continue
        frames = videos[row["video_id"]]["frames"] if row["video_id"] in videos else None
        if (
            frames is None
            or not 0 <= row["start_frame"] < row["end_frame"] <= frames
            or row["start_ns"] >= row["end_ns"]
        ):
            span = f"frames [{row['start_frame']}, {row['end_frame']}), [{row['start_ns']}, {row['end_ns']}) ns"
            found.append(f"{shard.named(CLIPS, row)}: {span}, of {frames} frames")
    return found


def _spans_apart(shard: Shard) -> Problems:
    rows = sorted(shard.good(CLIPS), key=lambda row: (row["video_id"], row["start_frame"]))
    return [
        f"{shard.named(CLIPS, later)} begins before {earlier['clip_id']} ends"
        for earlier, later in pairwise(rows)
        if earlier["video_id"] == later["video_id"] and later["start_frame"] < earlier["end_frame"]
    ]


class ClipsLimits(CheckLimits):
    """What the checks of `clips` accept."""

    max_shot_length_factor: float = Field(default=2.0, ge=1)
    """How many times as long, or as short, as in other shards shots may be."""


def _shots_changed(shard: Shard) -> Finding:
    """Wasserstein's distance between the distributions of the logarithms of lengths, told as a factor."""
    measured, others = shard.measures(CLIPS), measures_of_others(shard, CLIPS, "shots")
    if note := too_few(shard, measured["shots"][0], "shots") or too_short_history(shard, len(others)):
        return Finding([], note=note)
    own, *elsewhere = [np.log(np.maximum(each["shot_seconds"], _SHORTEST)) for each in (measured, *others)]
    usual = np.mean(elsewhere, axis=0)  # of quantiles: Wasserstein's mean of the distributions
    factor, limit = float(np.exp(np.abs(own - usual).mean())), shard.limits(ClipsLimits).max_shot_length_factor
    middle = len(usual) // 2
    said = (
        f"shots are {factor:.1f} times as long or as short as elsewhere, more than {limit:g}: "
        f"the median is {np.exp(own[middle]):.2f} s, elsewhere {np.exp(usual[middle]):.2f} s"
    )
    return Finding([said] if factor > limit else [], {"length_factor": factor, "shards_compared": len(others)})


CHECKS = (
    Check(
        CLIPS,
        "spans_inside_video",
        "Every span lies inside its video.",
        nothing_wrong(_spans_inside),
        "select c.video_id, c.clip_id, c.start_frame, c.end_frame, s.frames from clips c "
        "left join shot_signals s using (shard, video_id) where c.shard = $shard and c.status <> 'failed' "
        "and not coalesce(c.start_frame >= 0 and c.start_frame < c.end_frame and c.end_frame <= s.frames "
        "and c.start_ns < c.end_ns, false)",
    ),
    Check(
        CLIPS,
        "spans_apart",
        "Clips of a video do not overlap.",
        nothing_wrong(_spans_apart),
        "select video_id, clip_id, start_frame, end_frame from clips where shard = $shard and status = 'ok' "
        "qualify start_frame < lag(end_frame) over (partition by video_id order by start_frame)",
    ),
    Check(
        CLIPS,
        "shot_lengths_steady",
        "Shots are as long as those of other shards, to a factor of checks.max_shot_length_factor.",
        _shots_changed,
        "select video_id, shot, sum(end_ns - start_ns) / 1e9 as seconds from clips "
        "where shard = $shard and shot is not null group by video_id, shot order by seconds",
        warns=True,
    ),
)


def _splits_what_is_scanned(config: Any) -> None:
    if config.clips.splitter == "shots" and config.shot_signals.network == "none":
        raise ValueError("clips.splitter: shots needs a network; shot_signals.network: none goes with fixed_stride")


SCORES = (
    Score(
        "seconds",
        "Clip length",
        ("start_ns", "end_ns"),
        lambda row: (row["end_ns"] - row["start_ns"]) / SECOND,
        unit="s",
        arithmetic=True,
        steady=False,  # shot_lengths_steady looks at the shots that they are cut from
        thresholds=(at_least("Least length of a clip."), at_most("Greatest length of a clip.", gt=0)),
    ),
)

ASSET = Asset(
    CLIPS,
    SPLIT,
    "clips",
    CHECKS,
    scores=SCORES,
    section=ClipsConfig,
    agrees=_splits_what_is_scanned,
    limits=ClipsLimits,
    exported=True,
)
