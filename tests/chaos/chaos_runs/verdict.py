"""What must hold after a run was disturbed and run again, as a list of what does not."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos_runs.control import Control
from curate_assets.video.graph import VIDEO
from curate_resources.declarations.table import Table
from curate_resources.tables.lance_tables import quoted
from curate_resources.tables.orphans import MEDIA, forget_versions, orphans


@dataclass(frozen=True)
class Claim:
    """That a version of a table has so many rows of a shard; of all shards where it is None."""

    table: str
    shard: str | None
    version: int
    rows: int


def claims(root: Any, control: Control) -> set[Claim]:
    """All that a run reported as committed: to its caller, in ledgers, and to Dagster."""
    told = [*control.events("claimed")]
    for job in root.storage.folders("jobs"):
        folder = f"jobs/{job}/done"
        told += [json.loads(root.storage.read(f"{folder}/{name}")) for name in root.storage.files(folder)]
    found = [Claim(each["table"], each["shard"], each["version"], each["rows"]) for each in told]
    return {*found, *_dagster_claims(root.path / "dagster")}


def _dagster_claims(home: Path) -> Iterator[Claim]:
    if not home.exists():
        return
    import dagster as dg

    with dg.DagsterInstance.from_config(str(home)) as instance:
        for name in VIDEO.tables:
            for record in instance.fetch_materializations(dg.AssetKey(name), limit=1000).records:
                told = record.asset_materialization
                assert told is not None
                count = "dagster/partition_row_count" if told.partition else "dagster/row_count"
                version, rows = (told.metadata[key].value for key in ("table_version", count))
                yield Claim(name, told.partition, version, rows)


def holes(made: Iterable[Claim], root: Any, finished: Any) -> Iterator[str]:
    """Claims that were not true when they were made: old versions of tables tell.

    Where something failed that does not usually, rows are only counted; else they must be those of an undisturbed run.
    """
    import lance

    torn = bool(_failures(root) - _failures(finished))
    for claim in sorted(made, key=str):
        where = f"shard = {quoted(claim.shard)}" if claim.shard else None
        rows = lance.dataset(root.tables.uri(claim.table), version=claim.version).to_table(filter=where)
        if rows.num_rows != claim.rows:
            yield f"claimed {claim}, but there were {rows.num_rows} rows"
        elif not torn:
            expected = finished.tables.read(VIDEO.tables[claim.table], claim.shard)
            if not rows.sort_by("slot").select(expected.column_names).cast(expected.schema).equals(expected):
                yield f"claimed {claim}, but the rows were not those of an undisturbed run"


def differences(names: frozenset[str], root: Any, finished: Any) -> Iterator[str]:
    """Tables with other rows than those of the undisturbed run, or with a key twice, and files with other bytes."""
    for name in sorted(names):
        rows, expected = root.tables.read(VIDEO.tables[name]), finished.tables.read(VIDEO.tables[name])
        if not rows.equals(expected):
            yield f"{name} has {rows.num_rows} rows, which are not the {expected.num_rows} of an undisturbed run"
        yield from _repeated(VIDEO.tables[name], rows)
        for path in _paths(VIDEO.tables[name], rows):
            if not root.storage.exists(path):
                yield f"{name} points at {path}, which is not there"
            elif root.storage.read(path) != finished.storage.read(path):
                yield f"{path} has other bytes than that of an undisturbed run"


def rubbish(root: Any) -> Iterator[str]:
    """What the clean-up leaves behind although nothing points at it."""
    for orphan in list(orphans(root.storage, VIDEO.tables, 0)):
        root.storage.delete(orphan.path)
    forget_versions(root.storage, 0)
    pointed_at = {path for table in VIDEO.tables.values() for path in _paths(table, root.tables.read(table))}
    for path in sorted({found.path for found in root.storage.walk(MEDIA)} ^ pointed_at):
        yield f"{path} is {'missing' if path in pointed_at else 'left over'} after the clean-up"
    for path in root.path.rglob("*.partial"):
        yield f"{path.relative_to(root.path)} is left over after the clean-up"
    for name in root.tables.names():
        used = {file.path for each in root.tables.dataset(name).get_fragments() for file in each.data_files()}
        there = {path.name for path in (root.path / "tables" / f"{name}.lance" / "data").glob("*")}
        for path in sorted(there - used):
            yield f"{name} has the data file {path}, which no version uses, after the clean-up"


def _failures(root: Any) -> set[tuple[Any, ...]]:
    return {
        (name, *(row[column] for column in (*VIDEO.tables[name].keys, "shard")), str(row["error"]))
        for name, rows in root.contents().items()
        for row in rows.select([*VIDEO.tables[name].keys, "shard", "error"]).to_pylist()
        if row["error"] is not None
    }


def _repeated(table: Table, rows: Any) -> Iterator[str]:
    for columns in (["slot"], ["shard", *table.keys]):
        keys = list(zip(*(rows[column].to_pylist() for column in columns), strict=True))
        if len(set(keys)) < len(keys):
            yield f"{table.name} repeats a value of {columns}"


def _paths(table: Table, rows: Any) -> set[str]:
    return set(rows["path"].to_pylist()) - {None} if table.has("path") else set()
