"""The metrics of a root, whatever made it: read from its tables and its history, for a process that lives long."""

import logging
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from curate_assets.graph.graph import Graph
from curate_assets.graphs import GRAPH
from curate_assets.operations.status import was_made
from curate_resources.declarations.table import Table
from curate_resources.sources.manifests import Manifests
from curate_resources.storage.root import Storage
from curate_resources.tables.history import History
from curate_resources.tables.lance_tables import Tables
from curate_resources.telemetry.metrics import Metric, Samples, families

_log = logging.getLogger("curate.telemetry")

SHARDS = Metric(
    "curate_shards",
    "gauge",
    "Shards by what an asset has of them: made; failed, with failed rows; empty, made with nothing found; missing.",
    ("asset", "state"),
)
STORED_ROWS = Metric("curate_rows", "gauge", "Stored rows by status.", ("asset", "status"))
MATERIALIZATIONS = Metric(
    "curate_materializations_total", "counter", "Commits of an asset's shards, of all runs there were.", ("asset",)
)
MADE_ITEMS = Metric(
    "curate_materialized_items_total",
    "counter",
    "Items of those commits by outcome: computed, reused.",
    ("asset", "outcome"),
)
MADE_SECONDS = Metric(
    "curate_materialized_worker_seconds_total", "counter", "Worker time of those commits.", ("asset",)
)
LAST_MADE = Metric(
    "curate_last_materialization_timestamp_seconds", "gauge", "When an asset was last committed.", ("asset",)
)
READ_AT = Metric("curate_root_read_timestamp_seconds", "gauge", "When these metrics were last read from the root.")
READ_SECONDS = Metric("curate_root_read_seconds", "gauge", "How long that took.")

PLATFORM_METRICS = (
    SHARDS,
    STORED_ROWS,
    MATERIALIZATIONS,
    MADE_ITEMS,
    MADE_SECONDS,
    LAST_MADE,
    READ_AT,
    READ_SECONDS,
)
"""All that `curate metrics` exposes."""


def platform_samples(storage: Storage, graph: Graph = GRAPH) -> Samples:
    """The values as the root stands."""
    began = time.perf_counter()
    tables, history = Tables(storage), History(storage)
    shards, made = Manifests(storage).shards(), history.index().made()
    found: dict[tuple[Metric, tuple[str, ...]], float] = {}
    for table in graph.tables.values():
        rows, failed = _counted(tables, table)
        for status, count in _summed(rows).items():
            found[STORED_ROWS, (table.name, status)] = count
        if graph.asset(table.name).partitioned:
            for state, count in _states(graph, table.name, shards, rows, failed, made).items():
                found[SHARDS, (table.name, state)] = count
    for asset, total in history.totals().items():
        found[MATERIALIZATIONS, (asset,)] = total.commits
        found[MADE_ITEMS, (asset, "computed")] = total.computed
        found[MADE_ITEMS, (asset, "reused")] = total.reused
        found[MADE_SECONDS, (asset,)] = total.seconds
        found[LAST_MADE, (asset,)] = total.last / 1e9
    found[READ_AT, ()] = time.time()
    found[READ_SECONDS, ()] = time.perf_counter() - began
    return found


@dataclass(eq=False)
class PlatformMetrics:
    """For a registry: reads the root again when what it knows is so old. When that fails, it says what it knew.

    Attributes:
        every_seconds: reading a large root takes seconds, and scrapes come more often than it changes.
    """

    storage: Storage
    every_seconds: float = 60.0
    _samples: Samples = field(default_factory=dict[tuple[Metric, tuple[str, ...]], float])
    _read: float = -float("inf")

    def collect(self) -> Iterator[Any]:
        """The metrics as Prometheus' client takes them."""
        if time.monotonic() - self._read > self.every_seconds:
            self._read = time.monotonic()
            try:
                self._samples = platform_samples(self.storage)
            except Exception as error:  # its age is a metric of its own, with an alert
                if not self._samples:
                    raise
                _log.warning("%s could not be read: %s", self.storage.root, error, exc_info=True)
        return families(PLATFORM_METRICS, self._samples)


def _counted(tables: Tables, table: Table) -> tuple[dict[str, dict[str, int]], set[str]]:
    """Rows of a table by shard and status, and the shards with failed ones; a batch of rows is held at a time."""
    counts: dict[str, dict[str, int]] = {}
    for batch in tables.batches(table, ["shard", "status"]):
        grouped = pa.table(batch).group_by(["shard", "status"]).aggregate([([], "count_all")])
        for row in grouped.to_pylist():
            own = counts.setdefault(row["shard"], {})
            own[row["status"]] = own.get(row["status"], 0) + row["count_all"]
    return counts, {shard for shard, own in counts.items() if own.get("failed")}


def _summed(counts: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    statuses = ("ok", "empty", "failed")
    return {status: sum(own.get(status, 0) for own in counts.values()) for status in statuses}


def _states(
    graph: Graph,
    table: str,
    shards: Collection[str],
    rows: Collection[str],
    failed: Collection[str],
    made: Mapping[tuple[str, str], tuple[int, int]],
) -> dict[str, int]:
    states: dict[str, int] = dict.fromkeys(("made", "failed", "empty", "missing"), 0)
    for shard in shards:
        if shard in rows:
            states["failed" if shard in failed else "made"] += 1
        else:
            states["empty" if was_made(made, graph, table, shard) else "missing"] += 1
    return states
