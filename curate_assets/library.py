"""A library from Python: what is under a root, as Arrow, pandas or DuckDB, and what the commands do to it."""

import os
import re
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curate_assets.graph.root_graph import VARIABLE, graph_of
from curate_assets.graphs import CHOICE, GRAPH
from curate_assets.operations.outlook import Outlook, outlook
from curate_assets.operations.query import run_query
from curate_assets.operations.status import Status, status_of
from curate_assets.settings.presets import ShardSettings
from curate_resources.declarations.table import Table
from curate_resources.sources.adding import Added, add_units
from curate_resources.sources.manifests import Manifests
from curate_resources.sources.shard_names import given_shard_name, shard_name
from curate_resources.storage.root import Storage, existing_root, root_uri
from curate_resources.suggestions import did_you_mean
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.errors import OperatingError, UserError

if TYPE_CHECKING:
    import duckdb
    import lance
    import pandas as pd
    from dagster import DagsterInstance

    from curate_assets.orchestration.runs import RunOutcome


class RunFailed(OperatingError):
    """A run that did not succeed, or a check of it that failed. What it committed stays.

    Attributes:
        outcomes: all runs of the call, in order.
    """

    def __init__(self, message: str, outcomes: Sequence["RunOutcome"]) -> None:
        super().__init__(message)
        self.outcomes = tuple(outcomes)


def _is_enclosed(condition: str) -> bool:
    """Whether parentheses around a condition hold all of it: it closes none that it did not open."""
    depth = 0
    for each in re.findall(r"[()]", re.sub(r"'[^']*'|\"[^\"]*\"|`[^`]*`", "", condition)):
        depth += 1 if each == "(" else -1
        if depth < 0:
            return False
    return depth == 0


def _said(error: str) -> str:
    """What Lance says of a condition, without the place in its source; of values of another type, the remedy."""
    if unlike := re.search(r"literal \w+\((.*)\) and could not convert to literal of type '(\w+)'", error):
        value, kind = unlike.groups()
        if kind == "Utf8":
            return f"the column is text: write '{value}', in single quotes"
        if re.fullmatch(r"U?Int\d+", kind) and re.fullmatch(r"-?[\d.]+", value):
            whole = f"write {float(value):.0f}, or " if float(value).is_integer() else "write "
            return f"the column holds whole numbers: {whole}CAST(... AS double) for the column"
        return f"{value} is no value of a column of type {kind}"
    return error.partition(", /")[0].removeprefix("Invalid user input: ")


@dataclass(frozen=True)
class StoredTable:
    """The rows of one asset. There may be none yet."""

    table: Table
    _tables: Tables = field(repr=False)

    def arrow(
        self,
        columns: Sequence[str] | None = None,
        shard: str | Collection[str] | None = None,
        where: str | None = None,
    ) -> pa.Table:
        """Its rows, in order.

        Args:
            columns: of these alone; None: all.
            shard: of one shard, or of some; None: of all.
            where: a condition in SQL, such as `status = 'ok'`.

        Raises:
            UserError: there is no such column, or the condition is none.
        """
        self._check(columns or (), where)
        return self._tables.read(self.table, shard, columns, where)

    def pandas(
        self,
        columns: Sequence[str] | None = None,
        shard: str | Collection[str] | None = None,
        where: str | None = None,
    ) -> "pd.DataFrame":
        """As `arrow`, as a data frame."""
        return self.arrow(columns, shard, where).to_pandas()

    def _check(self, columns: Sequence[str], where: str | None) -> None:
        """See that the columns are there, and that a condition is one by itself: it is joined to that on shards."""
        known = self.table.schema.names
        for name in columns:
            if name not in known:
                hint = did_you_mean(name, known) or f": there are {', '.join(known)}"
                raise UserError(f"table {self.table.name} has no column {name!r}{hint}")
        if where and not _is_enclosed(where):
            raise UserError(f"where {where}: its parentheses do not match")
        if where and self._tables.exists(self.table.name):
            try:
                self.lance().scanner(columns=["slot"], filter=f"({where})").explain_plan()
            except ValueError as error:
                raise UserError(f"where {where}: {_said(str(error))}") from error

    def lance(self) -> "lance.LanceDataset":
        """The Lance dataset itself, with all its versions.

        Raises:
            NotThere: it was never written.
        """
        return self._tables.dataset(self.table.name)


