"""The vectors of the selected clips of all shards."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate_assets.video.assets.clip_embeddings import CLIP_EMBEDDINGS
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.clip_key import ClipKey
from curate_assets.video.duplicates.selected_clips import (
    SelectedClips,
    columns_of,
    matrix_of,
    one_length,
    one_model,
)
from curate_resources.declarations.table import Row, Table
from curate_resources.tables.lance_tables import Tables, one_of
from gpu_kernels.dedup.products import of_unit_length


@dataclass(frozen=True)
class Vectors:
    """Clips in their order, and float32 [n, d] their vectors."""

    nodes: list[ClipKey]
    matrix: np.ndarray


def selected_vectors(tables: Tables) -> Vectors:
    """Those of all selected clips that have one.

    Raises:
        MixedModels: they are of different models.
    """
    one_model(tables)
    rows = columns_of(tables, CLIP_EMBEDDINGS, ["shard", "clip_id", "vector"], "status = 'ok'")
    places = SelectedClips.of(tables).places(rows["shard"], rows["clip_id"])
    chosen = rows.take(pa.array(np.flatnonzero(places >= 0)))
    chosen = chosen.sort_by([("clip_id", "ascending"), ("shard", "ascending")])
    if chosen.num_rows == 0:
        return Vectors([], np.zeros((0, 0), np.float32))
    matrix = matrix_of(tables, chosen["vector"])
    usable = np.flatnonzero(of_unit_length(matrix))
    kept = chosen.select(["shard", "clip_id"]).take(pa.array(usable)).to_pylist()
    return Vectors([ClipKey(row["clip_id"], row["shard"]) for row in kept], matrix[usable])


def vector_batches(
    tables: Tables, clips: SelectedClips, columns: Sequence[str]
) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
    """Columns of the rows of some clips that have a vector, and float32 [n, d] these vectors; some at a time, in no
    order.

    Args:
        columns: `shard` and `clip_id`, and whatever else is wanted.

    Raises:
        MixedModels: they are of different models.
    """
    one_model(tables)
    widths: set[int] = set()
    for batch in tables.batches(CLIP_EMBEDDINGS, [*columns, "vector"], "status = 'ok'"):
        for rows in _by_shard(batch):
            of_it = clips.shards.get(rows["shard"][0].as_py(), range(0))
            wanted = clips.rows["clip_id"].slice(of_it.start, len(of_it)).combine_chunks()
            rows = rows.filter(pc.is_in(rows["clip_id"], value_set=wanted))  # pyright: ignore[reportAttributeAccessIssue]
            if rows.num_rows:
                matrix = matrix_of(tables, rows["vector"])
                widths.add(matrix.shape[1])
                one_length(tables, widths)
                usable = of_unit_length(matrix)
                if usable.any():
                    yield rows.select([*columns]).filter(pa.array(usable)), matrix[usable]


def _by_shard(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    shards = batch["shard"].dictionary_encode()
    numbers = shards.indices.to_numpy()
    for number in range(len(shards.dictionary)):
        yield batch.take(pa.array(np.flatnonzero(numbers == number)))


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
