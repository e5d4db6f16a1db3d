"""`shot_boundaries`: what becomes of each transition that the shot network suspects, by what the pictures say."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from curate_assets.graph.graph import Asset
from curate_assets.video.assets.boundary_signals import BOUNDARY_SIGNALS
from curate_assets.video.assets.shot_signals import SHOT_SIGNALS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS, VIDEO_ID
from curate_assets.video.measuring import unless_enabled
from curate_resources.declarations.stage import Stage, Work, Worker
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.storage.root import Storage
from gpu_kernels.shots.evidence import FIELDS, FLOOR
from gpu_kernels.shots.verdicts import PARTING, ShotBoundariesConfig, judged

SHOT_BOUNDARIES = Table(
    name="shot_boundaries",
    grain="boundary",
    keys=("video_id", "first_frame"),
    version="2",
    identity=("first_frame", "end_frame", "verdict"),
    sections=("clips", "shot_boundaries"),
    columns=(
        VIDEO_ID,
        Column("first_frame", pa.int64(), "first frame of the transition; of a cut, the earlier shot's last"),
        Column("end_frame", pa.int64(), "the frame after its last one"),
        Column("probability", pa.float32(), "the network's, at its greatest"),
        Column("sureness", pa.float32(), "how likely shots change here by the pictures and the network, 0 to 1"),
        Column(
            "label",
            pa.string(),
            "`cut`, `dissolve` or `fade`; of what is no transition, `flash` or `motion`",
        ),
        Column(
            "verdict",
            pa.string(),
            "`confirmed`; `dropped`; `added`, where the network suspects it and does not call it; `stitched`, where "
            "the shots on both sides are alike. Clips are cut at what is confirmed or added",
        ),
    ),
    description=(
        "The transitions that the shot network calls or suspects, and what the pictures on both sides say of each. "
        "Clips are cut by these rows where `shot_boundaries.enabled` is true; else there are none. A video in which "
        "nothing is suspected has one row that is empty."
    ),
)


def open_judge(config: Any, storage: Storage) -> Worker:
    """A worker that judges the transitions of videos."""

    def judge(work: Work) -> Mapping[str, list[Row]]:
        tables = (work.inputs[name].to_pylist() for name in (SHOT_SIGNALS.name, BOUNDARY_SIGNALS.name))
        shots, pictures = ({row["video_id"]: row for row in rows if row["status"] == "ok"} for rows in tables)
        rows: list[Row] = []
        for video_id in work.items["video_id"].to_pylist():
            if video_id not in shots or video_id not in pictures:
                raise ValueError("the video has no signals: see the error of its row in boundary_signals")
            seen = pictures[video_id]
            frames = np.array(seen["frame"], np.int64)
            evidence = np.array(seen["evidence"], np.float32).reshape(len(frames), len(FIELDS))
            curve = np.array(shots[video_id]["transition"], np.float32)[: seen["frames"]]
            found = judged(curve, frames, evidence, config.clips.transition_threshold, config.shot_boundaries)
            rows += [
                {
                    "video_id": video_id,
                    "first_frame": boundary.first,
                    "end_frame": boundary.end,
                    "probability": boundary.probability,
                    "sureness": boundary.sure,
                    "label": boundary.label,
                    "verdict": boundary.verdict,
                }
                for boundary in found
            ] or [{"video_id": video_id, "first_frame": 0, "end_frame": 0, "status": "empty"}]
        return {SHOT_BOUNDARIES.name: rows}

    return judge


def parting_runs(boundaries: pa.Table) -> dict[str, list[tuple[int, int]]]:
    """By video, the runs of frames [first, end) that part its shots; of videos that have been judged."""
    runs: dict[str, list[tuple[int, int]]] = {}
    for row in sorted(boundaries.to_pylist(), key=lambda row: row["first_frame"] or 0):
        if row["status"] != "failed":
            own = runs.setdefault(row["video_id"], [])
            if row["verdict"] in PARTING:
                own.append((row["first_frame"], row["end_frame"]))
    return runs


JUDGE_BOUNDARIES = Stage(
    name="judge_boundaries",
    item=SOURCE_VIDEOS.name,
    reads=(SHOT_SIGNALS.name, BOUNDARY_SIGNALS.name),
    writes=(SHOT_BOUNDARIES,),
    open=open_judge,
    idle=unless_enabled(SHOT_BOUNDARIES.name),
)


def _agree(config: Any) -> None:
    if not config.shot_boundaries.enabled:
        return
    if config.shot_signals.network == "none":
        raise ValueError("shot_boundaries.enabled needs a network, and shot_signals.network is none")
    if config.clips.transition_threshold < FLOOR:
        raise ValueError(
            f"clips.transition_threshold is below {FLOOR:g}, from which on shot_boundaries looks at transitions: "
            f"set it to {FLOOR:g} or more, or shot_boundaries.enabled: false"
        )


ASSET = Asset(SHOT_BOUNDARIES, JUDGE_BOUNDARIES, "signals", section=ShotBoundariesConfig, agrees=_agree)
