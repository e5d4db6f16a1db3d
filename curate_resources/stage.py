"""What an asset is made of, declared apart from any engine: tables, and the stages that fill them.

A stage is a pure function: Arrow rows of one source video in, rows out. Engines decide where it runs and in which
batches; `advance` (curate_resources.advance) gives every stage the same treatment of errors and fingerprints.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from curate_resources.storage import Storage

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
    """A column of a table, with what its values mean: readers see it in the UI and the documentation."""

    name: str
    type: pa.DataType
    meaning: str = ""


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


@dataclass(frozen=True)
class UnitTable:
    """The table of what is curated: one row for each entry of a shard's manifest, which is a unit of work.

    Attributes:
        noun: what people call a unit, such as `video`.
        place: the column that says where it is.
        id: the column that identifies its content; rows of other tables belong to a unit by it.
    """

    table: Table
    noun: str
    place: str
    id: str

    def __post_init__(self) -> None:
        if missing := [name for name in (self.place, self.id) if not self.table.has(name)]:
            raise ValueError(f"table {self.table.name} has no column {missing[0]!r}")


@dataclass(frozen=True)
class Work:
    """What a stage is asked to do for one source video.

    Attributes:
        items: the rows to compute, of the stage's item table.
        inputs: the other rows that it reads, by table, of the same source video.
        wanted: names of the tables to fill.
        fingerprints: for every wanted table, the fingerprint of each item, in order.
        segment: (index, count) when only one segment of the one item is asked for.
        early: for workers that know the beginning of the one item before its end: takes its rows so far, by table.
    """

    items: pa.Table
    inputs: Mapping[str, pa.Table]
    wanted: frozenset[str]
    fingerprints: Mapping[str, list[str]]
    segment: tuple[int, int] | None = None
    early: "Callable[[Mapping[str, list[Row]]], None] | None" = None


Worker = Callable[[Work], Mapping[str, list[Row]]]
"""Rows by table. A row has the keys and columns of its table and may set `status` to "empty"; an exception fails it."""


@dataclass(frozen=True)
class Needs:
    """What one worker of a stage occupies, and how many workers there may be.

    Attributes:
        cpus: of one worker.
        gpus: devices of one worker: a fraction of one, which it shares with others, or whole ones.
        gpus_if_any: where there is no GPU at all, it runs without.
        memory_gib: GiB of main memory of one worker that are kept free for it; 0: it takes what there is.
        min_workers: so many must find their place before a run starts.
        max_workers: there are never more; None: as many as there is room for.
        warm_workers: so many stay when they have nothing to do for a while, because they are dear to load.
        batch_mib: MiB of rows, and of the media that they point at, for one call; more is divided among calls.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    gpus_if_any: bool = False
    memory_gib: float = 0.0
    min_workers: int = 1
    max_workers: int | None = None
    warm_workers: int = 1
    batch_mib: float = 64.0

    def __post_init__(self) -> None:
        most = self.max_workers if self.max_workers is not None else self.min_workers
        enough = self.cpus >= 0 <= self.gpus and self.memory_gib >= 0 and self.batch_mib > 0
        if not (1 <= self.min_workers <= most and enough):
            raise ValueError(f"{self} can never be met")
        if self.gpus > 1 and not float(self.gpus).is_integer():
            raise ValueError(f"{self} can never be met: gpus is a fraction of one device, or whole devices")

    def where(self, gpus: bool) -> "Needs":
        """What is needed where there are GPUs, or none."""
        return replace(self, gpus=0.0) if self.gpus_if_any and not gpus else self


@dataclass(frozen=True)
class Segments:
    """How one item, such as a video of hours, is computed by several workers.

    Attributes:
        count: into how many segments an item is divided, from its row alone; 1: not at all.
        join: the rows of the whole item from the rows of its segments in order, by table; SegmentsDisagree when they do
            not fit together, and the item is then computed whole.
    """

    count: Callable[[Row], int]
    join: Callable[[list[Mapping[str, pa.Table]]], Mapping[str, pa.Table]]


class SegmentsDisagree(Exception):
    """Segments of an item that do not make the whole."""


@dataclass(frozen=True)
class Stage:
    """One computation of the graph; it fills one table or, where one pass gives several, more.

    Attributes:
        name: as in logs and errors.
        item: the table whose rows are its items; every item gives its rows, or a failed one.
        reads: further tables that it reads and that its result depends on.
        gates: tables that only decide whether an item is worked on (`eligible`), not what comes out.
        writes: the tables that it fills.
        open: makes the worker, once per process: loads models, opens what is dear to open.
        heavy: whether pixels or models are involved; light stages never start a cluster.
        needs: what a worker occupies, whatever the configuration.
        needs_of: likewise, from the configuration, where that decides, as where a model runs does.
        eligible: which items to work on, as a boolean per item row; the others get no rows. None: all of them.
        prepare: what has to be done once per machine before any worker is opened there, such as fetching a model.
        segments: how a single item is divided among workers; None: never.
        settled: of the rows made from the beginning of a video, those that its rest cannot change. The stages after
            this one then work on them while the rest is still to come. It fills one table.
    """

    name: str
    item: str
    reads: tuple[str, ...]
    writes: tuple[Table, ...]
    open: "Callable[[Any, Storage], Worker]"
    heavy: bool = False
    gates: tuple[str, ...] = ()
    needs: Needs = field(default_factory=Needs)
    needs_of: Callable[[Any], Needs] | None = None
    eligible: Callable[[pa.Table, Mapping[str, pa.Table]], list[bool]] | None = None
    prepare: "Callable[[Any, Storage], None] | None" = None
    segments: Segments | None = None
    settled: Callable[[pa.Table], pa.Table] | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """All tables whose rows it needs."""
        return (self.item, *self.reads, *self.gates)
