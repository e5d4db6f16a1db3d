"""`brightness_scores`: how bright every clip is. A measurement that clips can be selected by; it decodes nothing.

In the package that brings it:

    [project.entry-points."curate.measurements"]
    brightness_scores = "brightness:ASSET"

`clip_selection: {brightness_min: 0.1}` then rejects dark clips.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate_assets import Asset, Column, Record, Row, Score, Stage, Storage, StrictModel, Table, Work, Worker, at_least
from curate_assets.video import CLIP_ID, CLIPS, MOTION_SIGNALS, VIDEO_ID


class BrightnessConfig(StrictModel):
    """How bright clips are."""

    dark_quantile: float = Field(default=0.0, ge=0, le=1)
    """The share of a clip's frames that may be darker than its `luma_dark`."""


BRIGHTNESS_SCORES = Table(
    name="brightness_scores",
    grain="clip",
    keys=("video_id", "clip_id"),
    sections=("brightness_scores",),
    columns=(
        VIDEO_ID,
        CLIP_ID,
        Column("luma_mean", pa.float32(), "mean luma of its frames, 0 to 1"),
        Column("luma_dark", pa.float32(), "luma that no more than `dark_quantile` of its frames are below"),
    ),
    description="Luma of every clip, 0 to 1: the mean over its frames, and that of its darkest ones.",
)


def open_brightness_scorer(config: Any, storage: Storage) -> Worker:
    """A worker that averages luma over spans."""
    quantile = config.brightness_scores.dark_quantile

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
                    "luma_dark": np.quantile(span, quantile),
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

SCORES = (
    Score(
        "brightness",
        "Brightness",
        ("luma_mean",),
        within=(0, 1),
        thresholds=(at_least("Least mean luma of a clip, 0 to 1."),),
    ),
)

ASSET = Asset(
    BRIGHTNESS_SCORES,
    SCORE_BRIGHTNESS,
    group="clips",
    scores=SCORES,
    recorded=Record("brightness", ("luma_mean", "luma_dark")),
    section=BrightnessConfig,
    exported=True,
)
