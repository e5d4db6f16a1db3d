"""`stillness`: what of each clip stands still, repeats itself or shows nothing, from the signals of its frames."""

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
from gpu_kernels.scores.stillness import ClipFrames, StillnessConfig, stillness

STILLNESS = Table(
    name="stillness",
    grain="clip",
    keys=("video_id", "clip_id"),
    sections=("stillness",),
    columns=(
        VIDEO_ID,
        CLIP_ID,
        Column("still", pa.float32(), "share of the clip in which the picture stands for `stillness.least_seconds`"),
        Column("longest_still", pa.float32(), "seconds of the longest such stretch"),
        Column(
            "frozen",
            pa.float32(),
            "share in which it stands to the last pixel while the rest of the clip moves; 0 where all of it stands",
        ),
        Column("slides", pa.int32(), "pictures that follow each other as in a slideshow; 0 if it is none"),
        Column("repeated", pa.float32(), "share of the frames outside still stretches that repeat the one before"),
        Column("fades", pa.int32(), "fades from and to a picture of one colour"),
        Column("flashes", pa.int32(), "sudden brightness that is over within a quarter of a second"),
        Column("black", pa.float32(), "share in which nearly all of the picture is black"),
        Column("single_colour", pa.float32(), "share in which nearly all of it has one colour, black included"),
    ),
    description=(
        "Per clip: still and frozen stretches, slideshows, repeated frames, fades and flashes, and time without a "
        "picture. From signals of every frame."
    ),
)


def open_stillness(config: Any, storage: Storage) -> Worker:
    """A worker that looks at the signals of spans."""
    settings: StillnessConfig = config.stillness

    def measure(work: Work) -> Mapping[str, list[Row]]:
        signals = signals_by_video(work.inputs[FRAME_SIGNALS.name], (*ClipFrames._fields[1:], "pts_ns"))
        rows: list[Row] = []
        for clip in work.items.to_pylist():
            signal = signals(clip["video_id"])
            span = slice(clip["start_frame"], clip["end_frame"])
            values = {name: signal[name][span] for name in ClipFrames._fields[1:]}
            seconds = np.diff(signal["pts_ns"][span], append=clip["end_ns"]) / 1e9
            found = stillness(ClipFrames(seconds=seconds, **values), settings)
            rows.append({"video_id": clip["video_id"], "clip_id": clip["clip_id"], **found._asdict()})
        return {STILLNESS.name: rows}

    return measure


MEASURE_STILLNESS = Stage(
    name="measure_stillness",
    item=CLIPS.name,
    reads=(FRAME_SIGNALS.name,),
    writes=(STILLNESS,),
    open=open_stillness,
    idle=unless_enabled("stillness"),
)

SCORES = (
    Score(
        "still_share",
        "Still",
        ("still",),
        within=(0, 1),
        thresholds=(at_most("Greatest share of a clip in which the picture stands. FineVideo has 0.4.", ge=0, le=1),),
    ),
    Score(
        "frozen_share",
        "Frozen",
        ("frozen",),
        within=(0, 1),
        thresholds=(
            at_most(
                "Greatest share of a clip in which the picture is frozen while the rest moves.", default=0.2, ge=0, le=1
            ),
        ),
    ),
    Score(
        "slides",
        "Pictures of a slideshow",
        ("slides",),
        scale="values",
        steady=False,
        thresholds=(
            at_most("Most pictures that may follow each other as in a slideshow.", default=0, whole=True, ge=0),
        ),
    ),
    Score(
        "repeated_share",
        "Repeated frames",
        ("repeated",),
        within=(0, 1),
        thresholds=(
            at_most(
                "Greatest share of moving frames that repeat the one before: 0.2 of film shown at 30 per second, 0.5 "
                "of animation on twos.",
                ge=0,
                le=1,
            ),
        ),
    ),
    Score(
        "flashes",
        "Flashes",
        ("flashes",),
        scale="values",
        steady=False,
        thresholds=(at_most("Most flashes of a clip.", whole=True, ge=0),),
    ),
    Score(
        "black_share",
        "Black",
        ("black",),
        within=(0, 1),
        thresholds=(at_most("Greatest share of a clip that is black.", default=0.5, ge=0, le=1),),
    ),
    Score(
        "single_colour_share",
        "One colour",
        ("single_colour",),
        within=(0, 1),
        thresholds=(
            at_most("Greatest share of a clip that shows but one colour, black included.", default=0.5, ge=0, le=1),
        ),
    ),
)

ASSET = Asset(
    STILLNESS,
    MEASURE_STILLNESS,
    "measurements",
    scores=SCORES,
    recorded=Record("stillness", ("still", "frozen", "slides", "repeated", "flashes", "black", "single_colour")),
    section=StillnessConfig,
    exported=True,
)
