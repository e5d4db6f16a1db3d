"""`duplicate_pairs` and `duplicate_groups`: which selected clips show the same, and which of them is kept.

Pairs are measured per shard against all shards that are there; groups are made of the pairs of all shards. A pair
counts only while both its clips are selected and have the vectors it was measured on, so the groups do not depend on
the order in which shards arrive or are made again.
"""

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curate_assets.video.clips import CLIP_ID, CLIPS
from curate_assets.video.embeddings import CLIP_EMBEDDINGS
from curate_assets.video.selection import CLIP_SELECTION
from curate_assets.video.signals import MOTION_SIGNALS, SHOT_SIGNALS, STORYBOARDS
from curate_assets.video.source_videos import SOURCE_VIDEOS, VIDEO_ID
from curate_resources.plan import in_order
from curate_resources.stage import Column, Row, Table
from curate_resources.tables import Tables, quoted
from gpu_kernels.clips import SECOND
from gpu_kernels.duplicates import (
    DuplicateGroupsConfig,
    DuplicatePairsConfig,
    LumaCurve,
    NeighbourSearch,
    Quality,
    connected_components,
    exact_neighbours,
    keeper,
    luma_correlation,
)
from gpu_kernels.errors import UserError

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

DUPLICATE_GROUPS = Table(
    name="duplicate_groups",
    grain="clip",
    keys=("video_id", "clip_id"),
    version="2",
    sections=("duplicate_groups",),
    identity=("keeper",),
    columns=(
        VIDEO_ID,
        CLIP_ID,
        Column("group_id", pa.string(), "digest of the group's members"),
        Column("group_size", pa.int32(), "clips in the group; 1 for a clip without duplicates"),
        Column("keeper", pa.bool_(), "whether this clip is the one that is kept"),
        Column("keeper_clip_id", pa.string(), "the one that is kept"),
    ),
    description=(
        "Every selected clip of every shard and the group of near-duplicates that it belongs to, by connected "
        "components of the pairs. One clip of each group is its keeper: by the source's resolution, then its "
        "bitrate, the clip's length, its sharpness, its id."
    ),
)


_UNIT = 1e-2
"""How far from 1 the length of a vector may be; one that is farther off is like everything or like nothing."""


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
    curves = _luma_curves(tables, {node for pair in found for node in pair})
    for (one, other), row in found.items():
        if one in curves and other in curves:
            row["luma_correlation"] = luma_correlation(curves[one], curves[other])
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
        if _duplicates(pair, config):
            edges.append((a, b))
    groups = connected_components(nodes, edges)
    quality = _quality(tables, {node for group in groups if len(group) > 1 for node in group})
    made: dict[str, list[Row]] = {shard: [] for shard in tables.shards(CLIP_SELECTION)}
    for group in groups:
        kept = keeper(group, quality) if len(group) > 1 else group[0]
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
        raise MixedModels(_mixed(chosen))
    vectors = chosen["vector"].combine_chunks()
    matrix = vectors.flatten().to_numpy().reshape(len(order), -1)
    usable = np.flatnonzero(np.abs(np.linalg.norm(matrix, axis=1) - 1) < _UNIT).tolist()
    prints = chosen["fingerprint"].to_pylist()
    return _Vectors([nodes[order[row]] for row in usable], matrix[usable], [prints[row] for row in usable])


def _mixed(rows: pa.Table) -> str:
    shards: dict[str, set[str]] = {}
    for row in rows.select(["shard", "model", "model_revision"]).to_pylist():
        shards.setdefault(f"{row['model']}@{row['model_revision']}", set()).add(row["shard"])
    each = [f"{model} in {len(found)} shards, such as {min(found)}" for model, found in sorted(shards.items())]
    return (
        f"shards were embedded by different models ({'; '.join(each)}): `curate materialize --select clip_embeddings` "
        "without --shard"
    )