@dataclass(frozen=True)
class Library:
    """All that is under a root.

    Attributes:
        root: a folder or a URI such as `s3://bucket/curate`; where not said, as for the commands: `CURATE_ROOT`, else
            `./curate-data`.
        settings: go before those of `curate.yaml` in all that is done here, by section, such as
            `{"clips": {"min_seconds": 2}}`.
    """

    root: str | Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        choice = graph_of(self._named)
        if choice.graph not in (None, GRAPH.name) or choice.several != CHOICE.several:
            named = choice.encoded or choice.graph or GRAPH.name
            raise UserError(
                f"{self.storage.root} is curated by the graph {named}, and this process runs "
                f"{CHOICE.encoded or GRAPH.name}: set {VARIABLE}='{named}' before it starts"
            )

    @property
    def storage(self) -> Storage:
        """Its files."""
        return Storage(root_uri(self._named))

    @property
    def _named(self) -> str | None:
        return str(self.root) if self.root is not None else None

    @property
    def _existing(self) -> Storage:
        """Its files, if anything was ever added."""
        return existing_root(self._named)

    def shards(self, chosen: str | Sequence[str] | None = None) -> list[str]:
        """Its shards, or those that some names, ranges (`a-000000..a-000004`) or patterns (`a-*`) name.

        Raises:
            UserError: none is named.
            ManifestError: there are none, or none of a name.
        """
        if chosen is not None and not chosen:
            raise UserError("no shard is named: leave `shards` out for all of them")
        return Manifests(self._existing).chosen([chosen] if isinstance(chosen, str) else chosen)

    def add(
        self,
        source: str | Path,
        name: str | None = None,
        units_per_shard: int = 100,
        gib_per_shard: float = 50.0,
        preset: str | None = None,
        forget_gone: bool = False,
    ) -> Added:
        """Put the files of a folder, a ZIP or a URI into shards; again, only what is new or changed makes a difference.

        Args:
            name: first part of the shards' names; None: the folder's.
            preset: settings of the new shards.
            forget_gone: whether files that are gone from the source are taken out of their shards.
        """
        from curate_assets.orchestration.runs import dagster_home, register_shards

        storage, source = self.storage, str(source)
        dagster_home(storage.root)  # for its errors, before anything is written
        if preset is not None:
            ShardSettings.read(storage).preset(preset)  # for its errors
        manifests = Manifests(storage)
        series, size = given_shard_name(name) if name else shard_name(source), int(gib_per_shard * (1 << 30))
        added = add_units(manifests, source, series, units_per_shard, size, GRAPH.units.files, preset, forget_gone)
        with self._dagster() as instance:
            register_shards(instance, manifests.shards())
        return added

    def plan(self, select: str = "*", shards: Sequence[str] | None = None, force: bool = False) -> Outlook:
        """What a run would compute, why, and for how long. Nothing is written, and nothing starts."""
        from curate_assets.orchestration.asset_selection import selected

        settings = ShardSettings.read(self._existing, dict(self.settings))
        return outlook(settings, selected(select), self.shards(shards), force)

    def materialize(
        self, select: str = "*", shards: Sequence[str] | None = None, force: bool = False
    ) -> list["RunOutcome"]:
        """Make assets up to date, in runs of Dagster in this process; what holds already is not computed again.

        Args:
            select: `clips`; `clips,captions`; `clips+` with all downstream; `+clips` with all upstream; `*`.
            force: compute every row, whatever its fingerprint says.

        Raises:
            RunFailed: a run failed, or a check that is more than a warning.
        """
        from curate_assets.orchestration.asset_selection import selected
        from curate_assets.orchestration.runs import register_shards, run_assets

        storage = self._existing
        wanted, chosen = selected(select), self.shards(shards)
        ShardSettings.read(storage, dict(self.settings))  # for its errors, before anything starts
        curation = {"root": storage.root, "force": force, **self.settings}
        with self._dagster() as instance:
            register_shards(instance, Manifests(storage).shards())
            outcomes = list(run_assets(instance, wanted, chosen, curation))
        said = [each.error for each in outcomes if each.error] or [
            f"check failed: {check}" for each in outcomes for check in each.failed_checks
        ]
        if said:
            raise RunFailed("\n".join(said), outcomes)
        return outcomes

    def status(self) -> Status:
        """The way from files to what comes out, counted; and what is missing or failed."""
        return status_of(self._existing)

    def table(self, name: str) -> StoredTable:
        """The table of an asset.

        Raises:
            UserError: the graph has no such table.
        """
        if (table := GRAPH.tables.get(name)) is None:
            hint = did_you_mean(name, GRAPH.tables) or f": the tables are {', '.join(GRAPH.tables)}"
            raise UserError(f"there is no table {name!r}{hint}")
        return StoredTable(table, Tables(self.storage))

    def sql(self, query: str) -> pa.Table:
        """The rows of a query over the tables, each under its name, in DuckDB's SQL.

        Raises:
            QueryError: the SQL is wrong, or a table was never materialized.
        """
        return run_query(self._existing, query)

    def search(
        self,
        words: str | None = None,
        like: str | Path | None = None,
        where: str | None = None,
        limit: int = 20,
        shards: Sequence[str] | None = None,
        selected: bool = False,
        by: str | None = None,
    ) -> pa.Table:
        """Clips that texts are about, or that look like something, the best first: a row each, with its score and with
        the `matches` by which it was found.

        Args:
            words: that captions, text in the picture, speech or labels have, or that captions mean.
            like: the id of a clip, or a file: a picture or a video.
            where: a condition in SQL on columns of the clips' tables, such as `clip_selection.selected`.
            shards: of these alone, as the commands name them.
            selected: only clips that are kept: selected, and the keepers of their groups of duplicates.
            by: the table of vectors that `like` goes by, if it is a variant of `clip_embeddings`.

        Raises:
            UserError: nothing is asked for, or what is asked cannot be.
            NotThere: what would be searched was not materialized yet.
        """
        from curate_assets.video.search.found import Query
        from curate_assets.video.search.searching import search

        config = ShardSettings.read(self._existing, dict(self.settings)).whole
        chosen = self.shards(shards) if shards is not None else None
        query = Query(words, str(like) if like is not None else None, where, chosen, selected, limit, by)
        return search(Tables(self._existing), GRAPH, config, query).arrow()

    def duckdb(self) -> "duckdb.DuckDBPyConnection":
        """A connection that has the tables, each under its name, as they stand now: `library.duckdb().table("clips")`
        is a relation."""
        import duckdb

        tables, connection = Tables(self._existing), duckdb.connect()
        for name in tables.names():
            connection.register(name, tables.dataset(name))
        return connection

    @contextmanager
    def _dagster(self) -> "Generator[DagsterInstance]":
        """Dagster's instance of the root; a process may have several."""
        from curate_assets.orchestration.runs import dagster_instance

        before = os.environ.get("DAGSTER_HOME")
        try:
            with dagster_instance(self.storage.root) as instance:
                yield instance
        finally:
            if before is None:
                del os.environ["DAGSTER_HOME"]
