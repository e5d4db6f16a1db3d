"""`clip_labels`: words for what each clip shows, to search by, from its storyboard's pictures."""

from typing import Any

import pyarrow as pa

from curate_assets.graph.graph import Asset, Record
from curate_assets.graph.score import Score, at_least
from curate_assets.video.assets.clips import CLIP_ID, CLIPS
from curate_assets.video.assets.source_videos import VIDEO_ID
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.clip_pictures import Pictures, over_pictures
from curate_assets.video.measuring import SO_FAR, unless_enabled, unless_rejected
from curate_resources.declarations.stage import Stage, Worker
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.storage.root import Storage
from gpu_kernels.scores.labels import ClipLabelsConfig, Labeller, likeliest

CLIP_LABELS = Table(
    name="clip_labels",
    grain="clip",
    keys=("video_id", "clip_id"),
    sections=("clip_labels",),
    model=lambda config: config.clip_labels.identity(),
    columns=(
        VIDEO_ID,
        CLIP_ID,
        Column("pictures", pa.int32(), "storyboard pictures that were looked at"),
        Column("labels", pa.list_(pa.string()), "classes of ImageNet, the likeliest first", text=True),
        Column("confidences", pa.list_(pa.float32()), "how likely each is, the mean over the pictures, 0 to 1"),
        Column("confidence", pa.float32(), "that of the first"),
        Column("model", pa.string(), "the network"),
        Column("model_revision", pa.string(), "what pins it: see [models](models.md#what-pins-a-model)"),
    ),
    description="The likeliest classes of ImageNet for every clip, as words to search by.",
)


def open_labeller(config: Any, storage: Storage) -> Worker:
    """A worker that labels clips."""
    settings: ClipLabelsConfig = config.clip_labels
    labeller, (name, revision) = Labeller(), settings.identity()

    def labelled(pictures: Pictures) -> Row:
        seen = [labeller(picture) for _, picture in pictures]
        labels = likeliest(seen, settings.most)
        return {
            "pictures": len(seen),
            "labels": [label for label, _ in labels],
            "confidences": [confidence for _, confidence in labels],
            "confidence": labels[0][1],
            "model": name,
            "model_revision": revision,
        }

    return over_pictures(CLIP_LABELS, storage, settings.frames_per_second, labelled)


LABEL_CLIPS = Stage(
    name="label_clips",
    item=CLIPS.name,
    reads=(STORYBOARDS.name,),
    writes=(CLIP_LABELS,),
    open=open_labeller,
    heavy=True,
    idle=unless_enabled("clip_labels"),
    gates=(SO_FAR,),
    eligible=unless_rejected("clip_labels"),
)

SCORES = (
    Score(
        "label_confidence",
        "Confidence of the likeliest label",
        ("confidence",),
        within=(0, 1),
        thresholds=(
            at_least(
                "Least confidence of a clip's likeliest label. It says whether a clip shows one of ImageNet's things "
                "clearly, not whether it is good.",
                ge=0,
                le=1,
            ),
        ),
    ),
)

ASSET = Asset(
    CLIP_LABELS,
    LABEL_CLIPS,
    "measurements",
    scores=SCORES,
    recorded=Record("labels", ("labels", "confidences")),
    section=ClipLabelsConfig,
    exported=True,
)
