"""Rows by what they are like: the nearest vectors, and the texts that match words best.

Both ask Lance's index where there is one, and go through the rows that it does not have yet. What is found is the state
of one version of the table: a shard that is replaced meanwhile is seen as it was, or as it is.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate_resources.declarations.table import Table
from curate_resources.tables.indexes import ROWS_PER_CELL, create_index_of_words, index_of
from curate_resources.tables.lance_tables import Tables

if TYPE_CHECKING:
    import lance

SCORE = "score"
"""The column of what rows are ordered by: the cosine of vectors, BM25 of texts. More is nearer."""

_PROBES, _MANY_PROBES = 256, 1024
"""Cells of an index that are looked through for up to `_FEW` rows, and for more: these are spread over more cells."""
_FEW = 1000
_REFINED = 2
"""As many times the rows asked for are compared exactly, of those that the index thinks nearest; of many, these."""
_SPARE = 20
_MOST = 200_000
"""Rows that are fetched at most to find those that are kept, and all that have the last one's score."""
_DIGITS = 5
"""Of a cosine: beyond these, it depends on whether a row is in the index."""

_CACHED_BYTES = 1 << 30

Keep = Callable[[pa.Table], "NDArray[np.bool_]"]
"""Which of some rows count."""


@dataclass(frozen=True)
class Wanted:
    """Which rows are looked for, and how many.

    Attributes:
        limit: rows at most.
        columns: that they are given with, besides the table's keys, `shard` and `SCORE`.
        where: a condition in SQL on the table's own columns, which goes before the search: `limit` rows that fulfil it
            are found if there are as many.
        keep: which of the rows found count; more are fetched until there are enough.
        share: of all rows that `keep` lets through, about.
        few: whether so few rows fulfil `where` that comparing all of them is quicker than an index.
    """

    limit: int
    columns: Sequence[str] = ()
    where: str | None = None
    keep: Keep | None = None
    share: float = 1.0
    few: bool = False


