"""Tables: the rows of an asset, with what their columns mean and what they depend on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

Row = dict[str, Any]

# `attempt` counts tries within one run: across runs it would make the rows of a run that was disturbed differ.
ERROR = pa.struct([("stage", pa.string()), ("type", pa.string()), ("message", pa.string()), ("attempt", pa.int32())])

STATUSES = ("ok", "empty", "failed")


@dataclass(frozen=True)
class Recipe:
    """What the rows of an asset are made with, besides what they are made from.

    Attributes:
        version: of the code that computes them.
        settings: by config section, what they depend on.
        model: name and revision, if a model makes them.
    """

    version: str
    settings: Mapping[str, Mapping[str, Any]]
    model: tuple[str, str] | None


@dataclass(frozen=True)
class Column:
    """A column of a table, with what its values mean: readers see it in the UI and the documentation.

    Attributes:
        vectors: its lists have one length, as long as one model makes them. They are then stored as fixed-size lists,
            which can be searched and indexed.
        text: it holds words, or a list of them, that people search for; of large tables, upkeep indexes them.
        sought: some rows are found by its values, which are many; of large tables, upkeep indexes the last such column.
        derived: of a column that was added later, its values in rows that are stored already, from their other
            columns. Without it they are null there, until a new `version` of the table computes all rows again.
        tokens: it counts tokens of a model; those of new rows are added up in the metrics.
    """

    name: str
    type: pa.DataType
    meaning: str = ""
    vectors: bool = False
    text: bool = False
    sought: bool = False
    derived: Callable[[pa.Table], "pa.Array | pa.ChunkedArray"] | None = None
    tokens: bool = False


COMMON_COLUMNS = (
    Column("slot", pa.string(), "the row's place in its shard; the table's primary key, and of no meaning otherwise"),
    Column("shard", pa.string(), "the shard, which is also the Dagster partition"),
    Column("status", pa.string(), "`ok`, `empty` (nothing is wrong, and there is nothing to go on with) or `failed`"),
    Column("error", ERROR, "what went wrong: `stage`, `type`, `message`, `attempt`; null where nothing did"),
    Column(
        "fingerprint",
        pa.string(),
        "digest of all that the row depends on; while it holds, the row is not computed again",
    ),
)
"""The columns that every stored table has: the first two before its own, the others after them."""


@dataclass(frozen=True)
class Table:
    """The rows of one asset.

    Attributes:
        name: the asset's name; also the name of its Lance dataset.
        grain: what one row stands for.
        keys: columns that identify a row within its shard.
        columns: the columns that the asset adds, keys included; the common columns come with `schema`.
        identity: columns whose values stand for the row in the fingerprints of what is made from it. The default,
            its own fingerprint, means: anything that changes how the row is made changes what depends on it.
        version: the version of the code that computes it; a new one recomputes every row.
        description: what a user reads in the UI.
        linked_by: see `links`.
        distinct: a column that no two rows of a shard may share; later rows that do are marked as empty copies.
        sections: names of the config sections that its rows depend on.
        model: from the configuration, the (name, revision) of the model that makes the rows, if there is one; cheap.
        measures: a few numbers of a shard's rows, by name, that are kept in the history, to be compared between runs.
        media: the folder below the root that only its rows' files are in, which their column `path` names. Clean-ups
            remove what no row names there, and nothing of anyone else's.
    """

    name: str
    grain: str
    keys: tuple[str, ...]
    columns: tuple[Column, ...]
    description: str
    identity: tuple[str, ...] = ("fingerprint",)
    version: str = "1"
    linked_by: tuple[str, ...] = ()
    distinct: str | None = None
    sections: tuple[str, ...] = ()
    model: Callable[[Any], tuple[str, str]] | None = None
    measures: Callable[[pa.Table], Mapping[str, list[float]]] | None = None
    media: str | None = None

    def __post_init__(self) -> None:
        if self.media is not None and not self.has("path"):
            raise ValueError(f"table {self.name} has files in {self.media}, but no column `path` that names them")

    def recipe(self, config: Any) -> Recipe:
        """What rows are made with under a configuration."""
        settings = {section: getattr(config, section).settings() for section in self.sections}
        return Recipe(self.version, settings, self.model(config) if self.model else None)

    def has(self, column: str) -> bool:
        """Whether a column is one of its own."""
        return any(each.name == column for each in self.columns)

    @property
    def links(self) -> tuple[str, ...]:
        """The columns by which rows of other tables belong to a row of this one; where not said, its keys."""
        return self.linked_by or self.keys

    @property
    def schema(self) -> pa.Schema:
        """The columns of the stored table.

        `slot` is the row's place in its shard and the table's primary key: two writers of one shard always meet in
        it, whatever keys their rows have, so that the store sees the conflict.
        """
        slot, *columns = [pa.field(each.name, each.type) for each in self.all_columns]
        primary_key = {b"lance-schema:unenforced-primary-key": b"true"}
        return pa.schema([slot.with_nullable(False).with_metadata(primary_key), *columns])

    @property
    def all_columns(self) -> tuple[Column, ...]:
        """Its own columns between the common ones, as they are stored."""
        return (*COMMON_COLUMNS[:2], *self.columns, *COMMON_COLUMNS[2:])

    @property
    def rows_schema(self) -> pa.Schema:
        """The columns of rows on their way through an engine: no slot yet."""
        return pa.schema([column for column in self.schema if column.name != "slot"])

    def empty(self) -> pa.Table:
        """No rows, with the columns of rows on their way."""
        return self.rows_schema.empty_table()

    def joined(self, parts: Mapping[str, pa.Table]) -> pa.Table:
        """The rows of several shards, given by shard, as one table."""
        return pa.concat_tables([self.empty(), *(part for _, part in sorted(parts.items()))])
