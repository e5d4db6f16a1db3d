"""What every committed shard was made with, and what it took: a Lance table at `<root>/history/materializations.lance`.

One record per materialization, appended right after the rows were swapped in. The tables alone decide what is computed;
the history says why, and how long it took. Appends of several processes never conflict.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate_resources.declarations.table import Recipe, Table
from curate_resources.storage.root import Storage, is_local
from curate_resources.tables.commits import committed
from curate_resources.tables.datasets import created, opened

if TYPE_CHECKING:
    import lance

HISTORY = "history"
"""The folder below the root."""
_PATH = f"{HISTORY}/materializations.lance"

ALL_SHARDS = ""
"""The shard of records of assets that are made for all shards at once."""

_SCHEMA = pa.schema(
    [
        ("table", pa.string()),
        ("shard", pa.string()),
        ("at", pa.timestamp("ns", "UTC")),
        ("code_version", pa.string()),
        ("model", pa.string()),
        ("model_revision", pa.string()),
        ("settings", pa.string()),
        ("inputs", pa.map_(pa.string(), pa.string())),
        ("rows", pa.int64()),
        ("statuses", pa.map_(pa.string(), pa.int64())),
        ("computed", pa.int64()),
        ("reused", pa.int64()),
        ("seconds", pa.float64()),
        ("bytes", pa.int64()),
        ("table_version", pa.int64()),
        ("digest", pa.string()),
        ("measures", pa.map_(pa.string(), pa.list_(pa.float64()))),
    ]
)

_READ_SCHEMA = pa.schema([field.with_type(pa.int64()) if field.name == "at" else field for field in _SCHEMA])
"""Python's own times have no nanoseconds."""

_COMPACT_EVERY = 256
"""Versions: each lists all fragments, so many small ones make every append dearer."""

_NOT_NOW = ("conflict", "(os error 28)")
"""In errors of joining files: another process does it; the disk is full."""
_ROWS_PER_FRAGMENT = 1 << 16
_READERS_AGE = timedelta(hours=1)


@dataclass(frozen=True)
class Record:
    """One materialization of a table's shard.

    Attributes:
        shard: ALL_SHARDS for an asset that is made for all of them at once.
        at: when it was committed, in nanoseconds since 1970.
        recipe: what the rows were made with.
        inputs: by table that the rows are made from, `identity_digest` of its rows.
        rows, statuses, computed, reused, seconds, bytes, digest: as of `Materialized`.
        table_version: the table's version after the commit.
        measures: numbers of the rows, by name: see `Table.measures`.
    """

    table: str
    shard: str
    at: int
    recipe: Recipe
    inputs: Mapping[str, str]
    rows: int
    statuses: Mapping[str, int]
    computed: int
    reused: int
    seconds: float
    bytes: int
    table_version: int
    digest: str
    measures: Mapping[str, list[float]]


@dataclass(frozen=True)
class Total:
    """All records of a table together.

    Attributes:
        commits: how many there are.
        computed, reused, seconds: as of `Record`, summed.
        last: when the last was committed, in nanoseconds since 1970.
    """

    commits: int
    computed: int
    reused: int
    seconds: float
    last: int


def identities(table: Table, parts: Sequence[pa.Table]) -> set[tuple[Any, ...]]:
    """Rows as far as they matter to what is made from them; their order does not."""
    columns = identity_columns(table)
    return {key for rows in parts for key in zip(*(rows[name].to_pylist() for name in columns), strict=True)}


def identity_columns(table: Table) -> list[str]:
    """The columns that `identities` looks at."""
    return list(dict.fromkeys((*table.links, *table.identity, "status")))


def identity_digest(table: Table, parts: Sequence[pa.Table]) -> str:
    """A digest of `identities`."""
    return _digest(identities(table, parts))


def identity_digests(table: Table, rows: pa.Table, shards: Sequence[str], of: Sequence[str]) -> dict[str, str]:
    """`identity_digest` of many shards.

    Args:
        of: the shard of each row.
    """
    found: dict[str, set[tuple[Any, ...]]] = {shard: set() for shard in shards}
    keys = zip(*(rows[name].to_pylist() for name in identity_columns(table)), strict=True)
    for shard, key in zip(of, keys, strict=True):
        found[shard].add(key)
    return {shard: _digest(own) for shard, own in found.items()}


def _digest(found: Iterable[tuple[Any, ...]]) -> str:
    return hashlib.sha256("\n".join(sorted(map(repr, found))).encode()).hexdigest()[:32]


NO_ROWS = _digest(())
"""`identity_digest` of no rows."""


