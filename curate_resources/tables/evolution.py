"""Bringing a stored table to the columns that the code has now, in place: no row is computed again for it.

A column that was added is null in stored rows, or made from their other columns (`Column.derived`). A column whose type
changed is cast. Lists that have one length are stored as fixed-size lists (`Column.vectors`), which is what searches
and indexes of Lance and LanceDB work on; the rows in flight have plain lists all the same.

Lance does each step in one commit, and what a process that died has left half done is removed first.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from curate_resources.declarations.table import Column, Table
from gpu_kernels.errors import UserError

if TYPE_CHECKING:
    import lance

_NEW, _OLD = "__new", "__old"
_MOST_CHECKED = 100_000
"""Of a larger table, whether all lists have one length by now is looked at by upkeep only: that reads the column."""


class TableSchemaChanged(UserError):
    """A stored table has columns that this version does not know, or that cannot be cast."""


def created_schema(table: Table, rows: pa.Table) -> pa.Schema:
    """The columns of a new table whose first rows are these."""
    fixed = {column.name: _one_length(rows[column.name]) for column in table.columns if column.vectors}
    return pa.schema(
        [
            field.with_type(pa.list_(field.type.value_type, length)) if (length := fixed.get(field.name)) else field
            for field in table.schema
        ]
    )


def evolved(dataset: "lance.LanceDataset", table: Table, rows: pa.Table, thorough: bool = False) -> None:
    """Bring a stored table to the columns of the code; `rows` are to be stored in it.

    Args:
        thorough: look at all lists of a large table, too.

    Raises:
        TableSchemaChanged: it has columns that this version does not know, or that cannot be cast.
    """
    if left := [name for name in dataset.schema.names if name.endswith((_NEW, _OLD))]:
        dataset.drop_columns(left)
    if unknown := sorted(set(dataset.schema.names) - set(table.schema.names)):
        raise TableSchemaChanged(
            f"table {table.name} at {dataset.uri} has the columns {', '.join(unknown)}, which this version does not "
            f"know: run the version that wrote it, or move the table away and materialize {table.name} again"
        )
    stored = set(dataset.schema.names)
    for column in table.all_columns:
        if column.name not in stored:
            _add(dataset, column)
        elif column.vectors:
            _fix(dataset, column, rows, thorough)
        elif _castable(dataset.schema.field(column.name).type, column.type):
            _cast(dataset, table, column)


def as_stored(rows: pa.Table, dataset: "lance.LanceDataset") -> pa.Table:
    """Rows with the types that they are stored with."""
    for index, name in enumerate(rows.column_names):
        field = dataset.schema.field(name)
        if pa.types.is_fixed_size_list(field.type):
            rows = rows.set_column(index, field, _fixed(rows[name], field.type))
    return rows


def as_declared(rows: pa.Table, columns: Sequence[pa.Field], table: Table) -> pa.Table:
    """Stored rows with the columns and types of the code."""
    derived = {column.name: column.derived for column in table.columns}
    arrays: list[pa.ChunkedArray | pa.Array] = []
    for field in columns:
        if field.name in rows.column_names:
            arrays.append(rows[field.name].cast(field.type))
        elif (derive := derived.get(field.name)) is not None:
            arrays.append(derive(rows).cast(field.type))
        else:
            arrays.append(pa.nulls(rows.num_rows, field.type))
    return pa.table(arrays, schema=pa.schema(columns))


def _add(dataset: "lance.LanceDataset", column: Column) -> None:
    field = pa.field(column.name, column.type)
    if column.derived is None:
        dataset.add_columns(field)
    else:
        _computed(dataset, column, field)


def _computed(dataset: "lance.LanceDataset", column: Column, field: pa.Field) -> None:
    """Add a column that is made from those that are there."""
    import lance

    schema, derive = pa.schema([field]), column.derived

    @lance.batch_udf(output_schema=schema)
    def made(batch: pa.RecordBatch) -> pa.RecordBatch:
        assert derive is not None
        array = derive(pa.table(batch)).cast(field.type)
        return pa.record_batch([array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array], schema=schema)

    dataset.add_columns(made)


def _castable(stored: pa.DataType, declared: pa.DataType) -> bool:
    return stored != declared and pa.types.is_primitive(stored) and pa.types.is_primitive(declared)


def _cast(dataset: "lance.LanceDataset", table: Table, column: Column) -> None:
    try:
        wider: Any = {"path": column.name, "data_type": column.type}
        dataset.alter_columns(wider)
    except (ValueError, OSError) as error:
        raise TableSchemaChanged(
            f"column {column.name} of table {table.name} at {dataset.uri} cannot become {column.type}: {error}; move "
            f"the table away and materialize {table.name} again"
        ) from error


def _fix(dataset: "lance.LanceDataset", column: Column, rows: pa.Table, thorough: bool) -> None:
    """See that lists are stored with a fixed length if all have the same one, and without where they have not."""
    stored, lengths = dataset.schema.field(column.name).type, _lengths(rows[column.name])
    if pa.types.is_fixed_size_list(stored):
        if lengths - {stored.list_size}:
            _retyped(dataset, column, pa.list_(stored.value_type))
        return
    if len(lengths) > 1 or (not thorough and dataset.count_rows() > _MOST_CHECKED):
        return
    for batch in dataset.to_batches(columns=[column.name]):
        lengths |= _lengths(batch.column(0))
        if len(lengths) > 1:
            return
    if lengths:
        _retyped(dataset, column, pa.list_(stored.value_type, lengths.pop()))


def _retyped(dataset: "lance.LanceDataset", column: Column, to: pa.DataType) -> None:
    """Store a column with another type. Readers see the old one or the new one, never none."""
    import lance

    schema = pa.schema([pa.field(column.name + _NEW, to)])

    @lance.batch_udf(output_schema=schema)
    def made(batch: pa.RecordBatch) -> pa.RecordBatch:
        lists = batch.column(0)
        array = _fixed(lists, to) if pa.types.is_fixed_size_list(to) else lists.cast(to)
        return pa.record_batch([array], schema=schema)

    dataset.add_columns(made, read_columns=[column.name])
    renamed: list[Any] = [
        {"path": column.name, "name": column.name + _OLD},
        {"path": column.name + _NEW, "name": column.name},
    ]
    dataset.alter_columns(*renamed)
    dataset.drop_columns([column.name + _OLD])


def _lengths(lists: pa.ChunkedArray | pa.Array) -> set[int]:
    chunks = lists.chunks if isinstance(lists, pa.ChunkedArray) else [lists]
    return {length for chunk in chunks for length in chunk.value_lengths().unique().to_pylist() if length is not None}


def _one_length(lists: pa.ChunkedArray | pa.Array) -> int | None:
    lengths = _lengths(lists)
    return lengths.pop() if len(lengths) == 1 else None


def _fixed(lists: pa.ChunkedArray | pa.Array, to: pa.DataType) -> pa.Array:
    """Lists of one length as a fixed-size array; nulls stay null."""
    whole = lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists
    if isinstance(whole, pa.ChunkedArray):
        whole = pa.concat_arrays(whole.chunks)
    there = whole.is_valid().to_numpy(zero_copy_only=False)
    values = np.zeros((len(whole), to.list_size), to.value_type.to_pandas_dtype())
    values[there] = whole.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, to.list_size)
    return pa.FixedSizeListArray.from_arrays(
        pa.array(values.ravel(), to.value_type), to.list_size, mask=whole.is_null()
    )
