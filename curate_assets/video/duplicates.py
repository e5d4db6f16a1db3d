"""`duplicate_pairs` and `duplicate_groups`: which selected clips show the same, and which of them is kept.

Pairs are measured per shard against all shards that are there; groups are made of the pairs of all shards. A pair
counts only while both its clips are selected and have the vectors it was measured on, so the groups do not depend on
the order in which shards arrive or are made again.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curate_assets.video.embeddings import CLIP_EMBEDDINGS
from curate_assets.video.motion import MOTION_SCORES
from curate_assets.video.selection import CLIP_SELECTION
from curate_assets.video.source_videos import SOURCE_VIDEOS
from curate_resources.plan import in_order
from curate_resources.stage import Row, Table
from curate_resources.tables import Tables
from gpu_kernels.duplicates import (
    DuplicateGroupsConfig,
    DuplicatePairsConfig,
    NeighbourSearch,
    connected_components,
    exact_neighbours,
    keeper,
)
from gpu_kernels.errors import UserError

DUPLICATE_PAIRS = Table(
    name="duplicate_pairs",
    grain="clip pair",
    keys=("shard_a", "clip_a", "shard_b", "clip_b"),
    sections=("duplicate_pairs",),
    columns=pa.schema(
        [
            ("shard_a", pa.string()),
            ("clip_a", pa.string()),
            ("shard_b", pa.string()),
            ("clip_b", pa.string()),
            ("similarity", pa.float32()),
            ("vectors", pa.string()),
        ]
    ),
    description=(
        "Pairs of selected clips, at least one of this shard, whose embeddings have a cosine similarity above a floor. "
        "A measurement: what counts as a duplicate is decided by duplicate_groups."
    ),
)

DUPLICATE_GROUPS = Table(
    name="duplicate_groups",
    grain="clip",
    keys=("video_id", "clip_id"),
    sections=("duplicate_groups",),
    identity=("keeper",),
    columns=pa.schema(
        [
            ("video_id", pa.string()),
            ("clip_id", pa.string()),
            ("group_id", pa.string()),
            ("group_size", pa.int32()),
            ("keeper", pa.bool_()),
            ("keeper_clip_id", pa.string()),
        ]
    ),
    description=(
        "Every selected clip of every shard and the group of near-duplicates that it belongs to, by connected "
        "components of the pairs. One clip of each group is its keeper: by resolution, then motion, then id."
    ),
)


@dataclass(frozen=True, order=True)
class ClipNode:
    """A clip of a shard; two shards may hold the same file, and so the same clip id."""

    clip_id: str
    shard: str


@dataclass(frozen=True)
class _Vectors:
    nodes: list[ClipNode]
    matrix: np.ndarray
    fingerprints: list[str]


class MixedModels(UserError):
    """Embeddings of several models cannot be compared."""


def measure_pairs(
    tables: Tables, shard: str, config: DuplicatePairsConfig, search: NeighbourSearch = exact_neighbours
) -> pa.Table:
    """All pairs with a clip of `shard`, among the selected clips of all shards that are there.

    Raises:
        MixedModels: shards were embedded by different models.
    """
    everything = _selected_vectors(tables)
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
        vectors = _digest([everything.fingerprints[a], everything.fingerprints[b]])
        found[node_a, node_b] = {
            "shard": shard,
            "shard_a": node_a.shard,
            "clip_a": node_a.clip_id,
            "shard_b": node_b.shard,
            "clip_b": node_b.clip_id,
            "similarity": similarity,
            "vectors": vectors,
            "status": "ok",
            "fingerprint": _digest([DUPLICATE_PAIRS.name, DUPLICATE_PAIRS.version, config.settings(), vectors]),
        }
    return in_order(DUPLICATE_PAIRS, [pa.Table.from_pylist(list(found.values()), schema=DUPLICATE_PAIRS.rows_schema)])


def group_duplicates(tables: Tables, config: DuplicateGroupsConfig) -> dict[str, pa.Table]:
    """Rows of every shard: each selected clip with its group and the group's keeper."""
    selected = [row for row in _rows(tables, CLIP_SELECTION) if row["selected"]]
    nodes = {ClipNode(row["clip_id"], row["shard"]): row["video_id"] for row in selected}
    vectors = _selected_vectors(tables)
    fingerprint_of = dict(zip(vectors.nodes, vectors.fingerprints, strict=True))
    edges: list[tuple[ClipNode, ClipNode]] = []
    for pair in _rows(tables, DUPLICATE_PAIRS):
        a, b = ClipNode(pair["clip_a"], pair["shard_a"]), ClipNode(pair["clip_b"], pair["shard_b"])
        current = a in fingerprint_of and b in fingerprint_of
        if not current or pair["vectors"] != _digest([fingerprint_of[a], fingerprint_of[b]]):
            continue
        if pair["similarity"] >= config.min_similarity:
            edges.append((a, b))
    resolution, motion = _quality(tables, nodes)
    made: dict[str, list[Row]] = {shard: [] for shard in tables.shards(CLIP_SELECTION)}
    for group in connected_components(nodes, edges):
        kept = keeper(group, resolution, motion)
        members = _digest([[node.shard, node.clip_id] for node in group])
        for node in group:
            made[node.shard].append(
                {
                    "shard": node.shard,
                    "video_id": nodes[node],
                    "clip_id": node.clip_id,
                    "group_id": members,
                    "group_size": len(group),
                    "keeper": node == kept,
                    "keeper_clip_id": kept.clip_id,
                    "status": "ok",
                    "fingerprint": _digest(
                        [DUPLICATE_GROUPS.name, DUPLICATE_GROUPS.version, config.settings(), members, kept.shard]
                    ),
                }
            )
    return {
        shard: in_order(DUPLICATE_GROUPS, [pa.Table.from_pylist(rows, schema=DUPLICATE_GROUPS.rows_schema)])
        for shard, rows in made.items()
    }


