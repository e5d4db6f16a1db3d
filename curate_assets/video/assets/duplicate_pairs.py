"""`duplicate_pairs`: which selected clips show the same, measured per shard against all shards that are there."""

from collections.abc import Collection

import numpy as np
import pyarrow as pa

from curate_assets.graph.graph import Asset
from curate_assets.graph.platform import PlatformConfig
from curate_assets.graph.shard_checks import Check, Problems, Shard, nothing_wrong
from curate_assets.graph.whole_table import Gathered, Made
from curate_assets.video.assets.clip_embeddings import CLIP_EMBEDDINGS
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.motion_signals import MOTION_SIGNALS
from curate_assets.video.assets.shot_signals import SHOT_SIGNALS
from curate_assets.video.selected_vectors import ClipNode, digest, rows_by_shard, selected_vectors, within
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.pipeline.commit import in_order
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.dedup.brightness import LumaCurve, luma_correlation
from gpu_kernels.dedup.neighbours import DuplicatePairsConfig, NeighbourSearch, exact_neighbours

DUPLICATE_PAIRS = Table(
    name="duplicate_pairs",
    grain="clip pair",
    keys=("shard_a", "clip_a", "shard_b", "clip_b"),
    version="2",
    sections=("duplicate_pairs",),
    columns=(
        Column("shard_a", pa.string(), "shard of the first clip"),
        Column("clip_a", pa.string(), "the clip with the smaller id (and shard, if the ids are equal)"),
        Column("shard_b", pa.string(), "shard of the other clip"),
        Column("clip_b", pa.string(), "the other clip"),
        Column("similarity", pa.float32(), "cosine of the two vectors"),
        Column(
            "luma_correlation",
            pa.float32(),
            "how surely their brightness changes alike over time, -1 to 1; null where it does not change in one "
            "of them",
        ),
        Column("vectors", pa.string(), "digest of the two vectors' fingerprints; a pair counts only while it holds"),
    ),
    description=(
        "Pairs of selected clips, at least one of this shard, whose embeddings have a cosine similarity above a floor, "
        "and how alike their brightness is over time. Measurements: what counts as a duplicate is decided by "
        "duplicate_groups."
    ),
)


def measure_pairs(
    tables: Tables, shard: str, config: DuplicatePairsConfig, search: NeighbourSearch = exact_neighbours
) -> pa.Table:
    """All pairs with a clip of `shard`, among the selected clips of all shards that are there.

    Raises:
        MixedModels: shards were embedded by different models.
    """
    everything = selected_vectors(tables)
    own = [index for index, node in enumerate(everything.nodes) if node.shard == shard]
    if not own:
        return DUPLICATE_PAIRS.empty()
    rows, columns, similarities = search(everything.matrix[own], everything.matrix, config.floor_similarity)
    found: dict[tuple[ClipNode, ClipNode], Row] = {}
    for row, column, similarity in zip(rows.tolist(), columns.tolist(), similarities.tolist(), strict=True):
        one, other = own[row], column
        if one == other:
            continue
        a, b = sorted((one, other), key=lambda index: everything.nodes[index])
        node_a, node_b = everything.nodes[a], everything.nodes[b]
        vectors = digest([everything.fingerprints[a], everything.fingerprints[b]])
        found[node_a, node_b] = {
            "shard": shard,
            "shard_a": node_a.shard,
            "clip_a": node_a.clip_id,
            "shard_b": node_b.shard,
            "clip_b": node_b.clip_id,
            "similarity": similarity,
            "vectors": vectors,
            "status": "ok",
            "fingerprint": digest([DUPLICATE_PAIRS.name, DUPLICATE_PAIRS.version, config.settings(), vectors]),
        }
    curves = _luma_curves(tables, {node for pair in found for node in pair})
    for (one, other), row in found.items():
        if one in curves and other in curves:
            row["luma_correlation"] = luma_correlation(curves[one], curves[other])
    return in_order(DUPLICATE_PAIRS, [pa.Table.from_pylist(list(found.values()), schema=DUPLICATE_PAIRS.rows_schema)])


def _luma_curves(tables: Tables, nodes: Collection[ClipNode]) -> dict[ClipNode, LumaCurve]:
    """Of those clips whose video has both brightness and times, for as many frames as the clip needs."""
    found: dict[ClipNode, LumaCurve] = {}
    for shard, clips in rows_by_shard(tables, nodes).items():
        videos = {clip["video_id"] for clip in clips}
        times, luma = (
            _lists(tables, table, column, shard, videos)
            for table, column in ((SHOT_SIGNALS, "pts_ns"), (MOTION_SIGNALS, "luma"))
        )
        for clip in clips:
            start, end = clip["start_frame"], clip["end_frame"]
            pts, curve = (each.get(clip["video_id"], np.zeros(0))[start:end] for each in (times, luma))
            if 0 < len(pts) == len(curve):
                found[ClipNode(clip["clip_id"], shard)] = LumaCurve.of(pts, curve)
    return found


def _lists(tables: Tables, table: Table, column: str, shard: str, videos: Collection[str]) -> dict[str, np.ndarray]:
    """A column of lists by video."""
    rows = tables.read(table, shard, ["video_id", column], f"status = 'ok' AND {within('video_id', videos)}")
    lists = rows[column].combine_chunks()
    return {video: lists[index].values.to_numpy() for index, video in enumerate(rows["video_id"].to_pylist())}


def _similarities(shard: Shard) -> Problems:
    return [
        f"{row['clip_a']} and {row['clip_b']}: similarity {row['similarity']}"
        for row in shard.good(DUPLICATE_PAIRS)
        if not (np.isfinite(row["similarity"]) and -1.001 <= row["similarity"] <= 1.001)
    ]


CHECKS = (
    Check(
        DUPLICATE_PAIRS,
        "similarities_in_range",
        "Cosine similarities are within -1 and 1.",
        nothing_wrong(_similarities),
        "select clip_a, clip_b, similarity from duplicate_pairs where shard = $shard and status = 'ok' "
        "and not abs(similarity) < 1.001",
    ),
)


def _made(tables: Tables, config: PlatformConfig, shard: str) -> Made:
    return Made({shard: measure_pairs(tables, shard, config.section(DUPLICATE_PAIRS.name, DuplicatePairsConfig))})


# Times, spans and sharpness change with the vectors, which are made from them.
GATHER = Gathered(DUPLICATE_PAIRS, _made, (CLIP_EMBEDDINGS, CLIP_SELECTION, MOTION_SIGNALS), per_shard=True)

ASSET = Asset(
    DUPLICATE_PAIRS,
    GATHER,
    "duplicates",
    CHECKS,
    section=DuplicatePairsConfig,
    same_for_all="clips of all shards are compared",
)
