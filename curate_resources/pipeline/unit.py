"""The unit of flow: one entry of a manifest and all rows that are known of it.

Between processes a unit is one row of an Arrow table: a column per asset, each cell the list of the asset's rows for
this unit. Keys travel in the same row as the data, and no media travel at all.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from curate_resources.declarations.table import Table

_KEPT = "kept."

_COPIED_BYTES = 8 << 20

_COUNTS = pa.list_(pa.struct([("name", pa.string()), ("count", pa.int64())]))

TALLY = pa.struct(
    [
        ("stage", pa.string()),
        ("seconds", pa.float64()),
        ("cpu_seconds", pa.float64()),
        ("gpu_seconds", pa.float64()),
        ("computed", pa.int64()),
        ("reused", pa.int64()),
        ("failed", pa.int64()),
        ("bytes", pa.int64()),
        ("tokens", _COUNTS),
        ("failures", _COUNTS),
    ]
)
"""What a stage did with a unit, and what that took of a worker: `curate_resources.pipeline.events.StageTally`."""


@dataclass
class Unit:
    """One unit of work on its way through the stages.

    Attributes:
        shard, source: where it comes from; `source` is the URI in the shard's manifest.
        rows: rows by table, as far as they are read or made in this run.
        kept: rows by table as they were stored before this run, to be used again where their fingerprint holds.
        tallies: what the stages did, TALLY rows.
    """

    shard: str
    source: str
    rows: dict[str, pa.Table]
    kept: dict[str, pa.Table] = field(default_factory=dict)
    tallies: list[dict[str, Any]] = field(default_factory=list)

    def keep(self, table: Table, rows: pa.Table) -> None:
        """Have rows used again where their fingerprint holds, before those kept of the same item."""
        links = [name for name in table.keys if name in rows.column_names]
        older = self.kept.get(table.name, table.empty())
        if older.num_rows:
            newer = set(zip(*(rows[name].to_pylist() for name in links), strict=True))
            keys = zip(*(older[name].to_pylist() for name in links), strict=True)
            older = older.filter(pa.array([key not in newer for key in keys], pa.bool_()))
        self.kept[table.name] = pa.concat_tables([older, rows])

    def reduced(self, names: frozenset[str]) -> "Unit":
        """The same with the rows of some tables only."""
        rows = {name: rows for name, rows in self.rows.items() if name in names}
        return Unit(self.shard, self.source, rows, self.kept)

    def take_early(self, beginning: "Unit", tables: Iterable[Table], stages: Collection[str]) -> None:
        """Have the rows that `stages` made of this unit's beginning used again; they count as computed once."""
        for table in tables:
            if table.name in beginning.rows:
                self.keep(table, beginning.rows[table.name])
        for tally in beginning.tallies:
            if tally["stage"] in stages:
                made = tally["computed"] - tally["failed"]
                self.tallies.append({**tally, "computed": made, "reused": -made, "failed": 0, "failures": []})

    def to_arrow(self) -> pa.Table:
        """A table of one row."""
        columns: dict[str, pa.Array] = {
            "shard": pa.array([self.shard]),
            "source": pa.array([self.source]),
            "tallies": pa.array([self.tallies], pa.list_(TALLY)),
        }
        columns |= {name: _nested(rows) for name, rows in sorted(self.rows.items())}
        columns |= {_KEPT + name: _nested(rows) for name, rows in sorted(self.kept.items())}
        return pa.table(columns)

    @classmethod
    def from_arrow(cls, batch: pa.Table, index: int, tables: Mapping[str, Table]) -> "Unit":
        """The unit in row `index` of a batch."""
        unit = cls(batch["shard"][index].as_py(), batch["source"][index].as_py(), {})
        unit.tallies = batch["tallies"][index].as_py()
        for column in batch.column_names:
            kept = column.startswith(_KEPT)
            name = column.removeprefix(_KEPT)
            if name in tables and batch[column][index].is_valid:
                schema = tables[name].rows_schema
                (unit.kept if kept else unit.rows)[name] = _flat(batch[column][index], schema)
        return unit


def joined(units: Sequence[pa.Table]) -> pa.Table:
    """One table of several units; in one piece unless it is large, because a reader pays for every piece."""
    table = pa.concat_tables(units, promote_options="default")
    return table.combine_chunks() if table.nbytes <= _COPIED_BYTES else table


def _nested(rows: pa.Table) -> pa.Array:
    structs = rows.combine_chunks().to_struct_array()
    values = structs.combine_chunks() if isinstance(structs, pa.ChunkedArray) else structs
    return pa.ListArray.from_arrays(pa.array([0, rows.num_rows], pa.int32()), values)


def _flat(cell: pa.Scalar, schema: pa.Schema) -> pa.Table:
    values = cell.values
    if values is None or len(values) == 0:
        return schema.empty_table()
    return pa.Table.from_struct_array(values).cast(schema)