def _rows(tables: Tables, table: Table, columns: list[str] | None = None) -> list[dict[str, Any]]:
    return tables.read(table, columns=columns, where="status = 'ok'").to_pylist()


def _selected_vectors(tables: Tables) -> _Vectors:
    selected = {
        ClipNode(row["clip_id"], row["shard"])
        for row in _rows(tables, CLIP_SELECTION, ["shard", "clip_id", "selected"])
        if row["selected"]
    }
    columns = ["shard", "clip_id", "fingerprint", "model", "model_revision", "vector"]
    stored = tables.read(CLIP_EMBEDDINGS, columns=columns, where="status = 'ok'")
    nodes = [
        ClipNode(clip, shard)
        for clip, shard in zip(stored["clip_id"].to_pylist(), stored["shard"].to_pylist(), strict=True)
    ]
    order = sorted((index for index, node in enumerate(nodes) if node in selected), key=lambda index: nodes[index])
    if not order:
        return _Vectors([], np.zeros((0, 0), np.float32), [])
    chosen = stored.take(pa.array(order, pa.int64()))
    models = set(zip(chosen["model"].to_pylist(), chosen["model_revision"].to_pylist(), strict=True))
    if len(models) > 1:
        names = ", ".join(sorted(f"{name}@{revision}" for name, revision in models))
        raise MixedModels(f"shards were embedded by different models ({names}): materialize clip_embeddings of all")
    vectors = chosen["vector"].combine_chunks()
    matrix = vectors.flatten().to_numpy().reshape(len(order), -1)
    return _Vectors([nodes[index] for index in order], matrix, chosen["fingerprint"].to_pylist())


def _quality(tables: Tables, nodes: dict[ClipNode, str]) -> tuple[dict[ClipNode, int], dict[ClipNode, float]]:
    pixels = {row["video_id"]: row["width"] * row["height"] for row in _rows(tables, SOURCE_VIDEOS)}
    moving = {ClipNode(row["clip_id"], row["shard"]): row["global_mean"] for row in _rows(tables, MOTION_SCORES)}
    return (
        {node: pixels.get(video_id, 0) for node, video_id in nodes.items()},
        {node: moving.get(node, -1.0) for node in nodes},
    )


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def kept_clips(clips: pa.Table, inputs: Any) -> list[bool]:
    """Which rows of `clips` are selected and the keeper of their group: the ones that captions and files are made of.

    Raises:
        NotGrouped: a selected clip has no group yet.
    """
    selected = {
        row["clip_id"] for row in inputs[CLIP_SELECTION.name].to_pylist() if row["status"] == "ok" and row["selected"]
    }
    groups = {row["clip_id"]: row["keeper"] for row in inputs[DUPLICATE_GROUPS.name].to_pylist()}
    missing = sorted(clip for clip in clips["clip_id"].to_pylist() if clip in selected and clip not in groups)
    if missing:
        raise NotGrouped(
            f"{len(missing)} selected clips are in no duplicate group ({missing[0]}, ...): "
            "materialize duplicate_pairs of this shard and then duplicate_groups"
        )
    return [clip in selected and groups[clip] for clip in clips["clip_id"].to_pylist()]


class NotGrouped(UserError):
    """Selected clips that duplicate_groups does not know yet."""


GROUPED = (CLIP_SELECTION.name, DUPLICATE_GROUPS.name)
"""What decides whether a clip is delivered."""