@cache
def read_before() -> "lance.Session":
    """What searches of this process read of indexes: the next ones take a quarter of the time of the first."""
    import lance

    return lance.Session(index_cache_size_bytes=_CACHED_BYTES, metadata_cache_size_bytes=_CACHED_BYTES // 8)


def nearest(
    tables: Tables, table: Table, column: str, vector: NDArray[np.floating[Any]], wanted: Wanted, exact: bool = False
) -> pa.Table:
    """The rows whose vectors have the greatest cosine with one, the nearest first, equally near ones by their keys.

    Args:
        vector: float [d]; rows whose vectors have another length are not found.
        exact: without an index.

    Raises:
        NotThere: the table was never written.
    """
    dataset = tables.dataset(table.name, read_before())
    stored = dataset.schema.field(column).type
    fixed = pa.types.is_fixed_size_list(stored)
    if wanted.few or not fixed or stored.list_size != len(vector):
        return _gone_through(tables, table, column, vector, wanted)
    indexed = not exact and index_of(dataset, column) is not None
    query = np.asarray(vector, np.float32)

    def fetched(rows: int) -> pa.Table:
        how: dict[str, Any] = {"column": column, "q": query, "k": rows, "metric": "cosine", "use_index": indexed}
        if indexed:
            probes, refined = (_PROBES, _REFINED) if rows <= _FEW else (_MANY_PROBES, 1)
            how |= {"minimum_nprobes": max(probes, 2 * rows // ROWS_PER_CELL), "refine_factor": refined}
        found = dataset.to_table(
            columns=[*_named(table, wanted), "_distance"], nearest=how, filter=wanted.where, prefilter=True
        )
        scores = np.round(1 - found["_distance"].to_numpy(), _DIGITS)
        return found.drop_columns(["_distance"]).append_column(SCORE, pa.array(scores, pa.float32()))

    return _best(fetched, table, wanted)


def matching(tables: Tables, table: Table, column: str, words: str, wanted: Wanted) -> pa.Table:
    """The rows whose text has any of some words, by BM25, the best first, equally good ones by their keys. Words are
    compared by their stems, without case and accents.

    Raises:
        NotThere: the table was never written.
    """
    from lance.query import MatchQuery

    dataset, where = tables.dataset(table.name, read_before()), wanted.where
    if index_of(dataset, column) is None:
        names = list(dict.fromkeys([*_named(table, wanted), column]))
        dataset, where = _in_memory(tables.read(table, columns=names, where=where), column), None

    def fetched(rows: int) -> pa.Table:
        found = dataset.to_table(
            columns=[*_named(table, wanted), "_score"],
            full_text_query=MatchQuery(words, column),
            limit=rows,
            filter=where,
            prefilter=True,
        )
        return found.rename_columns([SCORE if name == "_score" else name for name in found.column_names])

    return _best(fetched, table, wanted)


def recall(
    tables: Tables, table: Table, column: str, queries: Iterable[NDArray[np.floating[Any]]], limit: int
) -> NDArray[np.float64]:
    """Of each of n vectors [d], the share of its `limit` nearest rows that a search by the index finds [n].

    Rows as near as the last of them count as found.
    """
    shares: list[float] = []
    for query in queries:
        exact, found = (
            nearest(tables, table, column, query, Wanted(limit), exact=exact)[SCORE].to_numpy()
            for exact in (True, False)
        )
        shares.append(float((found >= exact.min()).sum() / len(exact)) if len(exact) else 1.0)
    return np.array(shares)


def _in_memory(rows: pa.Table, column: str) -> "lance.LanceDataset":
    """Rows of a table that has no index yet, with an empty one: it says what words are."""
    import lance

    dataset = lance.write_dataset(rows, "memory://")
    create_index_of_words(dataset, column, train=False)
    return dataset


def _named(table: Table, wanted: Wanted) -> list[str]:
    return list(dict.fromkeys(["shard", *table.keys, *wanted.columns]))


def _best(fetched: Callable[[int], pa.Table], table: Table, wanted: Wanted) -> pa.Table:
    """As many rows as are wanted, of those that are kept. Where the last one has the score of others, all of them are
    fetched before the first in order are taken, so that it does not depend on the order in which they lie."""
    asked = min(_MOST, int(wanted.limit / max(wanted.share, 1e-9) * 1.5) + _SPARE)
    while True:
        rows = fetched(asked)
        kept = rows.filter(pa.array(wanted.keep(rows))) if wanted.keep is not None else rows
        if rows.num_rows < asked or asked >= _MOST:
            break
        scores = kept[SCORE].to_numpy()
        if len(scores) >= wanted.limit and np.sort(scores)[-wanted.limit] > rows[SCORE].to_numpy().min():
            break
        asked = min(_MOST, asked * 4)
    return _ordered(kept, table, wanted.limit)


def _ordered(rows: pa.Table, table: Table, limit: int) -> pa.Table:
    keys = [
        (key, "ascending")
        for key in (*table.keys[::-1], "shard")
        if not pa.types.is_nested(rows.schema.field(key).type)
    ]
    return rows.sort_by([(SCORE, "descending"), *keys]).slice(0, min(limit, rows.num_rows))


def _gone_through(
    tables: Tables, table: Table, column: str, vector: NDArray[np.floating[Any]], wanted: Wanted
) -> pa.Table:
    """As `nearest`, of few rows; or where vectors have several lengths, as while a model gives way to another."""
    query = np.asarray(vector, np.float64)
    query = query / max(float(np.linalg.norm(query)), 1e-12)
    names = _named(table, wanted)
    rows = tables.read(table, columns=[*names, column], where=wanted.where)
    lengths = rows[column].combine_chunks().value_lengths().fill_null(-1).to_numpy()
    rows = rows.filter(pa.array(lengths == len(query)))
    matrix = rows[column].combine_chunks().flatten().to_numpy().reshape(-1, len(query)).astype(np.float64)
    norms = np.maximum(np.linalg.norm(matrix, axis=1), 1e-12)
    scores = np.round(matrix @ query / norms, _DIGITS)
    found = rows.select(names).append_column(SCORE, pa.array(scores, pa.float32()))
    kept = found.filter(pa.array(wanted.keep(found))) if wanted.keep is not None else found
    return _ordered(kept, table, wanted.limit)
