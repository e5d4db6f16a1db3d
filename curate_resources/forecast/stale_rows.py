"""Rows that will be recomputed, and which items they belong to."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curate_resources.pipeline.fingerprints import Key

_EVERY: frozenset[Key] = frozenset({()})


@dataclass(frozen=True)
class Loose:
    """Rows of a unit that will be recomputed: those of some items; `keys` None: any of them.

    `again`: only because they failed before.
    """

    columns: tuple[str, ...]
    keys: frozenset[Key] | None
    again: bool


class ItemKeys:
    """The keys of items, column by column, each read once."""

    def __init__(self, items: pa.Table) -> None:
        self._items = items
        self._columns: dict[str, list[Any]] = {}

    def of(self, columns: Sequence[str], indices: Iterable[int]) -> frozenset[Key]:
        """Those of some items."""
        values = [self._column(name) for name in columns]
        return frozenset(tuple(column[index] for column in values) for index in indices) if columns else _EVERY

    def touched(self, indices: Sequence[int], loose: Loose | None) -> Iterator[int]:
        """Which items the loose rows of one table belong to, or may belong to."""
        shared = [name for name in loose.columns if name in self._items.column_names] if loose is not None else []
        if loose is None or loose.keys is None or not shared:
            yield from indices
            return
        places = [loose.columns.index(name) for name in shared]
        keys = {tuple(key[place] for place in places) for key in loose.keys}
        columns = [self._column(name) for name in shared]
        for index in indices:
            if tuple(column[index] for column in columns) in keys:
                yield index

    def _column(self, name: str) -> list[Any]:
        if name not in self._columns:
            self._columns[name] = self._items[name].to_pylist()
        return self._columns[name]
