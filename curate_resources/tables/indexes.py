"""Indexes of large tables: of their shards and keys, of the vectors that one looks for neighbours in, and of the words
of texts.

What they are made of is declared with the columns (`Column.sought`, `Column.vectors`, `Column.text`). An index is never
needed for a right answer: rows that were written since are looked through, and rows that are gone are not found.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curate_resources.declarations.table import Table
from curate_resources.tables.lance_tables import Tables

if TYPE_CHECKING:
    import lance

INDEXED_FROM_ROWS = 100_000
"""Smaller tables are gone through in a few milliseconds."""
SEARCHED_FROM_ROWS = 20_000
"""The same of vectors and texts, which are longer."""
ROWS_PER_CELL = 1_000
"""Vectors in a cell of an index, about; a search looks through some cells."""
_SHARDS_PER_PAGE, _IDS_PER_PAGE = 4096, 1024
"""Rows of a page of an index. Who looks up a value compares all of its page: ids are looked up by the hundred, and with
long pages the first search of a process took six times as long."""
_GROWN = 4
"""Cells are found anew when there should be this many times as many; until then new vectors go into those that are."""
_DELTAS = 8
"""As many parts an index may have, one for each time that rows came; they are then joined."""


@dataclass(frozen=True)
class _Index:
    """An index that a table should have."""

    column: str
    rows: int
    create: "Callable[[lance.LanceDataset], Any]"
    outgrown: "Callable[[lance.LanceDataset, str], bool]"


def indexed_anew(tables: Tables, table: Table) -> bool:
    """Give a stored table the indexes that it should have, and take what was written since up into them; whether there
    was anything to do."""
    done = [_kept_up(tables, table, index) for index in _wanted(table, tables.dataset(table.name))]
    return any(done)


def _wanted(table: Table, dataset: "lance.LanceDataset") -> list[_Index]:
    sought = [(column.name, _IDS_PER_PAGE) for column in table.columns if column.sought][-1:]
    found = [
        _Index(name, INDEXED_FROM_ROWS, partial(_create_of_values, name, per_page), _never)
        for name, per_page in (("shard", _SHARDS_PER_PAGE), *sought)
        if name in dataset.schema.names
    ]
    for column in table.columns:
        if column.text:
            found.append(_Index(column.name, SEARCHED_FROM_ROWS, partial(_create_of_words, column.name), _never))
        if column.vectors and pa.types.is_fixed_size_list(dataset.schema.field(column.name).type):
            create = partial(_create_of_vectors, column.name)
            found.append(_Index(column.name, SEARCHED_FROM_ROWS, create, _has_few_cells))
    return found


def _kept_up(tables: Tables, table: Table, index: _Index) -> bool:
    dataset = tables.dataset(table.name)
    name = index_of(dataset, index.column)
    if name is None or index.outgrown(dataset, name):
        if dataset.count_rows() < index.rows:
            return False
        index.create(dataset)
        return True
    stats = dataset.stats.index_stats(name)
    if not stats["num_unindexed_rows"]:
        return False
    joined = stats["num_indices"] if stats["num_indices"] >= _DELTAS else 0
    dataset.optimize.optimize_indices(index_names=[name], num_indices_to_merge=joined)
    return True


def index_of(dataset: "lance.LanceDataset", column: str) -> str | None:
    """The name of the index of a column, if there is one."""
    return next((index.name for index in dataset.describe_indices() if index.field_names == [column]), None)


def _create_of_values(column: str, per_page: int, dataset: "lance.LanceDataset") -> None:
    from lance.indices import IndexConfig

    dataset.create_scalar_index(column, IndexConfig("BTREE", {"zone_size": per_page}))


def create_index_of_words(dataset: "lance.LanceDataset", column: str, train: bool = True) -> None:
    """Index the words of a column by their stems, without case and accents; none is left out, not even `the` and `not`.

    Args:
        train: with the rows that are there; else it only says what a word is.
    """
    dataset.create_scalar_index(
        column, "INVERTED", with_position=False, remove_stop_words=False, stem=True, train=train
    )


def _create_of_words(column: str, dataset: "lance.LanceDataset") -> None:
    create_index_of_words(dataset, column)


def _create_of_vectors(column: str, dataset: "lance.LanceDataset") -> None:
    dataset.create_index(column, "IVF_RQ", metric="cosine", num_partitions=_cells(dataset), replace=True)


def _cells(dataset: "lance.LanceDataset") -> int:
    return max(1, dataset.count_rows() // ROWS_PER_CELL)


def _never(*_: object) -> bool:
    return False


def _has_few_cells(dataset: "lance.LanceDataset", name: str) -> bool:
    parts = dataset.stats.index_stats(name)["indices"]
    return max(part["num_partitions"] for part in parts) * _GROWN <= _cells(dataset)
