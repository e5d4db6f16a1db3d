"""`clip_embeddings`: one unit vector per clip, from its storyboard frames."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curate_assets.graph.drift import Measures, measures_of_others, too_few, too_short_history
from curate_assets.graph.graph import Asset
from curate_assets.graph.platform import CheckLimits
from curate_assets.graph.shard_checks import Check, Finding, Problems, Shard, nothing_wrong
from curate_assets.graph.stage_resources import model_needs
from curate_assets.video.assets.clips import CLIP_ID, CLIPS
from curate_assets.video.assets.source_videos import VIDEO_ID
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.storyboard_frames import Storyboards
from curate_resources.declarations.stage import ClosedWorker, Stage, Work
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.models.fetching import ensure
from curate_resources.storage.root import Storage
from gpu_kernels.embedders.embedder import EMBEDDERS
from gpu_kernels.embedders.types import Closing, embedded
from gpu_kernels.media.storyboards import decoded


def _measures(rows: pa.Table) -> Measures:
    """The mean of the vectors; none where they have several lengths, which whoever compares them says."""
    vectors = rows.filter(pc.field("status") == "ok")["vector"].combine_chunks()
    if len(vectors.value_lengths().unique()) != 1:
        return {"clips": [float(len(vectors))], "centroid": []}
    matrix = vectors.flatten().to_numpy().reshape(len(vectors), -1)
    return {"clips": [float(len(vectors))], "centroid": matrix.mean(axis=0, dtype=np.float64).tolist()}


CLIP_EMBEDDINGS = Table(
    name="clip_embeddings",
    grain="clip",
    keys=("video_id", "clip_id"),
    version="2",
    sections=("clip_embeddings",),
    measures=_measures,
    model=lambda config: config.clip_embeddings.identity(),
    columns=(
        VIDEO_ID,
        CLIP_ID,
        Column(
            "vector",
            pa.list_(pa.float32()),
            "of the clip, at unit length: by a model of pictures, the mean of its frames' vectors",
            vectors=True,
        ),
        Column("frames", pa.int32(), "storyboard frames that went into it"),
        Column("model", pa.string(), "the model that made it"),
        Column("model_revision", pa.string(), "what pins the model: see [models](models.md#what-pins-a-model)"),
    ),
    description="One unit vector per clip, from its storyboard frames, with the model that made it.",
)


def open_embedder(config: Any, storage: Storage) -> ClosedWorker:
    """A worker that embeds clips."""
    section = config.clip_embeddings
    embedder = section.load()
    threads = ThreadPoolExecutor(section.at_once, "embeddings") if section.at_once > 1 else None

    def embed(work: Work) -> Mapping[str, list[Row]]:
        boards = Storyboards(storage, work.inputs[STORYBOARDS.name])

        def row(clip: Mapping[str, Any]) -> Row:
            board = boards.of(clip["video_id"])
            jpegs = board.jpegs(board.within(clip["start_frame"], clip["end_frame"]))
            vector, frames = embedded(embedder, [decoded(jpeg) for jpeg in jpegs])
            return {
                "video_id": clip["video_id"],
                "clip_id": clip["clip_id"],
                "vector": vector,
                "frames": frames,
                "model": embedder.name,
                "model_revision": embedder.revision,
            }

        clips = work.items.select(["video_id", "clip_id", "start_frame", "end_frame"]).to_pylist()
        return {CLIP_EMBEDDINGS.name: list((threads.map if threads else map)(row, clips))}

    def close() -> None:
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)
        if isinstance(embedder, Closing):
            embedder.close()

    return ClosedWorker(embed, close)


def fetch_embedder(config: Any, _: Storage) -> None:
    """Once per machine."""
    ensure(config.clip_embeddings.models(), config.models)


EMBED = Stage(
    name="embed",
    item=CLIPS.name,
    reads=(STORYBOARDS.name,),
    writes=(CLIP_EMBEDDINGS,),
    open=open_embedder,
    prepare=fetch_embedder,
    heavy=True,
    needs_of=lambda config: model_needs(config.clip_embeddings.device, 0.125),
)


def _unit_length(shard: Shard) -> Problems:
    lengths = [(row, float(np.linalg.norm(np.array(row["vector"], np.float64)))) for row in shard.good(CLIP_EMBEDDINGS)]
    return [
        f"{shard.named(CLIP_EMBEDDINGS, row)}: length {length:.6f}"
        for row, length in lengths
        if not abs(length - 1) < 1e-3
    ]


class ClipEmbeddingsLimits(CheckLimits):
    """What the checks of `clip_embeddings` accept."""

    min_embedding_similarity: float = Field(default=0.5, ge=-1, le=1)
    """Least cosine between the mean embedding of a shard and that of other shards."""


def _embeddings_changed(shard: Shard) -> Finding:
    """Cosine between the mean vector of the shard and that of the others."""
    measured, others = shard.measures(CLIP_EMBEDDINGS), measures_of_others(shard, CLIP_EMBEDDINGS, "clips")
    others = [each for each in others if len(each["centroid"]) == len(measured["centroid"]) > 0]
    if note := too_few(shard, measured["clips"][0], "clips") or too_short_history(shard, len(others)):
        return Finding([], note=note)
    own, usual = np.array(measured["centroid"]), np.mean([other["centroid"] for other in others], axis=0)
    similarity = float(own @ usual / max(1e-12, np.linalg.norm(own) * np.linalg.norm(usual)))
    limit = shard.limits(ClipEmbeddingsLimits).min_embedding_similarity
    said = f"the mean embedding has a cosine of {similarity:.2f} with that of other shards, less than {limit:g}"
    problems = [] if similarity >= limit else [said]
    return Finding(problems, {"similarity": similarity, "shards_compared": len(others)})


CHECKS = (
    Check(
        CLIP_EMBEDDINGS,
        "vectors_unit_length",
        "Every vector has length 1.",
        nothing_wrong(_unit_length),
        "select clip_id, sqrt(list_inner_product(vector, vector)) as length from clip_embeddings "
        "where shard = $shard and status = 'ok' and not abs(list_inner_product(vector, vector) - 1) < 0.002",
    ),
    Check(
        CLIP_EMBEDDINGS,
        "embeddings_steady",
        "The mean embedding is like that of other shards: a cosine of at least checks.min_embedding_similarity.",
        _embeddings_changed,
        # The clips that are least like some of the others.
        "select a.clip_id, avg(list_cosine_similarity(a.vector, b.vector)) as similarity from clip_embeddings a, "
        "(select vector from clip_embeddings where shard <> $shard and status = 'ok' order by fingerprint limit 100) b "
        "where a.shard = $shard and a.status = 'ok' group by a.clip_id order by similarity",
        warns=True,
    ),
)

ASSET = Asset(
    CLIP_EMBEDDINGS,
    EMBED,
    "clips",
    CHECKS,
    section=EMBEDDERS,
    limits=ClipEmbeddingsLimits,
    exported=True,
    several=True,
    same_for_all="vectors of all shards are compared",
)
