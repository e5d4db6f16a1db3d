"""What tests of assets are made of: a root whose rows the test writes, and an engine that loses what it is told to.

No video, cluster or Dagster is needed: `root = TemporaryRoot(tmp_path)`, `root.add("a", ["one.mp4"])`, then
`root.store(...)` of what an asset reads, `root.materialize(graph, "my_scores")` and `root.rows(MY_SCORES)`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from curate_assets.graph.graph import Graph
from curate_assets.graph.platform import PlatformConfig
from curate_resources.declarations.table import Row, Table
from curate_resources.engines.in_process import InProcessEngine
from curate_resources.pipeline.commit import Materialized, committed, remember
from curate_resources.pipeline.plan import Plan
from curate_resources.pipeline.run import Engine, materialize
from curate_resources.pipeline.unit import Unit
from curate_resources.sources.manifests import Entry, Manifest, Manifests
from curate_resources.storage.root import Storage
from curate_resources.tables.lance_tables import Tables


@dataclass(frozen=True)
class TemporaryRoot:
    """A root in a folder of the test's, such as pytest's `tmp_path`."""

    folder: Path

    @property
    def storage(self) -> Storage:
        """Its files."""
        return Storage(str(self.folder))

    @property
    def tables(self) -> Tables:
        """Its tables."""
        return Tables(self.storage)

    def add(self, shard: str, uris: Sequence[str]) -> None:
        """A shard of files, which need not be there: only a stage that opens them would miss them."""
        entries = tuple(Entry(uri=uri, bytes=1, version="1") for uri in sorted(uris))
        Manifests(self.storage).write(Manifest(shard=shard, entries=entries))

    def store(self, table: Table, shard: str, rows: Sequence[Row], config: PlatformConfig | None = None) -> None:
        """Rows as if they had been computed. Of a row, what it does not say is null, and its status is `ok`.

        Args:
            config: with it, the history knows of them, too, which checks that compare shards read.
        """
        common = {"shard": shard, "status": "ok"}
        filled = [{**common, "fingerprint": f"{shard}{row}", **row} for row in rows]
        stored = pa.Table.from_pylist(filled, schema=table.rows_schema)
        version = self.tables.swap(table, shard, stored)
        if config is not None:
            remember(self.storage, table, config, committed(table, shard, version, stored), stored, {})

    def rows(self, table: Table, shard: str | None = None) -> list[Row]:
        """The rows of a table, of one shard or all."""
        return self.tables.read(table, shard).to_pylist()

    def materialize(
        self, graph: Graph, *wanted: str, settings: Mapping[str, Any] | None = None, engine: Engine | None = None
    ) -> list[Materialized]:
        """Make tables of stages of all shards, in this process unless an engine is given.

        Args:
            settings: by section, what is not as by default.
        """
        config = graph.config_model("Settings", __name__).model_validate(settings or {})
        plan = graph.plan(wanted, config, self.storage.root)
        return list(materialize(plan, Manifests(self.storage).shards(), engine or InProcessEngine()))


@dataclass(frozen=True)
class LosingEngine:
    """Runs a plan in this process; the units that it is told to lose never come back, as if their machine went away.

    Attributes:
        loses: of a unit, whether it is lost.
        lost: the sources of those that were.
    """

    loses: Callable[[Unit], bool]
    lost: list[str] = field(default_factory=list)

    def holds(self, plan: Plan) -> bool:
        """Whether all stages of a plan can run at the same time."""
        return True

    def run(self, plan: Plan, units: list[Unit]) -> Iterator[Unit]:
        """The units that are not lost."""
        for unit in InProcessEngine().run(plan, units):
            if self.loses(unit):
                self.lost.append(unit.source)
            else:
                yield unit