@dataclass(frozen=True)
class History:
    """The history under a root."""

    storage: Storage

    def append(self, *records: Record) -> None:
        """Add records, in one commit."""
        import lance

        rows = pa.Table.from_pylist([_row(record) for record in records], schema=_SCHEMA)

        def append() -> "lance.LanceDataset":
            return lance.write_dataset(rows, self._open() or created(self.storage, _PATH, _SCHEMA), mode="append")

        dataset = committed(append, is_local(self.storage.root))
        if dataset.version % _COMPACT_EVERY == 0:
            self.compact(_READERS_AGE)

    def index(self) -> "HistoryIndex":
        """Which records there are now, to be asked many times."""
        dataset = self._open()
        narrow = ["table", "shard", "at"]
        keys = dataset.to_table(columns=narrow) if dataset is not None else _SCHEMA.empty_table().select(narrow)
        return HistoryIndex(dataset, keys.append_column("position", pa.array(range(keys.num_rows), pa.int64())))

    def totals(self) -> dict[str, Total]:
        """What all records of each table say together."""
        dataset = self._open()
        if dataset is None:
            return {}
        counted = ["computed", "reused", "seconds"]
        rows = dataset.to_table(columns=["table", "at", *counted])
        sums = [(name, "sum") for name in counted]
        grouped = rows.group_by("table").aggregate([([], "count_all"), *sums, ("at", "max")])
        grouped = grouped.set_column(grouped.column_names.index("at_max"), "at_max", grouped["at_max"].cast(pa.int64()))
        return {
            row["table"]: Total(
                row["count_all"], row["computed_sum"], row["reused_sum"], row["seconds_sum"], row["at_max"]
            )
            for row in grouped.to_pylist()
        }

    def latest(self, tables: Collection[str], shards: Collection[str]) -> dict[tuple[str, str], Record]:
        """See HistoryIndex."""
        return self.index().latest(tables, shards)

    def last(self, table: str, count: int, shard: str | None = None) -> list[Record]:
        """See HistoryIndex."""
        return self.index().last(table, count, shard)

    def compact(self, older_than: timedelta, delete_unverified: bool = False) -> int:
        """Drop versions of that age, and make one file of many small ones, unless another process does so or there is
        no room for it; returns bytes freed."""
        dataset = self._open()
        if dataset is None:
            return 0

        def freed() -> int:
            cleaned = dataset.cleanup_old_versions(older_than=older_than, delete_unverified=delete_unverified)
            return cleaned.bytes_removed

        before = freed()
        try:
            dataset.optimize.compact_files(target_rows_per_fragment=_ROWS_PER_FRAGMENT)
        except OSError as error:
            if not any(said in str(error).lower() for said in _NOT_NOW):
                raise
        return before + freed()

    def _open(self) -> "lance.LanceDataset | None":
        return opened(self.storage, _PATH)


@dataclass(frozen=True)
class HistoryIndex:
    """The records of a history as it stood at one time. Of the whole, only three narrow columns are held."""

    _dataset: "lance.LanceDataset | None"
    _keys: pa.Table

    def latest(self, tables: Collection[str], shards: Collection[str]) -> dict[tuple[str, str], Record]:
        """The last record of every one of some tables and shards that has any."""
        return {key: records[0] for key, records in self.recent(tables, shards, 1).items()}

    def recent(
        self, tables: Collection[str], shards: Collection[str], count: int
    ) -> dict[tuple[str, str], list[Record]]:
        """The last `count` records of every one of some tables and shards that has any, the newest first."""
        newest: dict[tuple[str, str], list[int]] = {}
        for row in self._newest_first(tables, shards).to_pylist():
            places = newest.setdefault((row["table"], row["shard"]), [])
            if len(places) < count:
                places.append(row["position"])
        found: dict[tuple[str, str], list[Record]] = {}
        for record in self._records([place for places in newest.values() for place in places]):
            found.setdefault((record.table, record.shard), []).append(record)
        return found

    def last(self, table: str, count: int, shard: str | None = None) -> list[Record]:
        """The last `count` records of a table, or of a shard of it, the newest first."""
        keys = self._newest_first([table], None if shard is None else [shard])
        return self._records(keys["position"].slice(0, count).to_pylist())

    def made(self) -> Mapping[tuple[str, str], tuple[int, int]]:
        """By table and shard, when it was first committed, and when last, in nanoseconds since 1970."""
        times = self._keys.group_by(["table", "shard"]).aggregate([("at", "min"), ("at", "max")])
        columns = [times[name].to_pylist() for name in ("table", "shard")]
        columns += [times[name].cast(pa.int64()).to_pylist() for name in ("at_min", "at_max")]
        return {(table, shard): (first, last) for table, shard, first, last in zip(*columns, strict=True)}

    def _newest_first(self, tables: Collection[str], shards: Collection[str] | None) -> pa.Table:
        keys = self._keys
        if shards is not None:
            places = [self._places[shard] for shard in dict.fromkeys(shards) if shard in self._places]
            keys = keys.take(np.concatenate([np.empty(0, np.int64), *places]))
        named = pa.array(sorted(set(tables)), pa.string())
        asked = pc.is_in(keys["table"], value_set=named)  # pyright: ignore[reportAttributeAccessIssue]
        return keys.filter(asked).sort_by([("at", "descending")])

    @cached_property
    def _places(self) -> Mapping[str, np.ndarray]:
        """By shard, where its records are among the keys."""
        codes = self._keys["shard"].combine_chunks().dictionary_encode()
        numbers = codes.indices.to_numpy(zero_copy_only=False)
        ordered = np.argsort(numbers, kind="stable")
        ends = np.cumsum(np.bincount(numbers, minlength=len(codes.dictionary)))
        spans = pairwise([0, *ends.tolist()])
        return {name: ordered[slice(*span)] for name, span in zip(codes.dictionary.to_pylist(), spans, strict=True)}

    def _records(self, positions: Sequence[int]) -> list[Record]:
        if self._dataset is None or not positions:
            return []
        rows = self._dataset.take(list(positions)).cast(_READ_SCHEMA)
        return [_record(row) for row in rows.to_pylist(maps_as_pydicts="strict")]


def _row(record: Record) -> dict[str, Any]:
    model, revision = record.recipe.model or (None, None)
    return {
        **{name: getattr(record, name) for name in _SCHEMA.names if hasattr(record, name)},
        "code_version": record.recipe.version,
        "model": model,
        "model_revision": revision,
        "settings": json.dumps(record.recipe.settings, sort_keys=True),
        **{name: list(getattr(record, name).items()) for name in ("inputs", "statuses", "measures")},
    }


def _record(row: dict[str, Any]) -> Record:
    model, revision = row.pop("model"), row.pop("model_revision")
    made = Recipe(row.pop("code_version"), json.loads(row.pop("settings")), (model, revision) if model else None)
    return Record(**row, recipe=made)
