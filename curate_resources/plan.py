"""From selected assets and shards to the units of work and the stages that they pass, and to the tables at the end."""

import hashlib
import logging
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import pyarrow as pa

from curate_resources.history import History, Record, identity_digest
from curate_resources.manifests import MANIFEST, Manifests, place_of, rows_of
from curate_resources.stage import Stage, Table
from curate_resources.storage import Storage
from curate_resources.tables import Tables
from curate_resources.unit import Unit
from gpu_kernels.errors import OperatingError, UserError

EXACT_COPY = "ExactCopy"
"""The error type of a file that has the same content as an earlier one of its shard."""

_progress = logging.getLogger("curate.progress")


class MissingInput(UserError):
    """A stage needs rows that were never materialized."""


class LostUnits(OperatingError):
    """An engine ended without giving back every unit."""


@dataclass(frozen=True)
class Plan:
    """Which stages run, in the order of flow, and which tables they fill.

    Attributes:
        stages: the stages that have something to fill.
        wanted: names of the tables to fill.
        tables: every table of the graph by name.
        config: the whole configuration; a stage reads the sections that it names.
        root: the root's URI.
        force: compute every row, whatever its fingerprint says.
        failed_only: compute only rows that failed or that are not there; the others stay, whatever their fingerprint.
    """

    stages: tuple[Stage, ...]
    wanted: frozenset[str]
    tables: Mapping[str, Table]
    config: Any
    root: str
    force: bool = False
    failed_only: bool = False

    def only(self, stage: Stage) -> "Plan":
        """The same, of a single stage; it reads everything else from the tables."""
        return replace(self, stages=(stage,), wanted=self.wanted & {table.name for table in stage.writes})

    @property
    def name(self) -> str:
        """What is shown of it: its stages."""
        return " > ".join(stage.name for stage in self.stages)

    @property
    def storage(self) -> Storage:
        """The files under the root."""
        return Storage(self.root)

    @property
    def heavy(self) -> bool:
        """Whether any stage looks at pixels or runs a model."""
        return any(stage.heavy for stage in self.stages)

    @property
    def reads(self) -> frozenset[str]:
        """The tables whose stored rows the stages read."""
        return frozenset(name for stage in self.stages for name in stage.inputs) - self.wanted - {MANIFEST.name}

    @property
    def keeps(self) -> frozenset[str]:
        """The tables whose stored rows may be used again."""
        return frozenset() if self.force else self.wanted

    def units(self, shard: str, unready: Collection[str] = ()) -> list[Unit]:
        """The source videos of a shard, with the stored rows that the stages read or may use again.

        Args:
            unready: tables that need not be there, because they will be made before the plan runs.

        Raises:
            MissingInput: something that is read, and not made in this run, is not there.
        """
        store = Tables(self.storage)
        manifest = rows_of([Manifests(self.storage).load(shard)])
        read, kept = self.reads, self.keeps
        uris = dict(zip(manifest["place"].to_pylist(), manifest["uri"].to_pylist(), strict=True))
        stored = {
            name: readdressed(store.read(self.tables[name], shard).drop_columns(["slot"]), uris)
            for name in {*read, *kept}
        }
        sources = stored.get("source_videos")
        if sources is None:
            sources = readdressed(store.read(self.tables["source_videos"], shard), uris)
        absent = {name for name in read - set(unready) if stored[name].num_rows == 0}
        if manifest.num_rows:  # else all its files were forgotten
            self.require(shard, absent, sources["status"].to_pylist())
        # An exact copy has the id of another file, but that file's rows are not its own.
        video_of = {
            row["uri"]: row["video_id"]
            for row in sources.select(["uri", "video_id", "status"]).to_pylist()
            if row["status"] != "empty"
        }
        parts = {name: _split(rows) for name, rows in stored.items()}
        units: list[Unit] = []
        for index, uri in enumerate(manifest["uri"].to_pylist()):
            own = {uri, video_of.get(uri)} - {None}

            def part(name: str, own: set[Any] = own) -> pa.Table:
                found = [parts[name][key] for key in own if key in parts[name]]
                return found[0] if found else self.tables[name].empty()

            rows = {MANIFEST.name: manifest.slice(index, 1)} | {name: part(name) for name in sorted(read)}
            units.append(Unit(shard, uri, rows, {name: part(name) for name in sorted(kept)}))
        known = read - set(unready)
        for stage in self.stages:
            if stage.eligible is not None and known.issuperset((stage.item, *stage.gates)):
                for unit in units:  # asked here for its errors: better before the run than in the middle of it
                    stage.eligible(unit.rows[stage.item], unit.rows)
        return units

    def require(self, shard: str, absent: Collection[str], sources: Collection[str]) -> None:
        """See that a shard has what the stages read.

        Args:
            absent: tables that are read and have no rows of it.
            sources: the statuses of its videos, as far as these were looked at.

        Raises:
            MissingInput: something is missing.
        """
        new = "source_videos" in self.wanted and not sources  # of which any may turn out to be usable
        for name in sorted(absent):
            if new or "ok" in sources or name == "source_videos":
                gate_only = all(name not in (stage.item, *stage.reads) for stage in self.stages)
                if gate_only and Tables(self.storage).exists(name):
                    continue
                needing = next(stage.name for stage in self.stages if name in stage.inputs)
                raise MissingInput(
                    f"{needing} of shard {shard} needs {name}, which is not there: "
                    f"materialize {name} of this shard first"
                )


