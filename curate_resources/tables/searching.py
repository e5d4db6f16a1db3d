"""Rows by what they are like: the nearest vectors, and the texts that match words best.

Both ask Lance's index where there is one, and go through the rows that it does not have yet. What is found is the state
of one version of the table: a shard that is replaced meanwhile is seen as it was, or as it is.
"""

from collections.abc import Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate_resources.declarations.table import Table
from curate_resources.tables.best_rows import ROW_ID, SCORE, Ids, Scores, Wanted, best_rows, named_columns, rows_by_id
from curate_resources.tables.indexes import create_index_of_words, index_of
from curate_resources.tables.lance_tables import Tables

if TYPE_CHECKING:
    import lance

_PROBES = 256
"""Cells of an index that are looked through at least,"""
_ROWS_PER_PROBE = 2
"""and one for so many rows that are looked for: where a condition takes most away, what is left is spread over all."""
_DIGITS = 5
"""Of a cosine: beyond these, it depends on whether a row is in the index."""

_CACHED_BYTES = 1 << 30


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
    if wanted.few or not pa.types.is_fixed_size_list(stored) or stored.list_size != len(vector):
        return best_rows(dataset, table, wanted, _compared(dataset, column, vector, wanted.where))
    indexed = not exact and index_of(dataset, column) is not None
    query = np.asarray(vector, np.float32)

    def found(rows: int) -> tuple[Ids, Scores]:
        how: dict[str, Any] = {"column": column, "q": query, "k": rows, "metric": "cosine", "use_index": indexed}
        if indexed:
            how |= {"minimum_nprobes": max(_PROBES, rows // _ROWS_PER_PROBE)}
        near = dataset.to_table(
            columns=["_distance"], nearest=how, filter=wanted.where, prefilter=True, with_row_id=True
        )
        return _best_first(near[ROW_ID], 1 - near["_distance"].to_numpy().astype(np.float64))

    def cosines(ids: Ids) -> Scores:
        return _cosines(rows_by_id(dataset, ids, [column])[column], vector)

    return best_rows(dataset, table, wanted, found, cosines)


def matching(tables: Tables, table: Table, column: str, words: str, wanted: Wanted, all_of: str = "") -> pa.Table:
    """The rows whose text has any of some words, by BM25, the best first, equally good ones by their keys. Words are
    compared by their stems, without case and accents.

    Args:
        all_of: words that it has to have, besides.

    Raises:
        NotThere: the table was never written.
    """
    from lance.query import BooleanQuery, FullTextOperator, MatchQuery, Occur

    dataset, where = tables.dataset(table.name, read_before()), wanted.where
    if index_of(dataset, column) is None:
        looked_at = [name for test in wanted.keep for name in test.columns]
        names = list(dict.fromkeys([*named_columns(table, wanted), *looked_at, column]))
        dataset, where = _in_memory(tables.read(table, columns=names, where=where), column), None
    asked: Any = MatchQuery(words, column)
    if all_of:
        needed = (Occur.MUST, MatchQuery(all_of, column, operator=FullTextOperator.AND))
        asked = BooleanQuery([needed, (Occur.SHOULD, asked)] if words else [needed])

    def found(rows: int) -> tuple[Ids, Scores]:
        good = dataset.to_table(
            columns=["_score"], full_text_query=asked, limit=rows, filter=where, prefilter=True, with_row_id=True
        )
        return _best_first(good[ROW_ID], good["_score"].to_numpy().astype(np.float64))

    return best_rows(dataset, table, wanted, found)


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


def _best_first(ids: pa.ChunkedArray, scores: Scores) -> tuple[Ids, Scores]:
    order = np.argsort(-scores, kind="stable")
    return ids.to_numpy()[order], scores[order]


def _compared(
    dataset: "lance.LanceDataset", column: str, vector: NDArray[np.floating[Any]], where: str | None
) -> Callable[[int], tuple[Ids, Scores]]:
    """All rows for which a condition holds, of few; or where vectors have several lengths, as while a model gives way
    to another."""
    rows = dataset.to_table(columns=[column], filter=where, with_row_id=True)
    lengths = pc.call_function("list_value_length", [rows[column]]).fill_null(-1).to_numpy()
    rows = rows.filter(pa.array(lengths == len(vector)))
    ids, scores = _best_first(rows[ROW_ID], _cosines(rows[column], vector))
    return lambda count: (ids[:count], scores[:count])


def _cosines(vectors: pa.ChunkedArray, vector: NDArray[np.floating[Any]]) -> Scores:
    """Of vectors [n, d] with one [d], rounded."""
    query = np.asarray(vector, np.float64)
    matrix = pc.call_function("list_flatten", [vectors]).to_numpy().reshape(-1, len(query)).astype(np.float64)
    norms = np.maximum(np.linalg.norm(matrix, axis=1) * np.linalg.norm(query), 1e-12)
    return np.round(matrix @ query / norms, _DIGITS)
