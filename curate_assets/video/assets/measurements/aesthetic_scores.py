"""`aesthetic_scores`: how pleasing each clip looks, from its storyboard's pictures."""

from typing import Any

import pyarrow as pa

from curate_assets.graph.graph import Asset, Record
from curate_assets.graph.score import Score, at_least
from curate_assets.graph.stage_resources import model_needs
from curate_assets.video.assets.clips import CLIP_ID, CLIPS
from curate_assets.video.assets.source_videos import VIDEO_ID
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.clip_pictures import Pictures, over_pictures
from curate_assets.video.measuring import SO_FAR, unless_enabled, unless_rejected
from curate_resources.declarations.stage import Stage, Worker
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.models.fetching import ensure
from curate_resources.storage.root import Storage
from gpu_kernels.scores.aesthetic import AestheticRater, AestheticScoresConfig

AESTHETIC_SCORES = Table(
    name="aesthetic_scores",
    grain="clip",
    keys=("video_id", "clip_id"),
    sections=("aesthetic_scores",),
    model=lambda config: config.aesthetic_scores.identity(),
    columns=(
        VIDEO_ID,
        CLIP_ID,
        Column("pictures", pa.int32(), "storyboard pictures that were rated"),
        Column("lowest", pa.float32(), "the lowest score of a picture, by which the reference goes by default"),
        Column("mean", pa.float32(), "the mean of all pictures"),
        Column("model", pa.string(), "the CLIP and the head"),
        Column("model_revision", pa.string(), "what pins them: see [models](models.md#what-pins-a-model)"),
    ),
    description="The aesthetic score of every clip, as the reference's: by a CLIP and a head that have to be named.",
)


def open_rater(config: Any, storage: Storage) -> Worker:
    """A worker that rates clips."""
    settings: AestheticScoresConfig = config.aesthetic_scores
    rate, (name, revision) = AestheticRater(settings), settings.identity()

    def rated(pictures: Pictures) -> Row:
        scores = [rate(picture) for _, picture in pictures]
        return {
            "pictures": len(scores),
            "lowest": min(scores),
            "mean": sum(scores) / len(scores),
            "model": name,
            "model_revision": revision,
        }

    return over_pictures(AESTHETIC_SCORES, storage, settings.frames_per_second, rated)


def fetch_models(config: Any, _: Storage) -> None:
    """Once per machine."""
    ensure(config.aesthetic_scores.models(), config.models)


RATE_CLIPS = Stage(
    name="rate_clips",
    item=CLIPS.name,
    reads=(STORYBOARDS.name,),
    writes=(AESTHETIC_SCORES,),
    open=open_rater,
    prepare=fetch_models,
    heavy=True,
    needs_of=lambda config: model_needs(config.aesthetic_scores.device, 0.125),
    idle=unless_enabled("aesthetic_scores"),
    gates=(SO_FAR,),
    eligible=unless_rejected("aesthetic_scores"),
)

SCORES = (
    Score(
        "aesthetic",
        "Aesthetic score of the worst picture",
        ("lowest",),
        thresholds=(at_least("Least aesthetic score of any picture of a clip. 3.5 is usual with the reference."),),
    ),
    Score(
        "aesthetic_mean",
        "Aesthetic score",
        ("mean",),
        thresholds=(at_least("Least mean aesthetic score of a clip's pictures."),),
    ),
)

ASSET = Asset(
    AESTHETIC_SCORES,
    RATE_CLIPS,
    "measurements",
    scores=SCORES,
    recorded=Record("aesthetic", ("lowest", "mean")),
    section=AestheticScoresConfig,
    exported=True,
)
