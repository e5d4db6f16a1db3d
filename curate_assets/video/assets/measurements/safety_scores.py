"""`safety_scores`: how explicit each clip looks, from its storyboard's pictures."""

from typing import Any

import pyarrow as pa

from curate_assets.graph.graph import Asset, Record
from curate_assets.graph.score import Score, at_most
from curate_assets.video.assets.clips import CLIP_ID, CLIPS
from curate_assets.video.assets.source_videos import VIDEO_ID
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.clip_pictures import Pictures, over_pictures
from curate_assets.video.measuring import SO_FAR, unless_enabled, unless_rejected
from curate_resources.declarations.stage import Stage, Worker
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.storage.root import Storage
from gpu_kernels.scores.safety import ExplicitContent, Exposed, ExposedParts, SafetyScoresConfig, safety_of

SAFETY_SCORES = Table(
    name="safety_scores",
    grain="clip",
    keys=("video_id", "clip_id"),
    sections=("safety_scores",),
    model=lambda config: config.safety_scores.identity(),
    columns=(
        VIDEO_ID,
        CLIP_ID,
        Column("pictures", pa.int32(), "storyboard pictures that were looked at"),
        Column("explicit", pa.float32(), "the greatest score of explicit content of a picture, 0 to 1"),
        Column("explicit_mean", pa.float32(), "the mean of all pictures"),
        Column(
            "exposed",
            pa.float32(),
            "the greatest score of an exposed intimate part in a picture, 0 to 1; null where `parts` is off",
        ),
        Column("parts", pa.list_(pa.string()), "the parts with a score of at least 0.25, sorted; null likewise"),
        Column("model", pa.string(), "the networks"),
        Column("model_revision", pa.string(), "what pins them: see [models](models.md#what-pins-a-model)"),
    ),
    description=(
        "How explicit every clip looks: the scores of networks for pornography and, where asked for, for exposed parts "
        "of bodies. How much of it they find was not measured."
    ),
)


def open_safety_scorer(config: Any, storage: Storage) -> Worker:
    """A worker that looks for explicit content."""
    settings: SafetyScoresConfig = config.safety_scores
    explicit_content, (name, revision) = ExplicitContent(), settings.identity()
    exposed_parts = ExposedParts() if settings.parts else None

    def scored(pictures: Pictures) -> Row:
        explicit: list[float] = []
        exposed: list[Exposed] = []
        for _, picture in pictures:
            explicit.append(explicit_content(picture))
            if exposed_parts is not None:
                exposed.append(exposed_parts(picture))
        safety = safety_of(explicit, exposed if exposed_parts is not None else None)
        return {
            "pictures": len(explicit),
            "explicit": safety.explicit,
            "explicit_mean": safety.explicit_mean,
            "exposed": safety.exposed,
            "parts": list(safety.parts) if safety.parts is not None else None,
            "model": name,
            "model_revision": revision,
        }

    return over_pictures(SAFETY_SCORES, storage, settings.frames_per_second, scored)


def parts_are_looked_for(config: Any) -> None:
    """Whether a threshold on exposed parts has scores."""
    if config.clip_selection.exposed_max is not None and not config.safety_scores.parts:
        raise ValueError("clip_selection.exposed_max needs safety_scores.parts: true, or no clip would be selected")


SCORE_SAFETY = Stage(
    name="score_safety",
    item=CLIPS.name,
    reads=(STORYBOARDS.name,),
    writes=(SAFETY_SCORES,),
    open=open_safety_scorer,
    heavy=True,
    idle=unless_enabled("safety_scores"),
    gates=(SO_FAR,),
    eligible=unless_rejected("safety_scores"),
)

SCORES = (
    Score(
        "explicit",
        "Explicit content",
        ("explicit",),
        within=(0, 1),
        thresholds=(
            at_most(
                "Greatest score of explicit content of any picture of a clip. The network's authors call less than "
                "0.2 safe and more than 0.8 explicit.",
                default=0.8,
                ge=0,
                le=1,
            ),
        ),
    ),
    Score(
        "exposed",
        "Exposed parts of bodies",
        ("exposed",),
        within=(0, 1),
        thresholds=(
            at_most(
                "Greatest score of an exposed intimate part in any picture of a clip; it needs `safety_scores.parts`. "
                "Toys and cartoons reach 0.75.",
                ge=0,
                le=1,
            ),
        ),
    ),
)

ASSET = Asset(
    SAFETY_SCORES,
    SCORE_SAFETY,
    "measurements",
    scores=SCORES,
    recorded=Record("safety", ("explicit", "exposed", "parts")),
    section=SafetyScoresConfig,
    agrees=parts_are_looked_for,
    exported=True,
)
