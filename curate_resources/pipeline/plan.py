"""From selected assets and shards to the units of work and the stages that they pass, and to the tables at the end."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from curate_resources.declarations.stage import Stage
from curate_resources.declarations.table import Table
from curate_resources.declarations.units import UnitTable
from curate_resources.pipeline.run_context import RunContext
from curate_resources.pipeline.unit import Unit
from curate_resources.sources.manifests import MANIFEST, Manifests, place_of, rows_of
from curate_resources.storage.root import Storage
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.errors import UserError


class MissingInput(UserError):
    """A stage needs rows that were never materialized."""


@dataclass(frozen=True)
class Plan:
    """Which stages run, in the order of flow, and which tables they fill.

    Attributes:
        stages: the stages that have something to fill.
        wanted: names of the tables to fill.
        tables: every table of the graph by name.
        config: the whole configuration; a stage reads the sections that it names.
        root: the root's URI.
        curated: what a unit is.
        force: compute every row, whatever its fingerprint says.
        failed_only: compute only rows that failed or that are not there; the others stay, whatever their fingerprint.
        context: what the work belongs to; no row depends on it.
        idle: names of the tables that get no rows, because their stages have nothing to do or nothing reads them; they
            need not be there.
    """

    stages: tuple[Stage, ...]
    wanted: frozenset[str]
    tables: Mapping[str, Table]
    config: Any
    root: str
    curated: UnitTable
    force: bool = False
    failed_only: bool = False
    context: RunContext = field(default_factory=RunContext)
    idle: frozenset[str] = frozenset()

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
    def by_shard(self) -> bool:
        """Whether all files of a shard may pass through the stages as one unit."""
        return all(stage.of_shards for stage in self.stages)

    @property
    def reads(self) -> frozenset[str]:
        """The tables whose stored rows the stages read."""
        return frozenset(name for stage in self.stages for name in stage.inputs) - self.wanted - {MANIFEST.name}

    @property
    def keeps(self) -> frozenset[str]:
        """The tables whose stored rows may be used again."""
        return frozenset() if self.force else self.wanted

    def units(self, shard: str, unready: Collection[str] = ()) -> list[Unit]:
        """The units of a shard, or the one that it is `by_shard`, with the stored rows that the stages read or may use
        again.

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
        table, place, identifier = self.curated.table, self.curated.place, self.curated.id
        sources = stored.get(table.name)
        if sources is None:
            sources = readdressed(store.read(table, shard), uris)
        absent = {name for name in read - set(unready) if stored[name].num_rows == 0}
        if manifest.num_rows:  # else all its files were forgotten
            self.require(shard, absent, sources["status"].to_pylist())
        # An exact copy has the id of another file, but that file's rows are not its own.
        id_of = {
            row[place]: row[identifier]
            for row in sources.select([place, identifier, "status"]).to_pylist()
            if row["status"] != "empty"
        }
        places = manifest["uri"].to_pylist()
        sources = [shard] if self.by_shard and places else places
        unit_of = {key: 0 if self.by_shard else i for i, uri in enumerate(places) for key in {uri, id_of.get(uri)}}
        entries = [manifest] if self.by_shard else [manifest.slice(i, 1) for i in range(len(places))]
        divided = {name: self._divided(rows, unit_of, len(sources)) for name, rows in sorted(stored.items())}
        units = [
            Unit(
                shard,
                source,
                {MANIFEST.name: entries[i]} | {name: rows[i] for name, rows in divided.items() if name in read},
                {name: rows[i] for name, rows in divided.items() if name in kept},
            )
            for i, source in enumerate(sources)
        ]
        known = read - set(unready)
        for stage in self.stages:
            if stage.eligible is not None and known.issuperset((stage.item, *stage.gates)):
                for unit in units:  # asked here for its errors: better before the run than in the middle of it
                    stage.eligible(self.config, unit.rows[stage.item], unit.rows)
        return units

    def _divided(self, rows: pa.Table, unit_of: Mapping[Any, int], units: int) -> list[pa.Table]:
        """Rows by unit, which is found by URI where the table has one, else by id; no unit's rows are left out."""
        places: list[list[int]] = [[] for _ in range(units)]
        for place, key in enumerate(rows[self.curated.column_of(rows.column_names)].to_pylist()):
            if (unit := unit_of.get(key)) is not None:
                places[unit].append(place)
        return [
            rows if len(own) == rows.num_rows else rows.take(pa.array(own, pa.int64())) if own else rows.slice(0, 0)
            for own in places
        ]

    def require(self, shard: str, absent: Collection[str], sources: Collection[str]) -> None:
        """See that a shard has what the stages read.

        Args:
            absent: tables that are read and have no rows of it.
            sources: the statuses of its units, as far as these were looked at.

        Raises:
            MissingInput: something is missing.
        """
        first = self.curated.table.name
        new = first in self.wanted and not sources  # of which any may turn out to be usable
        for name in sorted(set(absent) - self.idle):
            if new or "ok" in sources or name == first:
                gate_only = all(name not in (stage.item, *stage.reads) for stage in self.stages)
                if gate_only and Tables(self.storage).exists(name):
                    continue
                needing = next(stage.name for stage in self.stages if name in stage.inputs)
                raise MissingInput(
                    f"{needing} of shard {shard} needs {name}, which is not there: "
                    f"materialize {name} of this shard first"
                )


def readdressed(rows: pa.Table, uris: Mapping[str, str]) -> pa.Table:
    """Rows with the URIs that the manifest has now: of a URL, the signature may have been renewed."""
    if "uri" not in rows.column_names:
        return rows
    before = rows["uri"].to_pylist()
    now = [uris.get(place_of(uri), uri) for uri in before]
    if now == before:
        return rows
    return rows.set_column(rows.column_names.index("uri"), "uri", pa.array(now, pa.string()))