Mode = Literal["auto", "streaming", "batch"]


class Engine(Protocol):
    """Passes units through a plan's stages, in any order and place."""

    def holds(self, plan: Plan) -> bool:
        """Whether it has room for all stages of a plan at the same time."""
        ...

    def run(self, plan: Plan, units: list[Unit]) -> Iterator[Unit]:
        """Give back every unit once, with the rows of every stage. The list is the engine's, to be emptied."""
        ...


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


def materialize(plan: Plan, shards: Sequence[str], engine: Engine, mode: Mode = "auto") -> Iterator[Materialized]:
    """Run a plan on shards; every table of a shard is committed as soon as the shard's last video is through.

    Args:
        mode: `streaming` passes units from stage to stage, `batch` runs one stage after the other, through the tables;
            `auto` streams unless the engine cannot hold all stages at the same time.

    Raises:
        MissingInput: before anything runs.
        LostUnits: the engine lost videos; shards that were complete are committed.
    """
    if mode == "batch" or (mode == "auto" and len(plan.stages) > 1 and not engine.holds(plan)):
        if mode == "auto":
            _progress.info("stage after stage, because there is no room for all of %s at the same time", plan.name)
        for stage in plan.stages:
            yield from _streamed(plan.only(stage), shards, engine)
    else:
        yield from _streamed(plan, shards, engine)


def _streamed(plan: Plan, shards: Sequence[str], engine: Engine) -> Iterator[Materialized]:
    units = {shard: plan.units(shard) for shard in shards}
    totals = {shard: len(units[shard]) for shard in shards}
    waiting = {shard: {unit.source for unit in units[shard]} for shard in shards}
    done: dict[str, list[Unit]] = {shard: [] for shard in shards}
    announce(plan.name, totals)
    for shard in shards:
        if not waiting[shard]:
            yield from _commit(plan, shard, [])
    queue = [unit for shard in shards for unit in units.pop(shard)]
    for unit in engine.run(plan, queue):
        done[unit.shard].append(unit)
        waiting[unit.shard].discard(unit.source)
        total = totals[unit.shard]
        _progress.info(
            "%s: %d of %d videos",
            unit.shard,
            total - len(waiting[unit.shard]),
            total,
            extra={
                "plan": plan.name,
                "shard": unit.shard,
                "done": total - len(waiting[unit.shard]),
                "total": total,
                "source": unit.source,
                "settled": _clips(plan, unit),
                "failed": sum(
                    unit.rows[name]["status"].to_pylist().count("failed") for name in plan.wanted & unit.rows.keys()
                ),
                "video_seconds": _video_seconds(unit),
            },
        )
        if not waiting[unit.shard]:
            yield from _commit(plan, unit.shard, done.pop(unit.shard))
    lost = [f"{shard}: {source}" for shard, sources in waiting.items() for source in sorted(sources)]
    if lost:
        raise LostUnits(f"{len(lost)} videos never came back from the workers, run again: {', '.join(lost[:5])}")


def announce(plan: str, totals: Mapping[str, int]) -> None:
    """Tell those who show progress how many videos of each shard there are to come."""
    for shard, total in totals.items():
        _progress.info("%s: %d videos", shard, total, extra={"plan": plan, "shard": shard, "done": 0, "total": total})


def _video_seconds(unit: Unit) -> float:
    """How long the video is, as far as that is known."""
    sources = unit.rows.get("source_videos")
    if sources is None or "duration_ns" not in sources.column_names:
        return 0.0
    return sum(filter(None, sources["duration_ns"].to_pylist())) / 1e9


def _clips(plan: Plan, unit: Unit) -> int:
    counts = [
        rows["status"].to_pylist().count("ok") for name, rows in unit.rows.items() if plan.tables[name].grain == "clip"
    ]
    return max(counts, default=0)


def _commit(plan: Plan, shard: str, units: list[Unit]) -> Iterator[Materialized]:
    store = Tables(plan.storage)
    units.sort(key=lambda unit: unit.source)
    for stage in plan.stages:
        tallies = [tally for unit in units for tally in unit.tallies if tally["stage"] == stage.name]
        read = [plan.tables[name] for name in (stage.item, *stage.reads)]
        inputs = {table.name: identity_digest(table, [unit.rows[table.name] for unit in units]) for table in read}
        for table in stage.writes:
            if table.name not in plan.wanted:
                continue
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

    Two files of a shard with the same content have the same video id, and so the same rows: the later ones go.
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


def readdressed(rows: pa.Table, uris: Mapping[str, str]) -> pa.Table:
    """Rows with the URIs that the manifest has now: of a URL, the signature may have been renewed."""
    if "uri" not in rows.column_names:
        return rows
    before = rows["uri"].to_pylist()
    now = [uris.get(place_of(uri), uri) for uri in before]
    if now == before:
        return rows
    return rows.set_column(rows.column_names.index("uri"), "uri", pa.array(now, pa.string()))


def _split(rows: pa.Table) -> dict[Any, pa.Table]:
    """Rows by source: by URI where the table has one, else by video id."""
    column = "uri" if "uri" in rows.column_names else "video_id"
    places: dict[Any, list[int]] = {}
    for index, key in enumerate(rows[column].to_pylist()):
        places.setdefault(key, []).append(index)
    return {key: rows.take(pa.array(indices, pa.int64())) for key, indices in places.items()}
