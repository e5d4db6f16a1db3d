"""Lance tables, one per asset, under `<root>/tables/<asset>.lance`; LanceDB opens them too.

The rows of a shard are replaced in one transaction: a merge on `slot`, the table's primary key. Writers of other
shards never conflict; writers of the same shard always share slots, so the store makes the later one plan again on
top of the earlier one, and the shard ends as one of the two, whole.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from curate_resources.declarations.table import Table
from curate_resources.storage.root import Storage, is_local
from curate_resources.tables.commits import committed
from curate_resources.tables.datasets import created, opened
from curate_resources.tables.evolution import as_declared, as_stored, created_schema, evolved
from gpu_kernels.errors import NotThere

if TYPE_CHECKING:
    import lance


def quoted(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def one_of(column: str, values: Iterable[str]) -> str:
    """A condition in SQL: a column of text has one of some values, which holds nowhere if there are none."""
    named = ", ".join(map(quoted, sorted({*values})))
    return f"{column} IN ({named})" if named else "false"


@dataclass(frozen=True)
class Tables:
    """The tables under a root.

    Attributes:
        seen: by the name that a table is asked for, the name of another one that is given instead.
    """

    storage: Storage
    seen: Mapping[str, str] = field(default_factory=dict, compare=False)

    def under(self, seen: Mapping[str, str]) -> "Tables":
        """The same, with some tables under other names."""
        return Tables(self.storage, {**self.seen, **seen})

    def named(self, name: str) -> str:
        """The name of the table that is given where one is asked for: what remedies name."""
        return self.seen.get(name, name)

    def uri(self, name: str) -> str:
        """Where the table of an asset lies."""
        return self.storage.uri(self._path(name))

    def _path(self, name: str) -> str:
        return f"tables/{self.named(name)}.lance"

    def exists(self, name: str) -> bool:
        """Whether the table was ever written."""
        return self._open(name) is not None

    def dataset(self, name: str, session: "lance.Session | None" = None) -> "lance.LanceDataset":
        """The table itself, for whoever reads Lance.

        Args:
            session: what was read of indexes before.

        Raises:
            NotThere: it was never written.
        """
        dataset = self._open(name, session)
        if dataset is None:
            stored = self.named(name)
            raise NotThere(
                f"there is no table {stored} under {self.storage.root} yet: `curate materialize --select {stored}`"
            )
        return dataset

    def names(self) -> list[str]:
        """Names of all tables that were ever written, sorted; also those of assets that this graph does not know."""
        names = [name.removesuffix(".lance") for name in self.storage.folders("tables") if name.endswith(".lance")]
        return [name for name in names if self.exists(name)]  # a run may have been killed before the first commit

    def version(self, name: str) -> int:
        """The table's version, 0 when it was never written."""
        dataset = self._open(name)
        return dataset.version if dataset is not None else 0

    def read(
        self,
        table: Table,
        shard: str | Collection[str] | None = None,
        columns: Sequence[str] | None = None,
        where: str | None = None,
    ) -> pa.Table:
        """Rows of a table (no rows if it was never written), of one shard, several or all, ordered by slot. They have
        the columns and types of the code, whatever version of it stored them."""
        dataset = self._open(table.name)
        if dataset is None:
            empty = table.schema.empty_table()
            return empty.select(list(columns)) if columns else empty
        conditions: list[str] = []
        if shard is not None:
            conditions.append(one_of("shard", [shard] if isinstance(shard, str) else shard))
        conditions += [f"({where})"] if where else []
        wanted = self.stored(dataset, table, [*columns, "slot"] if columns else table.schema.names)
        rows = dataset.to_table(columns=wanted, filter=" AND ".join(conditions) or None).sort_by("slot")
        return as_declared(rows, [table.schema.field(name) for name in columns or table.schema.names], table)

    def batches(
        self, table: Table, columns: Sequence[str], where: str | None = None, at_once: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """All rows of a table, or those that a condition holds for, some at a time, in no order; as `read`.

        Args:
            at_once: rows at most, where each is large.
        """
        dataset = self._open(table.name)
        if dataset is None:
            return
        fields = [table.schema.field(name) for name in columns]
        stored = self.stored(dataset, table, columns)
        for batch in dataset.to_batches(columns=stored, filter=where, batch_size=at_once):
            yield from as_declared(pa.table(batch), fields, table).to_batches()

    def shards(self, table: Table) -> list[str]:
        """The shards that have rows in a table, sorted."""
        return sorted(
            {shard for batch in self.batches(table, ["shard"]) for shard in batch["shard"].unique().to_pylist()}
        )

    def swap(self, table: Table, shard: str, rows: pa.Table) -> int:
        """Replace all rows of `shard` by `rows`, in one transaction; return the table's version.

        `rows` come with the table's columns less `slot`, in the order in which they are to stand. Nothing is written
        when they equal what is there.

        Raises:
            TableSchemaChanged: the stored table has columns that this version does not know.
        """
        return self._merge(table, self._numbered(table, shard, rows), shard)

    def replace(self, table: Table, rows: Mapping[str, pa.Table]) -> int:
        """Replace all rows of a table, given by shard, in one transaction; as `swap`."""
        parts = [self._numbered(table, shard, part) for shard, part in sorted(rows.items())]
        return self._merge(table, pa.concat_tables([table.schema.empty_table(), *parts]), None)

    def _merge(self, table: Table, rows: pa.Table, shard: str | None) -> int:
        # A commit whose answer was lost may have come through: then the next attempt finds the rows there.
        return committed(lambda: self._merged(table, rows, shard), is_local(self.storage.root))

    def _merged(self, table: Table, rows: pa.Table, shard: str | None) -> int:
        dataset = self._open(table.name) or created(self.storage, self._path(table.name), created_schema(table, rows))
        evolved(dataset, table, rows)
        if self.read(table, shard).equals(rows):
            return dataset.version
        merge = (
            dataset.merge_insert("slot")
            .when_matched_update_all()
            .when_not_matched_insert_all()
            .when_not_matched_by_source_delete(f"shard = {quoted(shard)}" if shard is not None else None)
        )
        merge.execute(as_stored(rows, dataset))
        return dataset.version

    def _numbered(self, table: Table, shard: str, rows: pa.Table) -> pa.Table:
        slots = pa.array([f"{shard}/{index:08d}" for index in range(rows.num_rows)], pa.string())
        columns = {"slot": slots, **{name: rows[name] for name in table.rows_schema.names}}
        return pa.table([columns[name] for name in table.schema.names], names=table.schema.names).cast(table.schema)

    def _open(self, name: str, session: "lance.Session | None" = None) -> "lance.LanceDataset | None":
        return opened(self.storage, self._path(name), session)

    def evolve(self, table: Table) -> None:
        """Bring a stored table to the columns that the code has now, thoroughly; see `tables.evolution`."""
        rows = table.schema.empty_table()
        committed(lambda: evolved(self.dataset(table.name), table, rows, thorough=True), is_local(self.storage.root))

    def stored(self, dataset: "lance.LanceDataset", table: Table, columns: Sequence[str]) -> list[str]:
        """The stored columns that are read for some columns of the code; all, where one of these is made from them."""
        names = dataset.schema.names
        derived = {column.name for column in table.columns if column.derived is not None}
        if any(name not in names and name in derived for name in columns):
            return [name for name in table.schema.names if name in names]
        return list(dict.fromkeys(name for name in columns if name in names))
