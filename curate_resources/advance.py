"""The treatment that every stage gets, whatever the engine: reuse, compute, isolate what fails.

An item whose stored rows carry the fingerprint that they would get again is not computed. When a stage raises, its
items are tried one by one, and only those that raise alone become failed rows.
"""

import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from curate_resources.stage import Row, Stage, Table, Work, Worker
from curate_resources.unit import Unit

_log = logging.getLogger("curate.stages")
_MESSAGE_LIMIT = 2000

Key = tuple[Any, ...]


def advance(
    stage: Stage, worker: Worker, unit: Unit, tables: Mapping[str, Table], config: Any, wanted: frozenset[str]
) -> None:
    """Run one stage on one unit: afterwards `unit.rows` has the stage's wanted tables."""
    started = time.perf_counter()
    writes = {table.name: table for table in stage.writes if table.name in wanted}
    items = _workable(stage, unit)
    inputs = {name: unit.rows[name] for name in (*stage.reads, *stage.gates)}
    fingerprints = {
        name: _fingerprints(stage, table, tables[stage.item], items, unit, tables, config)
        for name, table in writes.items()
    }
    reusable = {
        name: _reusable(table, tables[stage.item], items, fingerprints[name], unit.kept.get(name))
        for name, table in writes.items()
    }
    pending = [i for i in range(items.num_rows) if any(i not in reusable[name] for name in writes)]
    made: dict[str, list[Row]] = {name: [] for name in writes}
    failed = 0
    if pending:
        # A table whose rows all hold is not asked for, though another of the same stage is.
        asked = frozenset(name for name in writes if any(i not in reusable[name] for i in pending))
        failed = _compute(stage, worker, unit, tables, items, inputs, pending, asked, fingerprints, made)
        for name in asked:
            for i in pending:
                reusable[name].pop(i, None)
    for name, table in writes.items():
        fresh = pa.Table.from_pylist(made[name], schema=table.rows_schema)
        kept = [rows for _, rows in sorted(reusable[name].items())]
        unit.rows[name] = pa.concat_tables([*kept, fresh])
    unit.tallies.append(
        {
            "stage": stage.name,
            "seconds": time.perf_counter() - started,
            "computed": len(pending),
            "reused": items.num_rows - len(pending),
            "failed": failed,
        }
    )


def joined_on(item: Table, other: Table) -> list[str]:
    """The columns by which rows of `other` belong to a row of `item`."""
    return [name for name in item.links if name in other.columns.names]


def _workable(stage: Stage, unit: Unit) -> pa.Table:
    items = unit.rows[stage.item]
    mask = [status == "ok" for status in items["status"].to_pylist()]
    if stage.eligible is not None and any(mask):
        items = items.filter(pa.array(mask))
        mask = stage.eligible(items, {name: unit.rows[name] for name in (*stage.reads, *stage.gates)})
    return items if all(mask) else items.filter(pa.array(mask, pa.bool_()))


def _keys(rows: pa.Table, columns: Sequence[str]) -> list[Key]:
    return list(zip(*(rows[name].to_pylist() for name in columns), strict=True)) if columns else [()] * rows.num_rows


def _fingerprints(
    stage: Stage, table: Table, item: Table, items: pa.Table, unit: Unit, tables: Mapping[str, Table], config: Any
) -> list[str]:
    settings = {section: getattr(config, section).settings() for section in table.sections}
    made_by = [table.name, table.version, settings, list(table.model(config)) if table.model else None]
    from_inputs: list[list[list[Key]]] = []
    for name in stage.reads:
        columns = joined_on(item, tables[name])
        by_item: dict[Key, set[Key]] = {}
        rows = unit.rows[name]
        identities = _keys(rows, [*tables[name].identity, "status"])
        for key, identity in zip(_keys(rows, columns), identities, strict=True):
            by_item.setdefault(key, set()).add(identity)
        from_inputs.append([sorted(by_item.get(key, ()), key=repr) for key in _keys(items, columns)])
    identities = _keys(items, item.identity)
    result: list[str] = []
    for i, identity in enumerate(identities):
        text = json.dumps([made_by, identity, [read[i] for read in from_inputs]], sort_keys=True, default=str)
        result.append(hashlib.sha256(text.encode()).hexdigest()[:32])
    return result


