"""The best of the rows that an index thinks good: in order, judged by tests that need more of a row than its score.

Of each row only its id and its score are fetched at first. What tests and callers look at is read for few: a text costs
some ten microseconds a row, a vector more.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate_resources.declarations.table import Table

if TYPE_CHECKING:
    import lance

SCORE = "score"
"""The column of what rows are ordered by: the cosine of vectors, BM25 of texts. More is nearer."""

ROW_ID = "_rowid"

MOST = 200_000
"""Rows that are looked at at most to find those that are kept, and all that have the last one's score."""
_MORE, _SPARE = 1.25, 20
"""As many times the rows asked for are taken first, and some: an index orders them about right."""
_GROWTH = 16
_AT_ONCE = 20_000

Ids = NDArray[np.uint64]
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Keep:
    """A test of rows.

    Attributes:
        columns: that it looks at.
        of: which of some rows, with these columns, count.
    """

    columns: tuple[str, ...]
    of: Callable[[pa.Table], NDArray[np.bool_]]


@dataclass(frozen=True)
class Wanted:
    """Which rows are looked for, and how many.

    Attributes:
        limit: rows at most.
        columns: that they are given with, besides the table's keys, `shard` and `SCORE`.
        where: a condition in SQL on the table's own columns, which goes before the search: `limit` rows that fulfil it
            are found if there are as many.
        keep: tests that the rows found have to pass, one after the other; more are fetched until there are enough.
        share: of all rows that pass them, about.
        few: whether so few rows fulfil `where` that comparing all of them is quicker than an index.
    """

    limit: int
    columns: Sequence[str] = ()
    where: str | None = None
    keep: tuple[Keep, ...] = ()
    share: float = 1.0
    few: bool = False


def named_columns(table: Table, wanted: Wanted) -> list[str]:
    """The columns that rows are given with."""
    return list(dict.fromkeys(["shard", *table.keys, *wanted.columns]))


def rows_by_id(dataset: "lance.LanceDataset", ids: Ids, columns: Sequence[str]) -> pa.Table:
    """Some columns of the rows of one version of a table that have these ids, in their order."""
    schema = pa.schema([dataset.schema.field(name) for name in columns])
    parts = [schema.empty_table()]
    for start in range(0, len(ids), _AT_ONCE):
        some = ids[start : start + _AT_ONCE]
        where = f"{ROW_ID} IN ({', '.join(map(str, some.tolist()))})"
        rows = dataset.to_table(columns=list(columns), filter=where, with_row_id=True)
        parts.append(rows.select(list(columns)).take(_places(some, rows[ROW_ID].to_numpy())))
    return pa.concat_tables(parts)


def _places(ids: Ids, among: Ids) -> pa.Array:
    """Of each id its place among others, which it is one of."""
    order = np.argsort(among)
    return pa.array(order[np.searchsorted(among, ids, sorter=order)])


def best_rows(
    dataset: "lance.LanceDataset",
    table: Table,
    wanted: Wanted,
    found: Callable[[int], tuple[Ids, Scores]],
    exact: Callable[[Ids], Scores] | None = None,
) -> pa.Table:
    """As many rows as are wanted, the best first, equally good ones by their keys. Where the last one has the score of
    others, all of them are looked at before the first in order are taken, so that it does not depend on how they lie.

    Args:
        found: gives the ids of so many rows that are best, or thought so, and their scores, the best first.
        exact: gives the scores of rows, where those that are found are about right only.
    """
    limit, rows = wanted.limit, _Rows(dataset, wanted.keep, named_columns(table, wanted))
    asked = min(MOST, int(limit / max(wanted.share, 1e-9) * _MORE) + _SPARE)
    judged, kept, thought = np.empty(0, np.uint64), np.empty(0, np.uint64), np.empty(0)
    while True:
        ids, scores = found(asked)
        is_new = ~np.isin(ids, judged)
        is_new[is_new] = rows.passing(ids[is_new])
        judged, kept, thought = ids, np.append(kept, ids[is_new]), np.append(thought, scores[is_new])
        order = np.argsort(-thought, kind="stable")
        kept, thought = kept[order], thought[order]
        last = len(ids) < asked or asked >= MOST
        count = int(limit * _MORE) + _SPARE
        while True:
            chosen, known = kept[:count], exact(kept[:count]) if exact is not None else thought[:count]
            beyond = known if len(chosen) < len(kept) or exact is not None else scores
            enough = len(known) >= limit and np.sort(known)[-limit] > beyond.min()
            if enough or (last and len(chosen) == len(kept)):
                return _ordered(rows, table, limit, chosen, known)
            if len(chosen) == len(kept):
                break
            count *= 4
        grown = limit * _MORE / max(len(kept), 1)
        asked = min(MOST, int(asked * min(max(grown, 2), _GROWTH)))


class _Rows:
    """What is read of rows: of all what the first test looks at; of those that pass it the rest, once."""

    def __init__(self, dataset: "lance.LanceDataset", tests: Sequence[Keep], named: Sequence[str]) -> None:
        self._dataset, self._tests, self._named = dataset, tests, named
        self._rest = list(dict.fromkeys([*named, *(name for test in tests[1:] for name in test.columns)]))
        self._ids, self._parts = [np.empty(0, np.uint64)], [rows_by_id(dataset, np.empty(0, np.uint64), self._rest)]

    def passing(self, ids: Ids) -> NDArray[np.bool_]:
        """Which rows pass all tests; the later ones see only what the earlier ones let through."""
        passing = np.ones(len(ids), bool)
        if not self._tests or not len(ids):
            return passing
        first, *others = self._tests
        passing &= first.of(rows_by_id(self._dataset, ids, first.columns))
        if not others:
            return passing
        rows = rows_by_id(self._dataset, ids[passing], self._rest)
        for test in others:
            of_rows = test.of(rows)
            passing[passing] = of_rows
            rows = rows.filter(pa.array(of_rows))
        self._ids.append(ids[passing])
        self._parts.append(rows)
        return passing

    def named(self, ids: Ids) -> pa.Table:
        """The columns that are asked for, of rows that passed."""
        if len(self._tests) < 2:  # else they were read for the later tests
            return rows_by_id(self._dataset, ids, self._named)
        rows = pa.concat_tables(self._parts).select(list(self._named))
        return rows.take(_places(ids, np.concatenate(self._ids)))


def _ordered(rows: _Rows, table: Table, limit: int, ids: Ids, scores: Scores) -> pa.Table:
    if len(ids) > limit:
        first = scores >= np.sort(scores)[-limit]
        ids, scores = ids[first], scores[first]
    found = rows.named(ids).append_column(SCORE, pa.array(scores, pa.float32()))
    keys = [
        (key, "ascending")
        for key in (*table.keys[::-1], "shard")
        if not pa.types.is_nested(found.schema.field(key).type)
    ]
    return found.sort_by([(SCORE, "descending"), *keys]).slice(0, min(limit, len(found)))
