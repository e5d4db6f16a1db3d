"""The metrics of a run: declared here, counted from events, kept as plain numbers until somebody reads them.

They are those of the process that a run is followed in, whatever processes do the work: it hears of all events, one
place is scraped or pushes, and workers and jobs need neither a port nor a library. What is to be known of all runs
together is read from the tables instead (`curate_assets.operations.platform_metrics`).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from curate_resources.pipeline.events import Announced, Committed, Event, PoolState, StageTally, UnitDone

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


@dataclass(frozen=True)
class Metric:
    """One metric; `meaning` is its help text."""

    name: str
    kind: Literal["counter", "gauge"]
    meaning: str
    labels: tuple[str, ...] = ()


UNITS = Metric("curate_units_total", "counter", "Units that came through all stages.", ("plan",))
PARTS = Metric("curate_parts_total", "counter", "Parts that those units were divided into.", ("plan",))
MEDIA_SECONDS = Metric("curate_media_seconds_total", "counter", "How long those units last.", ("plan",))
PENDING = Metric("curate_units_pending", "gauge", "Units that a run has yet to bring through.", ("plan",))
ITEMS = Metric(
    "curate_stage_items_total",
    "counter",
    "Items of a stage by outcome: computed, reused, failed.",
    ("stage", "outcome"),
)
WORKER_SECONDS = Metric(
    "curate_stage_worker_seconds_total", "counter", "Time that workers were at a stage.", ("stage",)
)
CPU_SECONDS = Metric(
    "curate_stage_cpu_seconds_total", "counter", "CPU time of a stage, with the processes that it started.", ("stage",)
)
GPU_SECONDS = Metric(
    "curate_stage_gpu_seconds_total",
    "counter",
    "Time that workers were at a stage, times the share of a GPU that each occupies.",
    ("stage",),
)
BYTES = Metric("curate_stage_bytes_total", "counter", "Media bytes that a stage's new rows point at.", ("stage",))
TOKENS = Metric(
    "curate_stage_tokens_total", "counter", "Tokens of a model, by the column that counts them.", ("stage", "column")
)
FAILURES = Metric("curate_stage_failures_total", "counter", "Failed items by the type of error.", ("stage", "type"))
COMMITS = Metric("curate_commits_total", "counter", "Shards of an asset that were committed.", ("asset",))
COMMIT_SECONDS = Metric(
    "curate_commit_seconds_total",
    "counter",
    "Time that committing took; what a job of another cluster commits is counted as 0.",
    ("asset",),
)
ROWS = Metric(
    "curate_committed_rows_total",
    "counter",
    "Rows of committed shards by status, reused ones too.",
    ("asset", "status"),
)
WAITING = Metric("curate_pool_waiting_tasks", "gauge", "Tasks that wait for a worker of a pool.", ("pool",))
WORKERS = Metric("curate_pool_workers", "gauge", "Workers of a pool by state: starting, idle, busy.", ("pool", "state"))
DEATHS = Metric("curate_pool_worker_deaths_total", "counter", "Workers of a pool that died.", ("pool",))

RUN_METRICS = (
    UNITS,
    PARTS,
    MEDIA_SECONDS,
    PENDING,
    ITEMS,
    WORKER_SECONDS,
    CPU_SECONDS,
    GPU_SECONDS,
    BYTES,
    TOKENS,
    FAILURES,
    COMMITS,
    COMMIT_SECONDS,
    ROWS,
    WAITING,
    WORKERS,
    DEATHS,
)
"""All that a run exposes."""

Samples = Mapping[tuple[Metric, tuple[str, ...]], float]
"""Values by metric and its labels' values."""


class RunMetrics:
    """Counts events; a listener for the process of a run."""

    def __init__(self) -> None:
        self._values: dict[tuple[Metric, tuple[str, ...]], float] = {}
        self._pending: dict[tuple[str, str], int] = {}
        self._died: dict[str, int] = {}

    @property
    def samples(self) -> Samples:
        """The values as they stand."""
        return dict(self._values)

    def __call__(self, event: Event) -> None:
        """Count an event."""
        if isinstance(event, UnitDone):
            self._unit_done(event)
        elif isinstance(event, Announced):
            self._set_pending(event.plan, event.shard, event.total)
        elif isinstance(event, PoolState):
            self._pool(event)
        elif isinstance(event, Committed):
            done = event.done
            self._add(COMMITS, 1, done.table)
            self._add(COMMIT_SECONDS, (event.ended - event.began) / 1e9, done.table)
            for status, rows in done.statuses.items():
                self._add(ROWS, rows, done.table, status)

    def _unit_done(self, event: UnitDone) -> None:
        self._add(UNITS, event.units, event.plan)
        self._add(PARTS, event.parts, event.plan)
        self._add(MEDIA_SECONDS, event.media_seconds, event.plan)
        self._set_pending(event.plan, event.shard, event.total - event.done)
        for tally in event.stages:
            self._stage(tally)

    def _stage(self, tally: StageTally) -> None:
        self._add(ITEMS, tally.computed - tally.failed, tally.stage, "computed")
        self._add(ITEMS, tally.reused, tally.stage, "reused")
        self._add(ITEMS, tally.failed, tally.stage, "failed")
        self._add(WORKER_SECONDS, tally.seconds, tally.stage)
        self._add(CPU_SECONDS, tally.cpu_seconds, tally.stage)
        self._add(GPU_SECONDS, tally.gpu_seconds, tally.stage)
        self._add(BYTES, tally.bytes, tally.stage)
        for column, tokens in tally.tokens.items():
            self._add(TOKENS, tokens, tally.stage, column)
        for kind, count in tally.failures.items():
            self._add(FAILURES, count, tally.stage, kind)

    def _pool(self, event: PoolState) -> None:
        self._values[WAITING, (event.pool,)] = event.waiting
        for state in ("starting", "idle", "busy"):
            self._values[WORKERS, (event.pool, state)] = getattr(event, state)
        before = self._died.get(event.pool, 0)  # of a run that may have ended meanwhile: the next begins with none
        self._add(DEATHS, event.died - before if event.died >= before else event.died, event.pool)
        self._died[event.pool] = event.died

    def _set_pending(self, plan: str, shard: str, count: int) -> None:
        before = self._pending.get((plan, shard), 0)
        self._add(PENDING, count - before, plan)
        self._pending[plan, shard] = count

    def _add(self, metric: Metric, value: float, *labels: str) -> None:
        key = (metric, labels)
        self._values[key] = self._values.get(key, 0.0) + value


def families(metrics: Iterable[Metric], samples: Samples) -> Iterator[Any]:
    """Samples as Prometheus' client takes them."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    for metric in metrics:
        family: Any = (CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily)(
            metric.name, metric.meaning, labels=metric.labels
        )
        for (of, labels), value in samples.items():
            if of is metric:
                family.add_metric(labels, value)
        yield family


def registry_of(source: Any) -> "CollectorRegistry":
    """A registry of what `source` collects (it has a method `collect`)."""
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry()
    registry.register(source)
    return registry
