"""What is there, what is missing and what failed, read from the tables alone."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from curate_assets.graph.graph import FunnelStep, Graph
from curate_assets.graphs import GRAPH
from curate_resources.declarations.table import Table
from curate_resources.sources.manifests import Manifests
from curate_resources.storage.root import Storage
from curate_resources.tables.history import ALL_SHARDS, History
from curate_resources.tables.lance_tables import Tables, one_of

_SHOWN_FAILURES = 20


@dataclass(frozen=True)
class Failure:
    """A failed row; `subject` is the file, clip or video that it is about, `unit` the id of the video."""

    table: str
    shard: str
    subject: str
    message: str
    unit: str = ""


@dataclass(frozen=True)
class AssetState:
    """Rows of one table by status.

    Attributes:
        missing: the shards that it was never made of.
        without_rows: the shards that it was made of, with nothing found.
    """

    name: str
    rows: dict[str, int]
    missing: tuple[str, ...]
    without_rows: tuple[str, ...] = ()


@dataclass(frozen=True)
class Status:
    """The state of everything under a root; `failures` are the first few, `failed_rows` counts them all."""

    root: str
    shards: tuple[str, ...]
    funnel: tuple[FunnelStep, ...]
    assets: tuple[AssetState, ...]
    failed_rows: int
    failures: tuple[Failure, ...]


def failed_shards(storage: Storage, assets: frozenset[str], graph: Graph = GRAPH) -> list[str]:
    """The shards with failed rows in any table of some assets, sorted."""
    tables = Tables(storage)
    found: set[str] = set()
    for table in graph.tables.values():
        if table.name in assets:
            found.update(tables.read(table, columns=["shard"], where="status = 'failed'")["shard"].unique().to_pylist())
    return sorted(found)


def failed_rows(
    storage: Storage, assets: frozenset[str], shards: Collection[str], graph: Graph = GRAPH
) -> list[Failure]:
    """All failed rows of some assets and shards, in the order of the graph; each is named with its file."""
    tables = Tables(storage)
    chosen = [table for table in graph.tables.values() if table.name in assets]
    found = [each for table in chosen for each in _failures(graph, tables, table, None) if each.shard in set(shards)]
    units = graph.units
    if not any(each.table != units.table.name for each in found):
        return found
    rows = tables.read(units.table, sorted({each.shard for each in found}), [units.id, units.place]).to_pylist()
    places = {row[units.id]: row[units.place] for row in rows if row[units.id]}
    return [replace(each, subject=_named(each, places)) for each in found]


def _named(failure: Failure, places: Mapping[str, str]) -> str:
    place = places.get(failure.unit)
    return f"{place} ({failure.subject})" if place not in (None, failure.subject) else failure.subject


def status_of(storage: Storage, graph: Graph = GRAPH) -> Status:
    """Read the state."""
    tables = Tables(storage)
    shards = Manifests(storage).shards()
    states: list[AssetState] = []
    failures: list[Failure] = []
    failed = 0
    made = History(storage).index().made()
    for table in graph.tables.values():
        counts, there = _counted(tables, table)
        bare = [shard for shard in shards if shard not in there]
        states.append(
            AssetState(
                table.name,
                dict(sorted(counts.items())),
                tuple(shard for shard in bare if not was_made(made, graph, table.name, shard)),
                tuple(shard for shard in bare if was_made(made, graph, table.name, shard)),
            )
        )
        failed += counts["failed"]
        if counts["failed"] and len(failures) < _SHOWN_FAILURES:
            failures += _failures(graph, tables, table, _SHOWN_FAILURES - len(failures))
    steps = graph.funnel(tables, None) if graph.funnel is not None else []
    return Status(storage.root, tuple(shards), tuple(steps), tuple(states), failed, tuple(failures))


def was_made(made: Mapping[tuple[str, str], tuple[int, int]], graph: Graph, table: str, shard: str) -> bool:
    """Whether a table was made of a shard. One of all shards together was, if that was after this one was probed."""
    if (table, shard) in made:
        return True
    probed = made.get((graph.units.table.name, shard))
    of_all = made.get((table, ALL_SHARDS))
    return of_all is not None and probed is not None and of_all[1] >= probed[0]


def _counted(tables: Tables, table: Table) -> tuple[Counter[str], set[str]]:
    """Rows of a table by status, and the shards that have any; a batch of rows is held at a time."""
    counts = Counter[str]()
    there: set[str] = set()
    for batch in tables.batches(table, ["shard", "status"]):
        counts.update({each["values"].as_py(): each["counts"].as_py() for each in batch["status"].value_counts()})
        there.update(batch["shard"].unique().to_pylist())
    return counts, there


def _failures(graph: Graph, tables: Tables, table: Table, most: int | None) -> list[Failure]:
    """The first failed rows of a table, or all."""
    place, unit = graph.units.place, graph.units.id
    names = [name for name in (place, unit, *table.links) if table.has(name)]
    columns = list(dict.fromkeys(names))
    where = "status = 'failed'"
    if most is not None:
        places = tables.read(table, columns=["slot"], where=where)["slot"].slice(0, most).to_pylist()
        where = one_of("slot", places)
    return [
        Failure(
            table.name, row["shard"], _subject(row, columns, graph), row["error"]["message"], str(row.get(unit) or "")
        )
        for row in tables.read(table, columns=["shard", *columns, "error"], where=where).to_pylist()
    ]


def _subject(row: Mapping[str, Any], columns: list[str], graph: Graph) -> str:
    """What a row is about: its file, or else what is closest to it of its keys, such as the clip."""
    names = [row[name] for name in columns if isinstance(row[name], str) and row[name]]
    return row.get(graph.units.place) or (names[-1] if names else "")
