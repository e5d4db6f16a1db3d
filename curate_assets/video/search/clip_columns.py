"""The columns of all tables that say something of clips, as conditions name them."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import pyarrow as pa

from curate_assets.graph.graph import Graph
from curate_assets.graph.sql import QueryError, run_sql
from curate_assets.video.assets.clips import CLIPS
from curate_resources.suggestions import did_you_mean
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.errors import NotThere


class ClipColumns:
    """What can be named. Tables are opened only where a name could mean several."""

    def __init__(self, tables: Tables, graph: Graph) -> None:
        self._tables, self._graph = tables, graph
        if not tables.exists(CLIPS.name):
            raise NotThere(f"there are no clips yet: `curate materialize --select {CLIPS.name}`")

    def place(self, name: Sequence[str]) -> tuple[str, str]:
        """Table and column of a name, which may go on with fields of the column.

        Raises:
            QueryError: there is no such column, or there are several.
            NotThere: the table was never materialized.
        """
        name = [each.lower() for each in name]  # as SQL does; columns and tables have no capitals
        if len(name) > 1 and (name[0] in self._known or name[0] in self._graph.views):
            table, column = self._there(name[0]), name[1]
            known = self._views[table] if table in self._graph.views else self._known[table]
            if column not in known:
                raise QueryError(f"table {table} has no column {column!r}{_hint(column, known)}")
            return table, column
        column = name[0]
        if column in self._known[CLIPS.name]:
            return CLIPS.name, column
        having = [table for table, columns in self._known.items() if column in columns]
        present = having if len(having) == 1 else [table for table in having if self._tables.exists(table)]
        present = present or having or [view for view, columns in self._views.items() if column in columns]
        if len(present) == 1:
            return self._there(present[0]), column
        if present:
            several = ", ".join(f"{table}.{column}" for table in present)
            raise QueryError(f"several tables have a column {column!r}: say which, of {several}")
        if len(name) > 1 and column in self._graph.tables:
            raise QueryError(f"table {column} has no rows of clips or videos that could be joined to clips")
        if len(name) > 1:
            raise QueryError(f"there is no table {column!r}{_hint(column, self._known)}")
        known = {each for columns in (self._known | self._views).values() for each in columns}
        if hint := did_you_mean(column, sorted(known)):
            raise QueryError(f"no table has a column {column!r}{hint}")
        raise QueryError(
            f"no table has a column {column!r}: text stands in single quotes, and columns are in `curate docs assets`"
        )

    def has(self, column: str) -> bool:
        """Whether any table has a column."""
        return any(column in columns for columns in self._known.values())

    def type(self, table: str, column: str) -> pa.DataType | None:
        """That of a column; None: of a view's."""
        return self._graph.tables[table].schema.field(column).type if table in self._graph.tables else None

    @cached_property
    def _known(self) -> dict[str, Sequence[str]]:
        """By table that can be joined to clips, the columns."""
        tables = {name: table.schema.names for name, table in self._graph.tables.items()}
        return {name: columns for name, columns in tables.items() if {"shard", "video_id"} <= set(columns)}

    @cached_property
    def _views(self) -> dict[str, Sequence[str]]:
        """The same of views."""
        found: dict[str, Sequence[str]] = {}
        for name, view in self._graph.views.items():
            if all(self._tables.exists(each) for each in view.needs):
                rows = run_sql(self._tables.storage, f"SELECT * FROM {name} LIMIT 0", self._graph, [name])
                found[name] = rows.column_names
        return {name: columns for name, columns in found.items() if {"shard", "video_id"} <= set(columns)}

    def _there(self, table: str) -> str:
        view = self._graph.views.get(table)
        missing = [each for each in (view.needs if view is not None else (table,)) if not self._tables.exists(each)]
        if missing:
            raise NotThere(f"there is no table {missing[0]} yet: `curate materialize --select {missing[0]}`")
        return table


def _hint(name: str, known: Sequence[str] | set[str] | Mapping[str, Any]) -> str:
    return did_you_mean(name, sorted(known)) or f": there are {', '.join(sorted(known)[:30])}"
