"""Committing a shard's rows: in order, each key once, with a record in the history."""

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curate_resources.declarations.table import Table
from curate_resources.pipeline.plan import Plan
from curate_resources.pipeline.unit import Unit
from curate_resources.storage.root import Storage
from curate_resources.tables.history import History, Record, identity_digest
from curate_resources.tables.lance_tables import Tables

EXACT_COPY = "ExactCopy"
"""The error type of a file that has the same content as an earlier one of its shard."""


@dataclass(frozen=True)
class Materialized:
    """One table's rows of one shard, committed.

    Attributes:
        statuses: rows by status.
        computed, reused: items of the stage that fills the table.
        seconds: worker time of that stage, summed over its workers.
        bytes: media bytes that the rows point at; 0 for tables without any.
        version: the table's version after the commit.
        digest: of all fingerprints.
        identity: of the rows as far as they matter to what is made from them; the shard's data version.
        item: what one item of that stage stands for: the grain of its item table.
        cpu_seconds: CPU time of its workers, with the processes that they started.
        gpu_seconds: worker time, times the share of a GPU that a worker occupies.
    """

    table: str
    shard: str
    version: int
    rows: int
    statuses: Mapping[str, int]
    computed: int
    reused: int
    seconds: float
    bytes: int
    digest: str
    identity: str = ""
    item: str = ""
    cpu_seconds: float = 0.0
    gpu_seconds: float = 0.0


def commit(plan: Plan, shard: str, units: list[Unit]) -> Iterator[Materialized]:
    store = Tables(plan.storage)
    units.sort(key=lambda unit: unit.source)
    for stage in plan.stages:
        all_tallies = [tally for unit in units for tally in unit.tallies if tally["stage"] == stage.name]
        read = [plan.tables[name] for name in (stage.item, *stage.reads)]
        inputs = {table.name: identity_digest(table, [unit.rows[table.name] for unit in units]) for table in read}
        for table in stage.writes:
            if table.name not in plan.wanted:
                continue
            tallies = [] if table.name in plan.idle else all_tallies
            rows = in_order(table, [unit.rows[table.name] for unit in units])
            version = store.swap(table, shard, rows)
            done = committed(
                table,
                shard,
                version,
                rows,
                computed=sum(tally["computed"] for tally in tallies),
                reused=sum(tally["reused"] for tally in tallies),
                seconds=sum(tally["seconds"] for tally in tallies),
                item=plan.tables[stage.item].grain,
                cpu_seconds=sum(tally["cpu_seconds"] for tally in tallies),
                gpu_seconds=sum(tally["gpu_seconds"] for tally in tallies),
            )
            remember(plan.storage, table, plan.config, done, rows, inputs)
            yield done


def committed(
    table: Table,
    shard: str,
    version: int,
    rows: pa.Table,
    computed: int | None = None,
    reused: int = 0,
    seconds: float = 0.0,
    item: str = "",
    cpu_seconds: float = 0.0,
    gpu_seconds: float = 0.0,
) -> Materialized:
    """What is to be said of rows that were just committed."""
    statuses = rows["status"].to_pylist()
    digest = hashlib.sha256("\n".join(rows["fingerprint"].to_pylist()).encode()).hexdigest()[:32]
    return Materialized(
        table=table.name,
        shard=shard,
        version=version,
        rows=rows.num_rows,
        statuses={status: statuses.count(status) for status in sorted(set(statuses))},
        computed=rows.num_rows if computed is None else computed,
        reused=reused,
        seconds=seconds,
        bytes=sum(size or 0 for size in rows["bytes"].to_pylist()) if table.has("bytes") else 0,
        digest=digest,
        identity=identity_digest(table, [rows]),
        item=item,
        cpu_seconds=cpu_seconds,
        gpu_seconds=gpu_seconds,
    )


def remember(
    storage: Storage, table: Table, config: Any, done: Materialized, rows: pa.Table, inputs: Mapping[str, str]
) -> None:
    """Add rows that were just committed to the history.

    Should the process die before this, the table is right all the same, and the next run leaves the record.
    """
    recipe = table.recipe(config)
    record = Record(
        table=table.name,
        shard=done.shard,
        at=time.time_ns(),
        recipe=recipe,
        inputs=inputs,
        rows=done.rows,
        statuses=done.statuses,
        computed=done.computed,
        reused=done.reused,
        seconds=done.seconds,
        bytes=done.bytes,
        table_version=done.version,
        digest=done.digest,
        measures=table.measures(rows) if table.measures else {},
    )
    History(storage).append(record)


def in_order(table: Table, parts: Sequence[pa.Table]) -> pa.Table:
    """The rows of a shard as they are stored: ordered by key, and each key once.

    Two files of a shard with the same content have the same id, and so the same rows: the later ones go.
    """
    rows = pa.concat_tables([part.select(table.rows_schema.names) for part in parts] or [table.empty()])
    keys = list(zip(*(rows[name].to_pylist() for name in table.keys), strict=True))
    first: dict[tuple[Any, ...], int] = {}
    for index, key in enumerate(keys):
        first.setdefault(key, index)
    order = sorted(first, key=lambda key: tuple((value is not None, value) for value in key))
    rows = rows.take(pa.array([first[key] for key in order], pa.int64()))
    return _copies_marked(table, rows, table.distinct) if table.distinct else rows


def _copies_marked(table: Table, rows: pa.Table, column: str) -> pa.Table:
    """Rows that repeat the `distinct` value of an earlier row become empty, and say of what they are a copy."""
    marked = rows.to_pylist()
    first: dict[Any, str] = {}
    for row in marked:
        if row["error"] and row["error"]["type"] == EXACT_COPY:
            row.update(status="ok", error=None)  # of a file that may be gone by now
        if row["status"] == "failed":
            continue
        if (original := first.setdefault(row[column], row[table.keys[0]])) != row[table.keys[0]]:
            error = {"stage": table.name, "type": EXACT_COPY, "message": f"same content as {original}", "attempt": 1}
            row.update(status="empty", error=error)
    return pa.Table.from_pylist(marked, schema=rows.schema)
