"""The vectors of the selected clips of all shards."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curate_assets.video.assets.clip_embeddings import CLIP_EMBEDDINGS
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.clip_key import ClipKey
from curate_assets.video.duplicates.selected_clips import SelectedClips, columns_of, one_model
from curate_resources.declarations.table import Row, Table
from curate_resources.tables.lance_tables import Tables, one_of
from gpu_kernels.dedup.products import of_unit_length


@dataclass(frozen=True)
class Vectors:
    """Clips in their order, float32 [n, d] their vectors, and the fingerprints of these."""

    nodes: list[ClipKey]
    matrix: np.ndarray
    fingerprints: list[str]


def selected_vectors(tables: Tables) -> Vectors:
    """Those of all selected clips that have one.

    Raises:
        MixedModels: shards were embedded by different models.
    """
    one_model(tables)
    names = ["shard", "clip_id", "fingerprint", "vector"]
    rows = columns_of(tables, CLIP_EMBEDDINGS, names, "status = 'ok'")
    places = SelectedClips.of(tables).places(rows["shard"], rows["clip_id"])
    chosen = rows.take(pa.array(np.flatnonzero(places >= 0)))
    chosen = chosen.sort_by([("clip_id", "ascending"), ("shard", "ascending")])
    if chosen.num_rows == 0:
        return Vectors([], np.zeros((0, 0), np.float32), [])
    matrix = chosen["vector"].combine_chunks().flatten().to_numpy().reshape(chosen.num_rows, -1)
    usable = np.flatnonzero(of_unit_length(matrix))
    kept = chosen.select(names[:3]).take(pa.array(usable)).to_pylist()
    nodes = [ClipKey(row["clip_id"], row["shard"]) for row in kept]
    return Vectors(nodes, matrix[usable], [row["fingerprint"] for row in kept])


def rows_by_shard(tables: Tables, nodes: Collection[ClipKey]) -> dict[str, list[Row]]:
    """The rows of some clips, by shard."""
    wanted: dict[str, set[str]] = {}
    for node in nodes:
        wanted.setdefault(node.shard, set()).add(node.clip_id)
    columns = ["video_id", "clip_id", "start_frame", "end_frame"]
    return {
        shard: tables.read(CLIPS, shard, columns, f"status = 'ok' AND {one_of('clip_id', clips)}").to_pylist()
        for shard, clips in sorted(wanted.items())
    }


def good_rows(tables: Tables, table: Table, columns: list[str]) -> list[dict[str, Any]]:
    """Columns of the rows of a table that hold a result."""
    return tables.read(table, columns=columns, where="status = 'ok'").to_pylist()