def _duplicates(pair: Row, config: DuplicateGroupsConfig) -> bool:
    """Whether a pair counts; one whose brightness over time could not be compared does not, unless nobody asks.

    A clip's id has the content of its file in it, so the same one in two shards is the same clip.
    """
    least, found = config.min_luma_correlation, pair["luma_correlation"]
    alike = pair["clip_a"] == pair["clip_b"] or least is None or (found is not None and found >= least)
    return alike and pair["similarity"] >= config.min_similarity


def _luma_curves(tables: Tables, nodes: Collection[ClipNode]) -> dict[ClipNode, LumaCurve]:
    """Of those clips whose video has both brightness and times, for as many frames as the clip needs."""
    found: dict[ClipNode, LumaCurve] = {}
    for shard, clips in _by_shard(tables, nodes).items():
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
    rows = tables.read(table, shard, ["video_id", column], f"status = 'ok' AND {_within('video_id', videos)}")
    lists = rows[column].combine_chunks()
    return {video: lists[index].values.to_numpy() for index, video in enumerate(rows["video_id"].to_pylist())}


def _quality(tables: Tables, nodes: Collection[ClipNode]) -> dict[ClipNode, Quality]:
    """What some clips are chosen by; what is not known of one counts as nothing."""
    found = dict.fromkeys(nodes, Quality())
    for shard, clips in _by_shard(tables, nodes).items():
        of_these = f"status = 'ok' AND {_within('video_id', {clip['video_id'] for clip in clips})}"
        columns = ["video_id", "width", "height", "bytes", "duration_ns"]
        videos = {row["video_id"]: row for row in tables.read(SOURCE_VIDEOS, shard, columns, of_these).to_pylist()}
        boards: dict[str, list[Row]] = {}
        for row in tables.read(STORYBOARDS, shard, ["video_id", "frame", "sharpness"], of_these).to_pylist():
            boards.setdefault(row["video_id"], []).append(row)
        for clip in clips:
            video, span = videos.get(clip["video_id"]), range(clip["start_frame"], clip["end_frame"])
            sharpness = [row["sharpness"] for row in boards.get(clip["video_id"], []) if row["frame"] in span]
            found[ClipNode(clip["clip_id"], shard)] = Quality(
                pixels=video["width"] * video["height"] if video else 0,
                bitrate=video["bytes"] * 8 * SECOND / max(1, video["duration_ns"]) if video else 0.0,
                length_ns=clip["end_ns"] - clip["start_ns"],
                sharpness=float(np.mean(sharpness)) if sharpness else 0.0,
            )
    return found


def _by_shard(tables: Tables, nodes: Collection[ClipNode]) -> dict[str, list[Row]]:
    """The rows of some clips, by shard."""
    wanted: dict[str, set[str]] = {}
    for node in nodes:
        wanted.setdefault(node.shard, set()).add(node.clip_id)
    columns = ["video_id", "clip_id", "start_frame", "end_frame", "start_ns", "end_ns"]
    return {
        shard: tables.read(CLIPS, shard, columns, f"status = 'ok' AND {_within('clip_id', clips)}").to_pylist()
        for shard, clips in sorted(wanted.items())
    }


def _within(column: str, values: Iterable[str]) -> str:
    return f"{column} IN ({', '.join(quoted(value) for value in sorted(values))})"


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
        shard = clips["shard"][0].as_py()
        raise NotGrouped(
            f"{len(missing)} selected clips of {shard} are in no duplicate group ({missing[0]}, ...): "
            f"`curate materialize --select duplicate_pairs --shard {shard}`, then `--select duplicate_groups`"
        )
    return [clip in selected and groups[clip] for clip in clips["clip_id"].to_pylist()]


class NotGrouped(UserError):
    """Selected clips that duplicate_groups does not know yet."""


GROUPED = (CLIP_SELECTION.name, DUPLICATE_GROUPS.name)
"""What decides whether a clip is delivered."""
