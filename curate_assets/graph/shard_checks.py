"""What a check is: a question about a table's rows of one shard, and the SQL of the rows to look at when it fails."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import pyarrow as pa

from curate_assets.graph.platform import CheckLimits, PlatformConfig
from curate_assets.graph.renaming import Seen, renamed, settings_under
from curate_resources.declarations.table import Table
from curate_resources.declarations.units import UnitTable
from curate_resources.tables.history import History, Record
from curate_resources.tables.lance_tables import Tables, quoted

Limits = TypeVar("Limits", bound=CheckLimits)
Rows = list[dict[str, Any]]
Problems = list[str]

_LOOKED_AT = 8
"""Records that are read for each one that is wanted: of other settings, or of the same shard, are some."""


@dataclass(frozen=True)
class Shard:
    """The stored rows of one shard, as checks read them, and what the history knows of others.

    Attributes:
        key: the shard; `ALL_SHARDS` for the rows of all of them.
        units: the table of what is curated, by which rows are named.
        seen: the tables that checks find under other names; see `curate_assets.graph.variants`.
    """

    key: str
    tables: Tables
    config: PlatformConfig
    units: UnitTable
    seen: Seen = field(default_factory=dict)
    _stored: dict[str, pa.Table] = field(default_factory=dict, repr=False, compare=False)
    _read: dict[str, Rows] = field(default_factory=dict, repr=False, compare=False)

    def under(self, seen: Seen) -> "Shard":
        """The shard as the checks of an asset see it that stands for another, or reads others."""
        return Shard(self.key, self.tables.under(seen), settings_under(self.config, seen), self.units, seen)

    def limits(self, kind: type[Limits]) -> Limits:
        """What the checks of an asset accept."""
        checks = self.config.checks
        assert isinstance(checks, kind), kind
        return checks

    def rows(self, table: Table) -> Rows:
        """All rows of a table, read once."""
        if table.name not in self._read:
            self._read[table.name] = self._table(table).to_pylist()
        return self._read[table.name]

    def good(self, table: Table) -> Rows:
        """Rows with status ok."""
        return [row for row in self.rows(table) if row["status"] == "ok"]

    @cached_property
    def _places(self) -> dict[str, str]:
        rows = reversed(self.rows(self.units.table))
        return {row[self.units.id]: row[self.units.place] for row in rows if row[self.units.id]}

    def named(self, table: Table, row: Mapping[str, Any]) -> str:
        """What a row is about: its file, and the clip where it is of one; its ids where the file is not known."""
        names = [row.get(name) for name in table.links if name not in (self.units.place, self.units.id)]
        unit = row.get(self.units.place) or self._places.get(row.get(self.units.id) or "") or row.get(self.units.id)
        return ", ".join(name for name in (unit, *names) if name and isinstance(name, str)) or row["slot"]

    def measures(self, table: Table) -> Mapping[str, list[float]]:
        """The table's measures."""
        return table.measures(self._table(table)) if table.measures else {}

    def others(self, table: Table) -> list[Record]:
        """The last records of other shards that were made with the same recipe: at most `checks.history_shards`."""
        table = renamed(table, self.seen)
        recipe, most = table.recipe(self.config), self.config.checks.history_shards
        found: dict[str, Record] = {}
        for record in History(self.tables.storage).last(table.name, most * _LOOKED_AT):
            if record.shard != self.key and record.recipe == recipe and len(found) < most:
                found.setdefault(record.shard, record)
        return list(found.values())

    def _table(self, table: Table) -> pa.Table:
        if table.name not in self._stored:
            self._stored[table.name] = self.tables.read(table, self.key or None)
        return self._stored[table.name]


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        problems: what is wrong; nothing when all is well.
        numbers: what was compared, to be followed over time.
        note: why nothing could be said.
        warns: whether it is worth a look only, though its check could be an error or block.
    """

    problems: Problems
    numbers: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    warns: bool = False


@dataclass(frozen=True)
class Check:
    """One check of one table.

    Attributes:
        sql: the rows to look at when it fails, in DuckDB's SQL; `$shard` stands for the shard.
        blocking: whether nothing that comes after may be made of these rows in the same run. For what concerns a shard
            as a whole: a single file never stops others.
        warns: whether a failure is worth a look only, and no error.
    """

    table: Table
    name: str
    description: str
    judge: Callable[[Shard], Finding]
    sql: str
    blocking: bool = False
    warns: bool = False

    def sql_of(self, shard: str) -> str:
        """Its SQL for a shard."""
        return self.sql.replace("$shard", quoted(shard))


def nothing_wrong(problems: Callable[[Shard], Problems]) -> Callable[[Shard], Finding]:
    """The judgement of a check that only names what is wrong."""
    return lambda shard: Finding(problems(shard))
