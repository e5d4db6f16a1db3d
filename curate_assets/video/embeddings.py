"""`clip_embeddings`: one unit vector per clip, from its storyboard frames."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from curate_assets.stage_resources import model_needs
from curate_assets.video.clips import CLIP_ID, CLIPS
from curate_assets.video.measures import centroid
from curate_assets.video.signals import STORYBOARDS
from curate_assets.video.source_videos import VIDEO_ID
from curate_assets.video.storyboard_frames import Storyboards
from curate_resources.stage import Column, Row, Stage, Table, Work, Worker
from curate_resources.storage import Storage
from gpu_kernels.embedders import clip_vector, load_embedder, model_identity
from gpu_kernels.storyboards import decoded

CLIP_EMBEDDINGS = Table(
    name="clip_embeddings",
    grain="clip",
    keys=("video_id", "clip_id"),
    version="2",
    sections=("clip_embeddings",),
    measures=centroid,
    model=lambda config: model_identity(config.clip_embeddings),
    columns=(
        VIDEO_ID,
        CLIP_ID,
        Column("vector", pa.list_(pa.float32()), "the mean of the frames' vectors, at unit length"),
        Column("frames", pa.int32(), "storyboard frames that went into it"),
        Column("model", pa.string(), "the model that made it"),
        Column("model_revision", pa.string(), "what pins the model: see [models](models.md#what-pins-a-model)"),
    ),
    description="One unit vector per clip: the mean of its storyboard frames' embeddings, with the model that made it.",
)


def open_embedder(config: Any, storage: Storage) -> Worker:
    """A worker that embeds clips."""
    embedder = load_embedder(config.clip_embeddings)

    def embed(work: Work) -> Mapping[str, list[Row]]:
        rows: list[Row] = []
        boards = Storyboards(storage, work.inputs[STORYBOARDS.name])
        for clip in work.items.select(["video_id", "clip_id", "start_frame", "end_frame"]).to_pylist():
            board = boards.of(clip["video_id"])
            jpegs = board.jpegs(board.within(clip["start_frame"], clip["end_frame"]))
            pictures = [decoded(jpeg) for jpeg in jpegs]
            rows.append(
                {
                    "video_id": clip["video_id"],
                    "clip_id": clip["clip_id"],
                    "vector": clip_vector(embedder.embed(pictures)),
                    "frames": len(pictures),
                    "model": embedder.name,
                    "model_revision": embedder.revision,
                }
            )
        return {CLIP_EMBEDDINGS.name: rows}

    return embed


EMBED = Stage(
    name="embed",
    item=CLIPS.name,
    reads=(STORYBOARDS.name,),
    writes=(CLIP_EMBEDDINGS,),
    open=open_embedder,
    heavy=True,
    needs_of=lambda config: model_needs(config.clip_embeddings.device, 0.125),
)
