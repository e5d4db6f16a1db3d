"""The checks that every table of stages has: rows that end in a status, keys that are unique, and nothing lost."""

from collections.abc import Callable, Iterator

from curate_assets.graph.shard_checks import Check, Finding, Problems, Shard, nothing_wrong
from curate_resources.declarations.stage import Stage
from curate_resources.declarations.table import STATUSES, Table
from curate_resources.declarations.units import UnitTable
from curate_resources.sources.manifests import MANIFEST, Manifests, place_of


def row_checks(table: Table, units: UnitTable) -> Iterator[Check]:
    """What must hold of the rows of any table."""
    keys = ", ".join(table.keys)
    yield Check(
        table,
        "statuses_terminal",
        "Every row is ok, empty, or failed with a reason.",
        nothing_wrong(_terminal(table)),
        f"select slot, status, error from {table.name} where shard = $shard "
        f"and (status not in {STATUSES} or (status = 'failed' and error is null))",
    )
    yield Check(
        table,
        "keys_unique",
        "No key occurs twice in the shard.",
        nothing_wrong(_unique(table)),
        f"select {keys}, count(*) as rows from {table.name} where shard = $shard group by {keys} having count(*) > 1",
    )
    yield Check(
        table,
        "failures_few",
        "Failed rows are within checks.max_failed_share; of fewer than checks.min_rows rows, this only warns.",
        _failures(table),
        f"select {_place(table, units)}{keys}, error.stage as stage, error.type as type, error.message as message "
        f"from {table.name} t where shard = $shard and status = 'failed'",
        blocking=table is units.table,
    )


def item_checks(table: Table, stage: Stage, item: Table) -> Iterator[Check]:
    """What must hold of the rows that a stage makes of the rows of its item table."""
    if item is MANIFEST:
        yield Check(
            table,
            "every_entry_has_a_row",
            "The manifest and the table name the same files.",
            nothing_wrong(_every_entry(table)),
            f"select uri, status from {table.name} where shard = $shard order by uri",
        )
        return
    if stage.eligible is not None or stage.idle is not None:  # not every item has rows
        return
    yield Check(
        table,
        "not_silently_empty",
        f"There are rows where {item.name} has any.",
        nothing_wrong(_not_empty(table, item)),
        f"select * from {item.name} where shard = $shard and status = 'ok'",
    )
    if table.keys == item.links:
        keys = ", ".join(item.links)
        yield Check(
            table,
            f"every_{item.grain}_has_a_row",
            f"No {item.grain} was lost on the way.",
            nothing_wrong(_every_item(table, item)),
            f"select {item.links[-1]} from {item.name} anti join {table.name} using (shard, {keys}) "
            "where shard = $shard and status = 'ok'",
        )


def _terminal(table: Table) -> Callable[[Shard], Problems]:
    def problems(shard: Shard) -> Problems:
        return [
            f"{shard.named(table, row)}: status {row['status']!r}, error {row['error']}"
            for row in shard.rows(table)
            if row["status"] not in STATUSES or (row["status"] == "failed" and row["error"] is None)
        ]

    return problems


def _failures(table: Table) -> Callable[[Shard], Finding]:
    """More failed rows than checks.max_failed_share; of fewer than checks.min_rows rows it is a warning only."""

    def judge(shard: Shard) -> Finding:
        rows, checks = shard.rows(table), shard.config.checks
        failed = [row for row in rows if row["status"] == "failed"]
        share = len(failed) / max(1, len(rows))
        if share <= checks.max_failed_share:
            return Finding([], {"failed_share": share})
        said = (
            f"{len(failed)} of {len(rows)} rows failed, more than {checks.max_failed_share:.0%} "
            "(checks.max_failed_share): fix or remove the files named here, then `curate retry-failed`; "
            "or raise the limit"
        )
        each = [f"{shard.named(table, row)}: {(row['error'] or {}).get('message')}" for row in failed]
        return Finding([said, *each], {"failed_share": share}, warns=len(rows) < checks.min_rows)

    return judge


def _place(table: Table, units: UnitTable) -> str:
    """In SQL, the file that a row `t` comes from; nothing where its keys say that, or no single file does."""
    if units.id not in table.keys:
        return ""
    source = f"from {units.table.name} v where v.shard = t.shard and v.{units.id} = t.{units.id}"
    return f"(select min({units.place}) {source}) as {units.place}, "


def _unique(table: Table) -> Callable[[Shard], Problems]:
    def problems(shard: Shard) -> Problems:
        keys = [tuple(row[name] for name in table.keys) for row in shard.rows(table)]
        return [f"{len(keys) - len(set(keys))} keys occur more than once"] if len(set(keys)) < len(keys) else []

    return problems


def _not_empty(table: Table, item: Table) -> Callable[[Shard], Problems]:
    def problems(shard: Shard) -> Problems:
        made_from = len(shard.good(item))
        if made_from and not shard.rows(table):
            return [f"no rows, though {item.name} has {made_from}"]
        return []

    return problems


def _every_entry(table: Table) -> Callable[[Shard], Problems]:
    def problems(shard: Shard) -> Problems:
        rows = {place_of(row["uri"]) for row in shard.rows(table)}
        entries = {entry.place for entry in Manifests(shard.tables.storage).load(shard.key).entries}
        return [f"no row for {uri}" for uri in sorted(entries - rows)] + [
            f"{uri} is not in the manifest" for uri in sorted(rows - entries)
        ]

    return problems


def _every_item(table: Table, item: Table) -> Callable[[Shard], Problems]:
    def problems(shard: Shard) -> Problems:
        found = {tuple(row[name] for name in item.links) for row in shard.rows(table)}
        items = {tuple(row[name] for name in item.links): row for row in shard.good(item)}
        return [f"no row for {shard.named(item, row)}" for key, row in sorted(items.items()) if key not in found]

    return problems
