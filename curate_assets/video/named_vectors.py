"""Vectors with the ids of what they stand for, from Parquet files of any program or from a table of a root."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate_assets.video.assets.clip_embeddings import CLIP_EMBEDDINGS
from curate_assets.video.clip_vectors import selected_vectors
from curate_resources.storage.range_file import range_file
from curate_resources.storage.root import Storage
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.errors import NotThere, UserError

ID, VECTOR = "id", "embedding"
"""The columns that cosmos-curate and NeMo Curator write."""

_ROWS = 16384


@dataclass(frozen=True)
class NamedVectors:
    """Unit vectors in the order of their ids.

    Attributes:
        ids: [n] texts or whole numbers, all different.
        matrix: float32 [n, d].
    """

    ids: pa.Array
    matrix: np.ndarray


def stored_vectors(tables: Tables, name: str = CLIP_EMBEDDINGS.name) -> NamedVectors:
    """Those of the selected clips of a root, from the table of that name; a clip that is in several shards, once.

    Raises:
        NotThere: there are none.
        MixedModels: they are of different models.
    """
    found = selected_vectors(tables.under({CLIP_EMBEDDINGS.name: name}))
    if not found.nodes:
        raise NotThere(f"no selected clip has a vector in {name}: `curate materialize --select +{name},clip_selection`")
    first = {node.clip_id: row for row, node in reversed([*enumerate(found.nodes)])}
    ids = sorted(first)
    return NamedVectors(pa.array(ids), found.matrix[[first[each] for each in ids]])


def vectors_in_files(folder: Storage, id_column: str = ID, vector_column: str = VECTOR) -> NamedVectors:
    """Those of all Parquet files in a folder and below it, at unit length.

    Raises:
        NotThere: there are no such files, or no rows in them.
        UserError: a file is no Parquet or lacks a column; a vector is missing, not finite, of length 0 or of other
            dimensions than the rest; or an id is missing or is there twice. Each names the file.
    """
    ids: list[pa.Array] = []
    parts: list[np.ndarray] = []
    origins: list[str] = []
    for path in _parquet_files(folder):
        uri = folder.uri(path)
        for batch in _batches(uri, (id_column, vector_column)):
            part = _unit(batch[0], batch[1], uri)
            if parts and part.shape[1] != parts[0].shape[1]:
                raise UserError(
                    f"{uri} has vectors of {part.shape[1]} dimensions, and {origins[0]} of {parts[0].shape[1]}: "
                    "give vectors of one model"
                )
            if ids and batch[0].type != ids[0].type:
                raise UserError(f"{uri} has ids of type {batch[0].type}, and {origins[0]} of {ids[0].type}")
            ids.append(batch[0])
            parts.append(part)
            origins.append(uri)
    if not parts:
        raise NotThere(f"{folder.root} has no Parquet file with rows in it")
    together = pa.concat_arrays(ids)
    order = pc.call_function("array_sort_indices", [together]).to_numpy()
    ordered = together.take(pa.array(order))
    repeated = pc.call_function("equal", [ordered[1:], ordered[:-1]])
    same = np.flatnonzero(repeated.to_numpy(zero_copy_only=False))
    if len(same):
        ends = np.cumsum([len(part) for part in parts])
        one, other = (origins[int(np.searchsorted(ends, order[row], "right"))] for row in (same[0], same[0] + 1))
        raise UserError(f"{ordered[same[0]].as_py()!r} is in {one} and again in {other}: an id must be there once")
    return NamedVectors(ordered, np.concatenate(parts)[order])


def _parquet_files(folder: Storage) -> list[str]:
    found = sorted(file.path for file in folder.walk("") if file.path.lower().endswith((".parquet", ".pq")))
    if not found:
        raise NotThere(f"{folder.root} holds no file that ends in .parquet")
    return found


def _batches(uri: str, columns: Sequence[str]) -> Iterator[tuple[pa.Array, pa.Array]]:
    import pyarrow.parquet as pq

    with closing(range_file(uri)) as file:
        try:
            parquet = pq.ParquetFile(file)
        except pa.ArrowInvalid as error:
            raise UserError(f"{uri} is no Parquet file: {error}") from error
        names = parquet.schema_arrow.names
        if missing := [column for column in columns if column not in names]:
            raise UserError(f"{uri} has no column {missing[0]!r}; it has {', '.join(names)}")
        kind = parquet.schema_arrow.field(columns[0]).type
        if not (pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise UserError(f"{uri}: {columns[0]} is {kind}, and ids are texts or whole numbers")
        for batch in parquet.iter_batches(_ROWS, columns=[*columns]):
            if batch.num_rows:
                yield batch[columns[0]], batch[columns[1]]


def _unit(ids: pa.Array, vectors: pa.Array, uri: str) -> np.ndarray:
    """The vectors of a batch at unit length, float32 [n, d]."""
    kind = vectors.type
    listed = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not listed or not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        raise UserError(f"{uri}: vectors are lists of numbers, and these are {kind}")
    if ids.null_count:
        raise UserError(f"{uri} has {ids.null_count} rows without an id")
    if vectors.null_count:
        raise UserError(f"{uri}: {ids.filter(vectors.is_null())[0].as_py()!r} has no vector")
    lengths = pc.call_function("list_value_length", [vectors]).to_numpy()
    if (none := np.flatnonzero(lengths == 0)).size:
        raise UserError(f"{uri}: the vector of {ids[int(none[0])].as_py()!r} is empty")
    if (other := np.flatnonzero(lengths != lengths[0])).size:
        named, count = ids[int(other[0])], lengths[other[0]]
        raise UserError(
            f"{uri}: {named.as_py()!r} has a vector of {count} dimensions, and {ids[0].as_py()!r} of {lengths[0]}"
        )
    values = vectors.flatten().to_numpy(zero_copy_only=False).astype(np.float64).reshape(len(ids), -1)
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    if (bad := np.flatnonzero(~np.isfinite(norms[:, 0]))).size:
        raise UserError(f"{uri}: the vector of {ids[int(bad[0])].as_py()!r} holds something that is no finite number")
    if (zero := np.flatnonzero(norms[:, 0] < 1e-12)).size:
        raise UserError(f"{uri}: the vector of {ids[int(zero[0])].as_py()!r} has length 0, and so no direction")
    return (values / norms).astype(np.float32)
