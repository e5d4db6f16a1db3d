"""A condition in SQL on what is stored of clips: for some clips, or for all.

A search asks about the clips that it comes upon: what one clip costs does not depend on how many there are. Columns are
read whole only to find the few clips that fulfil a rare condition.
"""

from collections.abc import Collection
from functools import cached_property

import numpy as np
import pyarrow as pa

from curate_assets.graph.graph import Graph
from curate_assets.graph.sql import in_memory, interruptible, run_sql
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.clip_key import ClipKey
from curate_assets.video.search.clip_columns import ClipColumns
from curate_assets.video.search.condition_errors import told
from curate_assets.video.search.condition_names import WITHOUT_COLUMN, column_names
from curate_resources.tables.best_rows import ROW_ID, Ids
from curate_resources.tables.lance_tables import Tables, one_of
from curate_resources.tables.pinned import Pinned

_SAMPLED = 300
"""Clips by which it is estimated how many fulfil a condition."""


class Condition:
    """One condition. It may name columns as `table.column`, or alone if one table has them. Of a table with several
    rows for a clip, such as captions, one row has to fulfil it.

    Raises:
        QueryError: it is not SQL, or names what is no column of a table that says something of clips.
        NotThere: a table is named that was never materialized.
    """

    def __init__(self, tables: Tables, graph: Graph, text: str) -> None:
        self._tables, self._graph, self._text = tables, graph, text
        columns = ClipColumns(tables, graph)
        self._read: dict[str, list[str]] = {}
        for name in column_names(text):
            if len(name) == 1 and name[0].lower() in WITHOUT_COLUMN and not columns.has(name[0].lower()):
                continue
            table, column = columns.place(name)
            if column not in self._read.setdefault(table, []):
                self._read[table].append(column)
        self._pinned = {
            name: Pinned(tables, graph.tables[name]) for name in {*self._read, CLIPS.name} if name in graph.tables
        }
        self._base = CLIPS.name
        """The table whose rows are asked about: that of the clips, or the only one that is named."""
        self._base = self._alone() or CLIPS.name

    def of(self, clips: Collection[str]) -> set[ClipKey]:
        """Those of some clips, given by id, that fulfil it."""
        ids = one_of("clip_id", clips)
        base = self._scanned(self._base, ids).read_all()
        rows: dict[str, pa.Table | pa.RecordBatchReader] = {self._base: base}
        for name in self._others:
            of_clips = self._keys_of(name)[1] == "clip_id"
            rows[name] = self._scanned(name, ids if of_clips else one_of("video_id", base["video_id"].to_pylist()))
        return self._keys(self._fulfilling(rows))

    def everywhere(self, shards: Collection[str] | None) -> set[ClipKey]:
        """All clips that fulfil it, of some shards or all."""
        where = one_of("shard", shards) if shards is not None else None
        return self._keys(self._fulfilling({name: self._scanned(name, where) for name in (self._base, *self._others)}))

    @cached_property
    def share(self) -> float:
        """Of all clips, about how many fulfil it."""
        base = self._pinned[self._base]
        if self._others:
            clips = base.sample(_SAMPLED, ["clip_id"])["clip_id"].drop_null().to_pylist()
            return len(self.of(clips)) / max(len(clips), 1)
        rows = base.sample(_SAMPLED, self._columns_of(self._base))
        return len(self._fulfilling({self._base: _numbered(rows)})) / max(len(rows), 1)

    @property
    def _others(self) -> list[str]:
        return [name for name in self._read if name != self._base]

    def _alone(self) -> str | None:
        """The only table that is named, if it is of clips, and a clip that it lacks does not fulfil the condition."""
        name = next(iter(self._read), CLIPS.name)
        if len(self._read) != 1 or name not in self._graph.tables or not self._graph.tables[name].has("clip_id"):
            return None
        if name == CLIPS.name:
            return name
        self._base = name
        fields = [self._graph.tables[name].schema.field(column) for column in self._read[name]]
        nothing = pa.table([pa.nulls(1, field.type) for field in fields], schema=pa.schema(fields))
        return None if len(self._fulfilling({name: _numbered(nothing)})) else name

    def _columns_of(self, name: str) -> list[str]:
        """Those of a table that are read: that are named, or that it is joined by."""
        keys: list[str] = []
        if self._others:
            keys = ["shard", "clip_id", "video_id"] if name == CLIPS.name else self._keys_of(name)
        return list(dict.fromkeys([*keys, *self._read.get(name, ())])) or ["shard"]

    def _keys_of(self, name: str) -> list[str]:
        table = self._graph.tables.get(name)
        return ["shard", "clip_id" if table is not None and table.has("clip_id") else "video_id"]

    def _scanned(self, name: str, where: str | None) -> pa.RecordBatchReader:
        if name in self._pinned:
            return self._pinned[name].batches(self._columns_of(name), where)
        columns = ", ".join(f'"{column}"' for column in self._columns_of(name))
        rows = run_sql(self._tables.storage, f"SELECT {columns} FROM {name}", self._graph, [name])
        return rows.to_reader()

    def _fulfilling(self, rows: dict[str, pa.Table | pa.RecordBatchReader]) -> Ids:
        """The ids of the rows of the base that fulfil it."""
        import duckdb

        joined = f'"{self._base}"'
        for name in self._others:
            columns = ", ".join(f'"{column}"' for column in self._columns_of(name))
            keys = ", ".join(self._keys_of(name))
            joined += f' LEFT JOIN (SELECT {columns} FROM "{name}") AS "{name}" USING ({keys})'
        each_once = "DISTINCT " if self._others else ""
        sql = f'SELECT {each_once}"{self._base}".{ROW_ID} AS id FROM {joined} WHERE ({self._text}\n)'
        with in_memory() as connection:
            for name, part in rows.items():
                connection.register(name, part)
            try:
                found = interruptible(connection, lambda: connection.sql(sql).to_arrow_table())
            except duckdb.Error as error:
                types = {
                    f"{table}.{column}": self._graph.tables[table].schema.field(column).type
                    for table, columns in self._read.items()
                    if table in self._graph.tables
                    for column in columns
                }
                raise told(self._text, error, types) from error
        return found["id"].to_numpy()

    def _keys(self, ids: Ids) -> set[ClipKey]:
        rows = self._pinned[self._base].by_id(ids, ["clip_id", "shard"])
        keys = zip(rows["clip_id"].to_pylist(), rows["shard"].to_pylist(), strict=True)
        return {ClipKey(clip, shard) for clip, shard in keys if clip is not None}  # videos without clips have rows


def _numbered(rows: pa.Table) -> pa.Table:
    return rows.append_column(ROW_ID, pa.array(np.arange(len(rows), dtype=np.uint64)))
