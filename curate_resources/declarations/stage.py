"""Stages: pure functions, Arrow rows of one unit in, rows out.

Engines decide where a stage runs and in which batches; `pipeline.computation` gives every stage the same treatment of
errors and fingerprints.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curate_resources.declarations.table import Row, Table

if TYPE_CHECKING:
    from curate_resources.storage.root import Storage


@dataclass(frozen=True)
class Work:
    """What a stage is asked to do for one unit.

    Attributes:
        items: the rows to compute, of the stage's item table.
        inputs: the other rows that it reads, by table, of the same unit.
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


Made = Mapping[str, "list[Row] | pa.Table"]
"""Rows by table. A row has the keys and columns of its table and may set `status` to "empty"."""

Worker = Callable[[Work], Made]
"""The plain form of a worker: a function that does one work after another. An exception fails the work's items."""


@dataclass(frozen=True)
class ClosedWorker:
    """A plain worker that holds something which has to be closed when its process is done with it, such as a child
    process or a session."""

    work: Worker
    close: Callable[[], None]

    def __call__(self, work: Work) -> Made:
        return self.work(work)


class LiveWorker(ABC):
    """A worker with a life: opened once, fed with up to `Needs.at_once` works at a time, closed.

    For what does many requests at the same time, such as a model server or an engine that batches by itself. The
    requests of all works share one window, which the worker keeps; none waits for the last request of another work. All
    coroutines run in one event loop, which has a thread of its own: they must not block it.
    """

    @abstractmethod
    async def rows(self, work: Work) -> Made:
        """Do a work while others are under way. An exception fails the work's items."""

    async def close(self) -> None:  # noqa: B027
        """Let go of everything. Called once, with no work under way; nothing is asked of the worker afterwards."""


@dataclass(frozen=True)
class Needs:
    """What one worker of a stage occupies, and how many workers there may be.

    Attributes:
        cpus: of one worker.
        gpus: devices of one worker: a fraction of one, which it shares with others, or whole ones.
        gpu_memory_gib: GiB of one GPU. Where it is given, `gpus` is what that is of the device, once that is known.
        gpus_if_any: where there is no GPU at all, it runs without.
        memory_gib: GiB of main memory of one worker that are kept free for it; 0: it takes what there is.
        min_workers: this many must find their place before a run starts.
        max_workers: there are never more; None: as many as there is room for.
        warm_workers: this many stay when they have nothing to do for a while, because they are dear to load.
        batch_mib: MiB of rows, and of the media that they point at, for one call; more is divided among calls.
        at_once: works that one worker has at a time; more than one only of a `LiveWorker`.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    gpu_memory_gib: float | None = None
    gpus_if_any: bool = False
    memory_gib: float = 0.0
    min_workers: int = 1
    max_workers: int | None = None
    warm_workers: int = 1
    batch_mib: float = 64.0
    at_once: int = 1

    def __post_init__(self) -> None:
        most = self.max_workers if self.max_workers is not None else self.min_workers
        enough = self.cpus >= 0 <= self.gpus and self.memory_gib >= 0 and self.batch_mib > 0 and self.at_once > 0
        if not (1 <= self.min_workers <= most and enough):
            raise ValueError(f"{self} can never be met")
        if self.gpus > 1 and not float(self.gpus).is_integer():
            raise ValueError(f"{self} can never be met: gpus is a fraction of one device, or whole devices")

    def where(self, gpus: bool) -> "Needs":
        """What is needed where there are GPUs, or none."""
        return replace(self, gpus=0.0) if self.gpus_if_any and not gpus else self


@dataclass(frozen=True)
class Segments:
    """How one item, such as a recording of hours, is computed by several workers.

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
        unread: of `reads`, the tables that it does not look at with a configuration: whatever is in them, rows hold.
            None: it reads all of them with every one.
        gates: tables that only decide whether an item is worked on (`eligible`), not what comes out.
        writes: the tables that it fills.
        open: makes the worker, once per process: loads models, opens what is dear to open. A plain function, or a
            `LiveWorker`.
        heavy: whether pixels or models are involved; light stages never start a cluster.
        idle: whether a configuration leaves it nothing to do. It is then light, works on no items, and what reads its
            tables goes on without them. None: never.
        needs: what a worker occupies, whatever the configuration.
        needs_of: likewise, from the configuration, where that decides, as where a model runs does.
        eligible: which items to work on with a configuration, as a boolean per item row; the others get no rows. None:
            all of them.
        prepare: what has to be done once per machine before any worker is opened there, such as fetching a model.
        segments: how a single item is divided among workers; None: never.
        settled: of the rows made from the beginning of a unit, those that its rest cannot change. The stages after
            this one then work on them while the rest is still to come. It fills one table.
        reads_sources: whether it reads the files that are curated, which may be large and far away.
        of_shards: whether one work may be about all units of a shard, whose rows it tells apart by their keys: for
            light stages that are done with a row sooner than a unit is passed on.
    """

    name: str
    item: str
    reads: tuple[str, ...]
    writes: tuple[Table, ...]
    open: "Callable[[Any, Storage], Worker | LiveWorker]"
    heavy: bool = False
    idle: Callable[[Any], bool] | None = None
    gates: tuple[str, ...] = ()
    needs: Needs = field(default_factory=Needs)
    needs_of: Callable[[Any], Needs] | None = None
    eligible: Callable[[Any, pa.Table, Mapping[str, pa.Table]], list[bool]] | None = None
    prepare: "Callable[[Any, Storage], None] | None" = None
    segments: Segments | None = None
    settled: Callable[[pa.Table], pa.Table] | None = None
    reads_sources: bool = False
    unread: Callable[[Any], frozenset[str]] | None = None
    of_shards: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        """All tables whose rows it needs."""
        return (self.item, *self.reads, *self.gates)

    def under(self, config: Any) -> "Stage":
        """The stage as it is with a configuration: it reads only the tables that it looks at."""
        unread = self.unread(config) if self.unread is not None else frozenset[str]()
        return replace(self, reads=tuple(name for name in self.reads if name not in unread)) if unread else self

    def is_idle(self, config: Any) -> bool:
        """Whether a configuration leaves it nothing to do."""
        return self.idle is not None and self.idle(config)
