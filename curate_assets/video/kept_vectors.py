"""The vectors of the clips that are kept, in a dataset of their own while they are worked with."""

import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS
from curate_assets.video.clip_vectors import vector_batches
from curate_assets.video.duplicates.selected_clips import SelectedClips, columns_of
from curate_resources.tables.lance_tables import Tables
from curate_resources.tables.stored_vectors import Rows, StoredVectors

_COLUMNS = ("shard", "video_id", "clip_id")


@dataclass(frozen=True)
class KeptVectors:
    """Clips that are selected and the keepers of their groups.

    Attributes:
        rows: `shard`, `video_id`, `clip_id`, and `fingerprint`, that of the vector.
        vectors: one for each row, in their order.
        order: int64 [n] the rows by clip and shard.
    """

    rows: pa.Table
    vectors: StoredVectors
    order: Rows


@contextmanager
def kept_vectors(tables: Tables, folder: str) -> Generator[KeptVectors | None, None, None]:
    """They lie in a folder below the root until the block ends; None: there are none.

    Raises:
        MixedModels: they are of several models.
    """
    found = columns_of(tables, DUPLICATE_GROUPS, [*_COLUMNS], "status = 'ok' AND keeper")
    selected = SelectedClips.of(tables).places(found["shard"], found["clip_id"]) >= 0
    keepers = SelectedClips(found.filter(pa.array(selected)).sort_by([(name, "ascending") for name in _COLUMNS]))
    batches: list[pa.RecordBatch] = []

    def matrices() -> Iterator[np.ndarray]:
        for rows, matrix in vector_batches(tables, keepers, [*_COLUMNS, "fingerprint"]):
            batches.append(rows)
            yield matrix

    coming, path = matrices(), f"{folder}/vectors-{uuid.uuid4().hex[:12]}.lance"
    try:
        vectors = StoredVectors.written(tables.storage, path, coming)
        if vectors is None:
            yield None
        else:
            rows = pa.Table.from_batches(batches)
            ordered = rows.append_column("row", pa.array(np.arange(rows.num_rows)))
            ordered = ordered.sort_by([("clip_id", "ascending"), ("shard", "ascending")])
            yield KeptVectors(rows, vectors, ordered["row"].to_numpy())
    finally:
        tables.storage.delete_folder(path)
