"""`technical_quality`: blur, noise, compression, exposure and the like of each clip, over time, from the scan."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from curate_assets.graph.graph import Asset, Record
from curate_assets.graph.score import Score, at_least, at_most
from curate_assets.video.assets.clips import CLIP_ID, CLIPS
from curate_assets.video.assets.frame_signals import FRAME_SIGNALS, signals_by_video
from curate_assets.video.assets.source_videos import VIDEO_ID
from curate_assets.video.measuring import unless_enabled
from curate_resources.declarations.stage import Stage, Work, Worker
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.storage.root import Storage
from gpu_kernels.scores.clip_quality import OF_FRAMES, OF_SAMPLES, TechnicalQualityConfig, clip_quality

_WHAT = {
    "blur": "the re-blur ratio, 0 (sharp) to 1",
    "noise": "the noise, in grey levels of 255",
    "blockiness": "differences across borders of blocks of 8 pixels, by those within",
    "banding": "the share of pixels in steps of what should be a gradient",
    "combing": "the share of pixels that are like a line of another field",
    "dark": "the share of pixels at the darkest levels",
    "bright": "the share of pixels at the brightest levels",
    "luma": "mean luma, 0 to 1",
    "contrast": "the standard deviation of luma, 0 to 0.5",
    "colourfulness": "colourfulness (Hasler and Suesstrunk)",
}

TECHNICAL_QUALITY = Table(
    name="technical_quality",
    grain="clip",
    keys=("video_id", "clip_id"),
    version="2",
    columns=(
        VIDEO_ID,
        CLIP_ID,
        *(Column(name, pa.float32(), f"{what}: the median over the clip") for name, what in _WHAT.items()),
        *(
            Column(f"{name}_{end}", pa.float32(), f"{what}: what {share} of the clip is below")
            for name, what in _WHAT.items()
            for end, share in (("low", "a tenth"), ("high", "nine tenths"))
        ),
    ),
    description=(
        "Per clip: blur, noise, blocks, banding, woven fields and clipped levels of a few frames per second at full "
        "size, and luma, contrast and colourfulness of every frame. Null where no sampled frame shows anything, or the "
        "picture is less than 16 pixels wide or high."
    ),
)


def open_technical_quality(config: Any, storage: Storage) -> Worker:
    """A worker that summarises signals over spans."""

    def measure(work: Work) -> Mapping[str, list[Row]]:
        signals = signals_by_video(work.inputs[FRAME_SIGNALS.name], ("sample_frames", *OF_SAMPLES, *OF_FRAMES))
        rows: list[Row] = []
        for clip in work.items.to_pylist():
            signal = signals(clip["video_id"])
            start, end = clip["start_frame"], clip["end_frame"]
            at = signal["sample_frames"]
            within = (at >= start) & (at < end)
            samples = {name: signal[name][within] for name in OF_SAMPLES}
            frames = {name: signal[name][start:end] for name in OF_FRAMES}
            found = clip_quality(samples, frames, at[within] - start)
            rows.append({"video_id": clip["video_id"], "clip_id": clip["clip_id"], **found})
        return {TECHNICAL_QUALITY.name: rows}

    return measure


MEASURE_TECHNICAL_QUALITY = Stage(
    name="measure_technical_quality",
    item=CLIPS.name,
    reads=(FRAME_SIGNALS.name,),
    writes=(TECHNICAL_QUALITY,),
    open=open_technical_quality,
    idle=unless_enabled("technical_quality"),
)

SCORES = (
    Score(
        "blur",
        "Blur",
        ("blur",),
        within=(0, 1),
        thresholds=(at_most("Greatest median blur of a clip, 0 to 1. Noise counts as sharpness.", ge=0, le=1),),
    ),
    Score(
        "noise", "Noise", ("noise",), thresholds=(at_most("Greatest median noise of a clip, in grey levels of 255."),)
    ),
    Score(
        "blockiness",
        "Blockiness",
        ("blockiness",),
        thresholds=(at_most("Greatest median blockiness of a clip; about 1 without blocks."),),
    ),
    Score(
        "banding",
        "Banding",
        ("banding",),
        within=(0, 1),
        thresholds=(at_most("Greatest median share of pixels in bands.", ge=0, le=1),),
    ),
    Score(
        "combing",
        "Woven fields",
        ("combing_high",),
        within=(0, 1),
        thresholds=(at_most("Greatest share of pixels between fields, in a tenth of the clip.", ge=0, le=1),),
    ),
    Score(
        "dark_clipped",
        "Clipped darkness",
        ("dark",),
        within=(0, 1),
        thresholds=(at_most("Greatest share of pixels at the darkest levels.", ge=0, le=1),),
    ),
    Score(
        "bright_clipped",
        "Clipped brightness",
        ("bright",),
        within=(0, 1),
        thresholds=(at_most("Greatest share of pixels at the brightest levels.", ge=0, le=1),),
    ),
    Score(
        "exposure",
        "Luma",
        ("luma",),
        within=(0, 1),
        thresholds=(at_least("Least mean luma.", ge=0, le=1), at_most("Greatest mean luma.", ge=0, le=1)),
    ),
    Score(
        "contrast",
        "Contrast",
        ("contrast",),
        within=(0, 0.5),
        thresholds=(at_least("Least median contrast of a clip, 0 to 0.5."),),
    ),
    Score(
        "colourfulness",
        "Colourfulness",
        ("colourfulness",),
        thresholds=(at_least("Least median colourfulness of a clip; 0 is grey."),),
    ),
)

ASSET = Asset(
    TECHNICAL_QUALITY,
    MEASURE_TECHNICAL_QUALITY,
    "measurements",
    scores=SCORES,
    recorded=Record("quality", tuple(_WHAT)),
    section=TechnicalQualityConfig,
    exported=True,
)
