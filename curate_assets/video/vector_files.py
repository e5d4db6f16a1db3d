"""Vectors in Parquet files of any program, with the ids of what they stand for."""

from collections.abc import Iterator, Sequence
from contextlib import closing

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate_assets.video.named_vectors import NamedPart
from curate_resources.storage.range_file import range_file
from curate_resources.storage.root import Storage
from gpu_kernels.errors import NotThere, UserError

ID, VECTOR = "id", "embedding"
"""The columns that cosmos-curate and NeMo Curator write."""

CLUSTERED, EXTRACTED = "clustering_results", "extraction"
"""The folders that `curate semdedup` writes, by the names of cosmos-curate. They are no input."""

_ENDINGS = (".parquet", ".pq")
_ROWS = 4096

_LISTS = (
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_fixed_size_list,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
)


def parts_in_files(folder: Storage, id_column: str = ID, vector_column: str = VECTOR) -> Iterator[NamedPart]:
    """The rows of all Parquet files in a folder and below it, or of one file, at unit length. Ids are texts, however
    they are stored, or whole numbers.

    Raises:
        NotThere: there are no such files, or no rows in them.
        UserError: a file is no Parquet or lacks a column; a vector is missing, not finite, of length 0 or of other
            dimensions than the rest of its file; or an id is missing. Each names the file.
    """
    found = False
    for uri in _parquet_files(folder):
        for ids, vectors in _batches(uri, (id_column, vector_column)):
            found = True
            yield NamedPart(ids, _unit(ids, vectors, uri), uri)
    if not found:
        raise NotThere(f"{folder.root} has no Parquet file with rows in it")


def _parquet_files(folder: Storage) -> list[str]:
    """Their URIs."""
    above, _, name = folder.root.rpartition("/")
    if name.lower().endswith(_ENDINGS) and Storage(above).exists(name):
        return [folder.root]
    found = sorted(file.path for file in folder.walk("") if file.path.lower().endswith(_ENDINGS))
    if not found:
        raise NotThere(f"{folder.root}: there is no such file, nor a folder with files that end in .parquet")
    if written := [path for path in found if path.startswith((f"{CLUSTERED}/", f"{EXTRACTED}/"))]:
        raise UserError(
            f"{folder.uri(written[0])} is what `curate semdedup` wrote, and its vectors would be read once more: "
            "move its folders out of those that are read, and name another --output"
        )
    return [folder.uri(path) for path in found]


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
        if parquet.metadata.num_rows == 0:  # programs give columns without values any type
            return
        kind = _id_type(parquet.schema_arrow.field(columns[0]).type)
        if kind is None:
            stored = parquet.schema_arrow.field(columns[0]).type
            raise UserError(f"{uri}: {columns[0]} is {stored}, and ids are texts or whole numbers")
        for batch in parquet.iter_batches(_ROWS, columns=[*columns]):
            if batch.num_rows:
                yield batch[columns[0]].cast(kind), batch[columns[1]]


def _id_type(stored: pa.DataType) -> pa.DataType | None:
    """One type for ids that are the same, however a file has them; None: these are no ids."""
    kind = stored.value_type if pa.types.is_dictionary(stored) else stored
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_integer(kind):
        return kind if pa.types.is_uint64(kind) else pa.int64()
    return None


def _unit(ids: pa.Array, vectors: pa.Array, uri: str) -> np.ndarray:
    """The vectors of a batch at unit length, float32 [n, d]."""
    kind = vectors.type
    listed = any(is_one(kind) for is_one in _LISTS)
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
