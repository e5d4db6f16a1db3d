"""One version of a table, read by the ids of its rows, which hold for that version alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from curate_resources.declarations.table import Table
from curate_resources.tables.best_rows import ROW_ID, Ids, rows_by_id
from curate_resources.tables.evolution import as_declared
from curate_resources.tables.lance_tables import Tables
from curate_resources.tables.searching import read_before


@dataclass(frozen=True)
class Pinned:
    """A table as it is when it is first read, with the columns and types of the code."""

    tables: Tables
    table: Table

    @cached_property
    def dataset(self):
        """That version.

        Raises:
            NotThere: it was never written.
        """
        return self.tables.dataset(self.table.name, read_before())

    def batches(self, columns: Sequence[str], where: str | None = None) -> pa.RecordBatchReader:
        """Rows with their ids, in no order, some at a time."""
        fields = self._fields(columns)
        read = self.tables.stored(self.dataset, self.table, columns)

        def declared() -> Iterator[pa.RecordBatch]:
            for batch in self.dataset.to_batches(columns=read, filter=where, batch_size=_BATCH, with_row_id=True):
                rows = pa.table(batch)
                made = as_declared(rows, fields, self.table).append_column(_ID, rows[ROW_ID])
                yield from made.to_batches()

        return pa.RecordBatchReader.from_batches(pa.schema([*fields, _ID]), declared())

    def by_id(self, ids: Ids, columns: Sequence[str]) -> pa.Table:
        """Rows with these ids."""
        read = self.tables.stored(self.dataset, self.table, columns)
        if len(ids) * _BY_ONE < self.dataset.count_rows():
            rows = rows_by_id(self.dataset, ids, read)
        else:
            rows = self.dataset.to_table(columns=read, with_row_id=True)
            rows = rows.filter(pa.array(np.isin(rows[ROW_ID].to_numpy(), ids)))
        return as_declared(rows, self._fields(columns), self.table)

    def sample(self, rows: int, columns: Sequence[str]) -> pa.Table:
        """Some rows, always the same ones."""
        count = self.dataset.count_rows()
        places = np.sort(np.random.default_rng(0).choice(count, min(rows, count), replace=False)).tolist()
        taken = self.dataset.take(places, columns=self.tables.stored(self.dataset, self.table, columns))
        return as_declared(taken, self._fields(columns), self.table)

    def _fields(self, columns: Sequence[str]) -> list[pa.Field]:
        return [self.table.schema.field(name) for name in columns]


_ID = pa.field(ROW_ID, pa.uint64())
_BATCH = 1 << 17
_BY_ONE = 50
"""A row by its id costs as much as so many of a column that is read whole."""
