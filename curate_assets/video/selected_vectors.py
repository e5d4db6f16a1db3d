"""The vectors of the selected clips of all shards, and what else duplicates are looked for by."""

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curate_assets.video.assets.clip_embeddings import CLIP_EMBEDDINGS
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.clips import CLIPS
from curate_resources.declarations.table import Row, Table
from curate_resources.tables.lance_tables import Tables, quoted
from gpu_kernels.errors import UserError

_UNIT = 1e-2
"""How far from 1 the length of a vector may be; one that is farther off is like everything or like nothing."""


@dataclass(frozen=True, order=True)
class ClipNode:
    """A clip of a shard; two shards may hold the same file, and so the same clip id."""

    clip_id: str
    shard: str


@dataclass(frozen=True)
class Vectors:
    nodes: list[ClipNode]
    matrix: np.ndarray
    fingerprints: list[str]


class MixedModels(UserError):
    """Embeddings of several models cannot be compared."""


def selected_vectors(tables: Tables) -> Vectors:
    selected = {
        ClipNode(row["clip_id"], row["shard"])
        for row in good_rows(tables, CLIP_SELECTION, ["shard", "clip_id", "selected"])
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
        return Vectors([], np.zeros((0, 0), np.float32), [])
    chosen = stored.take(pa.array(order, pa.int64()))
    models = set(zip(chosen["model"].to_pylist(), chosen["model_revision"].to_pylist(), strict=True))
    if len(models) > 1:
        raise MixedModels(_mixed(chosen))
    vectors = chosen["vector"].combine_chunks()
    matrix = vectors.flatten().to_numpy().reshape(len(order), -1)
    usable = np.flatnonzero(np.abs(np.linalg.norm(matrix, axis=1) - 1) < _UNIT).tolist()
    prints = chosen["fingerprint"].to_pylist()
    return Vectors([nodes[order[row]] for row in usable], matrix[usable], [prints[row] for row in usable])


def _mixed(rows: pa.Table) -> str:
    shards: dict[str, set[str]] = {}
    for row in rows.select(["shard", "model", "model_revision"]).to_pylist():
        shards.setdefault(f"{row['model']}@{row['model_revision']}", set()).add(row["shard"])
    each = [f"{model} in {len(found)} shards, such as {min(found)}" for model, found in sorted(shards.items())]
    return (
        f"shards were embedded by different models ({'; '.join(each)}): `curate materialize --select clip_embeddings` "
        "without --shard"
    )


def rows_by_shard(tables: Tables, nodes: Collection[ClipNode]) -> dict[str, list[Row]]:
    """The rows of some clips, by shard."""
    wanted: dict[str, set[str]] = {}
    for node in nodes:
        wanted.setdefault(node.shard, set()).add(node.clip_id)
    columns = ["video_id", "clip_id", "start_frame", "end_frame", "start_ns", "end_ns"]
    return {
        shard: tables.read(CLIPS, shard, columns, f"status = 'ok' AND {within('clip_id', clips)}").to_pylist()
        for shard, clips in sorted(wanted.items())
    }


def good_rows(tables: Tables, table: Table, columns: list[str] | None = None) -> list[dict[str, Any]]:
    return tables.read(table, columns=columns, where="status = 'ok'").to_pylist()


def within(column: str, values: Iterable[str]) -> str:
    return f"{column} IN ({', '.join(quoted(value) for value in sorted(values))})"


def digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]
