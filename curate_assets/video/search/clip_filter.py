"""Which clips a search is about: a condition in SQL over all tables that say something of clips."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate_assets.graph.graph import Graph
from curate_assets.graph.sql import QueryError, run_sql
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS
from curate_resources.suggestions import did_you_mean
from curate_resources.tables.lance_tables import Tables, one_of
from curate_resources.tables.searching import Wanted
from gpu_kernels.errors import NotThere, UserError

_FEW = 1000
"""Clips that are named to Lance before it searches; of more, those that are found are looked at."""
_APART = "\x1f"
_EXAMPLE = "give one condition, such as clips.end_ns - clips.start_ns > 5e9"


@dataclass(frozen=True)
class ClipFilter:
    """Which clips count.

    Attributes:
        shards: of these alone; None: of all.
        keys: shard and clip id of each, joined; None: all clips of the shards.
        of: how many clips there are in all.
    """

    shards: tuple[str, ...] | None = None
    keys: pa.Array | None = None
    of: int = 0

    @property
    def none(self) -> bool:
        """Whether no clip counts at all."""
        return self.shards == () or (self.keys is not None and len(self.keys) == 0)

    def wanted(self, limit: int, columns: Sequence[str] = ()) -> Wanted:
        """What a search of a table of clips is to find."""
        if self.keys is None:
            return Wanted(limit, columns, self._of_shards())
        if len(self.keys) <= _FEW:
            return Wanted(limit, columns, self._named, self.keep, few=True)
        return Wanted(limit, columns, self._of_shards(), self.keep, len(self.keys) / max(self.of, 1))

    def keep(self, rows: pa.Table) -> NDArray[np.bool_]:
        """Which rows of a table count."""
        if self.keys is None:
            return np.ones(len(rows), bool)
        own = pc.call_function("binary_join_element_wise", [rows["shard"], rows["clip_id"], pa.scalar(_APART)])
        there = self.keys.filter(_among(self.keys, own.combine_chunks()))  # goes through the many, and hashes the few
        return _among(own, there).to_numpy()

    def _of_shards(self) -> str | None:
        return one_of("shard", self.shards) if self.shards is not None else None

    @cached_property
    def _named(self) -> str:
        clips = [key.partition(_APART)[2] for key in (self.keys.to_pylist() if self.keys is not None else [])]
        return " AND ".join(filter(None, [self._of_shards(), one_of("clip_id", clips)]))


def clip_filter(
    tables: Tables, graph: Graph, where: str | None, shards: Sequence[str] | None, selected: bool
) -> ClipFilter:
    """The clips that fulfil a condition.

    Args:
        where: it may name columns as `table.column`, or alone if one table has them. Of a table with several rows for
            a clip, such as captions, one row has to fulfil it.
        selected: only clips that are kept.

    Raises:
        QueryError: the condition is not SQL, or no column of a table that says something of clips.
        NotThere: a table is named that was never materialized.
    """
    within = tuple(shards) if shards is not None else None
    conditions = [where] if where is not None else []
    if selected:
        conditions.append(f"{CLIP_SELECTION.name}.selected AND {DUPLICATE_GROUPS.name}.keeper")
    if not conditions:
        return ClipFilter(within)
    joined = _Columns(tables, graph)
    for condition in conditions:
        joined.take(condition)
    each_once = "" if joined.one_row_each else "DISTINCT "
    sql = f"SELECT {each_once}{CLIPS.name}.shard || chr(31) || {CLIPS.name}.clip_id AS key FROM {joined.sql()} WHERE "
    if within is not None:
        conditions.append(one_of(f"{CLIPS.name}.shard", within))
    conditions.append(f"{CLIPS.name}.status = 'ok'")
    sql += " AND ".join(f"({condition}\n)" for condition in conditions)
    keys = run_sql(tables.storage, sql, graph, joined.names)["key"].combine_chunks()
    return ClipFilter(within, keys, tables.dataset(CLIPS.name).count_rows())


def _among(values: Any, those: pa.Array) -> Any:
    return pc.call_function("is_in", [values], pc.SetLookupOptions(value_set=those))


class _Columns:
    """The columns that conditions speak of, and the tables that have them."""

    def __init__(self, tables: Tables, graph: Graph) -> None:
        self._tables, self._graph = tables, graph
        self._read: dict[str, set[str]] = {CLIPS.name: {"status"}}

    @property
    def names(self) -> list[str]:
        return [*self._read]

    @property
    def one_row_each(self) -> bool:
        """Whether no table has several rows for a clip."""
        tables = [self._graph.tables.get(name) for name in self._read]
        return all(table is not None and {*table.keys} <= {"video_id", "clip_id"} for table in tables)

    def take(self, condition: str) -> None:
        """The columns of one more condition."""
        for name in _column_names(condition):
            table, column = self._place(name)
            self._read.setdefault(table, set()).add(column)

    def sql(self) -> str:
        """All tables, joined to the clips."""
        parts: list[str] = []
        for table, columns in self._read.items():
            keys = ("shard", "clip_id", "video_id") if table == CLIPS.name else self._keys(table)
            own = ", ".join(f'"{name}"' for name in dict.fromkeys([*keys, *sorted(columns)]))
            part = f'(SELECT {own} FROM "{table}") AS "{table}"'
            parts.append(part if table == CLIPS.name else f"LEFT JOIN {part} USING ({', '.join(keys)})")
        return " ".join(parts)

    def _place(self, name: Sequence[str]) -> tuple[str, str]:
        """Table and column of a name, which may go on with fields of the column."""
        known = self._known
        name = [each.lower() for each in name]  # as SQL does; columns and tables have no capitals
        if len(name) > 1 and name[0] in known:
            table, column = name[0], name[1]
            if column not in known[table]:
                raise QueryError(f"table {table} has no column {column!r}{_hint(column, known[table])}")
            return table, column
        column = name[0]
        if column in known[CLIPS.name]:
            return CLIPS.name, column
        having = [table for table, columns in known.items() if column in columns]
        if len(having) == 1:
            return having[0], column
        if having:
            several = ", ".join(f"{table}.{column}" for table in having)
            raise QueryError(f"several tables have a column {column!r}: say which, of {several}")
        if len(name) > 1 and (column in self._graph.tables or column in self._graph.views):
            if self._tables.exists(column):
                raise QueryError(f"table {column} has no rows of clips or videos that could be joined to clips")
            raise NotThere(f"there is no table {column} yet: `curate materialize --select {column}`")
        if len(name) > 1:
            raise QueryError(f"there is no table {column!r}{_hint(column, known)}")
        raise QueryError(
            f"no table has a column {column!r}{_hint(column, {c for each in known.values() for c in each})}"
        )

    @cached_property
    def _known(self) -> Mapping[str, Sequence[str]]:
        """By table and view that can be joined to clips, the columns."""
        present = [name for name in self._graph.tables if self._tables.exists(name)]
        if CLIPS.name not in present:
            raise NotThere(f"there are no clips yet: `curate materialize --select {CLIPS.name}`")
        found = {name: list(self._tables.dataset(name).schema.names) for name in present}
        for name, view in self._graph.views.items():
            if view.needs <= set(present):
                found[name] = run_sql(
                    self._tables.storage, f"SELECT * FROM {name} LIMIT 0", self._graph, [name]
                ).column_names
        return {name: columns for name, columns in found.items() if {"shard", "video_id"} <= set(columns)}

    def _keys(self, table: str) -> tuple[str, ...]:
        return ("shard", "clip_id") if "clip_id" in self._known[table] else ("shard", "video_id")


def _hint(name: str, known: Sequence[str] | set[str] | Mapping[str, Any]) -> str:
    return did_you_mean(name, sorted(known)) or f": there are {', '.join(sorted(known)[:30])}"


def _column_names(condition: str) -> Iterator[list[str]]:
    """The columns that a condition names, by DuckDB's own parser. It has to be one by itself, and in parentheses, too:
    what closes them (`true) OR (true`) would take clips that other conditions leave out.

    Raises:
        QueryError: it is no condition.
    """
    import duckdb

    if not condition.strip():
        raise UserError(f"--where is empty: {_EXAMPLE}")
    with duckdb.connect() as connection:
        alone, enclosed = (
            json.loads(connection.execute("SELECT json_serialize_sql($1)", [text]).fetchall()[0][0])
            for text in (f"SELECT 1 WHERE {condition}\n", f"SELECT 1 WHERE ({condition}\n)")
        )
    if said := enclosed.get("error_message") or alone.get("error_message"):
        raise QueryError(f"--where {condition}: {said}")
    if len(alone["statements"]) != 1:
        raise UserError(f"--where {condition}: {_EXAMPLE}")
    yield from _names_in(enclosed["statements"][0])


def _names_in(node: Any) -> Iterator[list[str]]:
    if isinstance(node, dict):
        if node.get("class") == "COLUMN_REF":
            yield node["column_names"]
        if node.get("class") == "LAMBDA":
            own = {name[0] for name in _names_in(node["lhs"])}  # its parameters, which hide columns of their names
            yield from (name for name in _names_in(node["expr"]) if name[0] not in own)
            return
        if node.get("class") == "SUBQUERY":
            raise UserError("a condition of a search has no subqueries: `curate query` runs any SQL")
        for value in node.values():
            yield from _names_in(value)
    elif isinstance(node, list):
        for value in node:
            yield from _names_in(value)
