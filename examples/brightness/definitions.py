"""`brightness_scores`: how bright every clip is. A new asset on the video graph, in one file; it decodes nothing.

dagster asset materialize -f examples/brightness/definitions.py --select brightness_scores --partition <shard>
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from curate_assets.graph.graph import Asset
from curate_assets.orchestration.asset_graph import definitions
from curate_assets.video.assets.clips import CLIP_ID, CLIPS
from curate_assets.video.assets.motion_signals import MOTION_SIGNALS
from curate_assets.video.assets.source_videos import VIDEO_ID
from curate_assets.video.graph import VIDEO
from curate_resources.declarations.stage import Stage, Work, Worker
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.storage.root import Storage

BRIGHTNESS_SCORES = Table(
    name="brightness_scores",
    grain="clip",
    keys=("video_id", "clip_id"),
    columns=(
        VIDEO_ID,
        CLIP_ID,
        Column("luma_mean", pa.float32(), "mean luma of its frames, 0 to 1"),
        Column("luma_min", pa.float32(), "luma of its darkest frame"),
    ),
    description="Luma of every clip, 0 to 1: the mean over its frames, and that of its darkest frame.",
)


def open_brightness_scorer(config: Any, storage: Storage) -> Worker:
    """A worker that averages luma over spans."""

    def score(work: Work) -> Mapping[str, list[Row]]:
        luma = {
            signal["video_id"]: np.array(signal["luma"], np.float64)
            for signal in work.inputs[MOTION_SIGNALS.name].to_pylist()
            if signal["status"] == "ok"
        }
        rows: list[Row] = []
        for clip in work.items.to_pylist():
            if clip["video_id"] not in luma:
                raise ValueError("the video has no signals: see the error of its row in motion_signals")
            span = luma[clip["video_id"]][clip["start_frame"] : clip["end_frame"]]
            rows.append(
                {
                    "video_id": clip["video_id"],
                    "clip_id": clip["clip_id"],
                    "luma_mean": span.mean(),
                    "luma_min": span.min(),
                }
            )
        return {BRIGHTNESS_SCORES.name: rows}

    return score


SCORE_BRIGHTNESS = Stage(
    name="score_brightness",
    item=CLIPS.name,
    reads=(MOTION_SIGNALS.name,),
    writes=(BRIGHTNESS_SCORES,),
    open=open_brightness_scorer,
)

ASSET = Asset(BRIGHTNESS_SCORES, SCORE_BRIGHTNESS, group="clips")

GRAPH = VIDEO.extended([ASSET])

defs = definitions(GRAPH)