def _reusable(
    table: Table, item: Table, items: pa.Table, fingerprints: list[str], kept: pa.Table | None
) -> dict[int, pa.Table]:
    """Stored rows by item index, for the items all of whose rows hold."""
    if kept is None or kept.num_rows == 0:
        return {}
    columns = joined_on(item, table)
    places: dict[Key, list[int]] = {}
    for index, key in enumerate(_keys(kept, columns)):
        places.setdefault(key, []).append(index)
    stored, status = kept["fingerprint"].to_pylist(), kept["status"].to_pylist()
    found: dict[int, pa.Table] = {}
    for i, key in enumerate(_keys(items, columns)):
        rows = places.get(key, [])
        if rows and all(stored[row] == fingerprints[i] and status[row] != "failed" for row in rows):
            found[i] = kept.slice(rows[0], len(rows)) if rows[-1] - rows[0] + 1 == len(rows) else kept.take(rows)
    return found


def _compute(
    stage: Stage,
    worker: Worker,
    unit: Unit,
    tables: Mapping[str, Table],
    items: pa.Table,
    inputs: Mapping[str, pa.Table],
    pending: list[int],
    asked: frozenset[str],
    fingerprints: Mapping[str, list[str]],
    made: dict[str, list[Row]],
) -> int:
    """Fill `made`; return how many items failed."""
    item = tables[stage.item]

    def run(indices: list[int]) -> None:
        work = Work(
            items=items.take(indices),
            inputs=inputs,
            wanted=asked,
            fingerprints={name: [fingerprints[name][i] for i in indices] for name in asked},
        )
        results = worker(work)
        for name in asked:
            columns = joined_on(item, tables[name])
            print_of = dict(zip(_keys(work.items, columns), work.fingerprints[name], strict=True))
            for row in results[name]:
                key = tuple(row[column] for column in columns)
                made[name].append(
                    {"status": "ok", "error": None, **row, "shard": unit.shard, "fingerprint": print_of[key]}
                )

    try:
        run(pending)
        return 0
    except Exception as error:
        if len(pending) == 1:
            _record(stage, unit, tables, items, pending[0], asked, fingerprints, made, error)
            return 1
        for name in asked:
            made[name].clear()
    failed = 0
    for i in pending:
        try:
            run([i])
        except Exception as error:
            _record(stage, unit, tables, items, i, asked, fingerprints, made, error)
            failed += 1
    return failed


def _record(
    stage: Stage,
    unit: Unit,
    tables: Mapping[str, Table],
    items: pa.Table,
    index: int,
    asked: frozenset[str],
    fingerprints: Mapping[str, list[str]],
    made: dict[str, list[Row]],
    error: Exception,
) -> None:
    """A failed row in every table asked for, in place of whatever the item gave before it raised."""
    item = tables[stage.item]
    row = items.slice(index, 1).to_pylist()[0]
    message = str(error)[:_MESSAGE_LIMIT]
    _log.warning("%s failed on %s: %s: %s", stage.name, unit.source, type(error).__name__, message)
    for name in asked:
        columns = joined_on(item, tables[name])
        key = tuple(row[column] for column in columns)
        made[name][:] = [done for done in made[name] if tuple(done[column] for column in columns) != key]
        made[name].append(
            {
                **{column: row[column] for column in columns},
                "shard": unit.shard,
                "status": "failed",
                "error": {
                    "stage": stage.name,
                    "type": type(error).__name__,
                    "message": message,
                    "attempt": 1,
                },
                "fingerprint": fingerprints[name][index],
            }
        )
