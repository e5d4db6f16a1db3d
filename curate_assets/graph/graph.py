"""What a graph is: its assets, and all that follows from their declarations. Knows no asset by name, and no Dagster."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from curate_assets.graph.platform import Agreement, CheckLimits, PlatformConfig, config_model
from curate_assets.graph.renaming import Seen
from curate_assets.graph.score import Score
from curate_assets.graph.score_checks import score_checks
from curate_assets.graph.shard_checks import Check
from curate_assets.graph.stage_resources import with_resources
from curate_assets.graph.standard_checks import item_checks, row_checks
from curate_assets.graph.whole_table import Gathered
from curate_resources.declarations.stage import Stage
from curate_resources.declarations.table import Table
from curate_resources.declarations.units import UnitTable
from curate_resources.pipeline.plan import Plan
from curate_resources.pipeline.run_context import RunContext
from curate_resources.sources.manifests import MANIFEST
from curate_resources.storage.root import StoredFile
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.backends import Backends
from gpu_kernels.strict import StrictModel

Preview = Callable[[Tables, str], str | None]
"""Markdown with a picture of a shard's rows; None: there is nothing to show."""


@dataclass(frozen=True)
class Record:
    """Columns of a clip's row that its record in a training set has, under a name."""

    name: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Asset:
    """One asset, declared in the module of its name.

    Attributes:
        made_by: the stage that fills the table, which may fill others in the same pass; or how it is made at once.
        group: what the lineage page shows it with.
        checks: what must hold of its rows, besides what must of all.
        preview: what the page of a materialization shows of its rows.
        scores: what clips can be selected by of its rows.
        recorded: what of its rows goes into the records of samples.
        section: its settings, or those of its backends; the section of the configuration has the name of the asset.
        agrees: sees that they go together with those of other assets.
        limits: what its checks accept: keys of the section `checks`.
        same_for_all: why its settings are the same for all shards, and in no preset; empty: they need not be.
        exported: whether its rows describe samples, and go with a training set that is exported.
        published: whether people rely on it: its age is watched.
        several: whether a root may have variants of it, each with a table and a section of its own. Neither its stage
            nor a check names a table in any other way than by the `Table` of the module. If the stage fills other
            tables, too, it fills those of the variants in the same pass: its worker is asked for them by their own
            names, and finds their settings in sections of these names.
        unneeded: which files of its own, besides those of its table, nothing needs any more.
        on_demand: it gets rows only where something that has work to do reads it; its stage fills other tables, too.
        seen: what its functions see under other names than they were written with; commands that show its rows do so by
            `tables.under(asset.seen)`.
    """

    table: Table
    made_by: Stage | Gathered
    group: str
    checks: tuple[Check, ...] = ()
    preview: Preview | None = None
    scores: tuple[Score, ...] = ()
    recorded: Record | None = None
    section: type[StrictModel] | Backends[Any] | None = None
    agrees: Agreement | None = None
    limits: type[CheckLimits] | None = None
    same_for_all: str = ""
    exported: bool = False
    published: bool = False
    several: bool = False
    unneeded: Callable[[Tables, PlatformConfig], Iterable[StoredFile]] | None = None
    on_demand: bool = False
    seen: Seen = field(default_factory=dict[str, str], hash=False)

    @property
    def name(self) -> str:
        """Its name everywhere."""
        return self.table.name

    @property
    def reads(self) -> tuple[str, ...]:
        """The assets that it is made from."""
        if isinstance(self.made_by, Stage):
            return tuple(name for name in self.made_by.inputs if name != MANIFEST.name)
        return tuple(table.name for table in self.made_by.reads)

    @property
    def heavy(self) -> bool:
        """Whether pixels are looked at or models run to make it."""
        return isinstance(self.made_by, Stage) and self.made_by.heavy

    @property
    def partitioned(self) -> bool:
        """Whether it is made shard by shard."""
        return isinstance(self.made_by, Stage) or self.made_by.per_shard


@dataclass(frozen=True)
class CommandSection:
    """A section of the configuration that no asset has: what a command goes by, in all shards.

    Attributes:
        agrees: as of an asset.
    """

    section: type[StrictModel] | Backends[Any]
    agrees: Agreement | None = None


@dataclass(frozen=True)
class Phase:
    """The assets of stages that stream through one plan: one step of a run.

    Attributes:
        pool: Dagster's pool, whose limit bounds how many of its runs there are at a time.
    """

    name: str
    description: str
    pool: str | None = None
    assets: tuple[Asset, ...] = ()

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Its stages, in the order of flow."""
        return tuple(dict.fromkeys(each.made_by for each in self.assets if isinstance(each.made_by, Stage)))


@dataclass(frozen=True)
class Job:
    """Assets of all shards that a schedule makes again."""

    name: str
    description: str
    assets: tuple[str, ...]


@dataclass(frozen=True)
class View:
    """A view that SQL can read beside the tables, once the tables that it needs are there."""

    needs: frozenset[str]
    sql: str


@dataclass(frozen=True)
class FunnelStep:
    """One step of the way from files to samples.

    Attributes:
        name: what is counted.
        count: how many there are; None when the table was never written.
        lost: what did not arrive here, by reason, counted in what the step before counts; for `clips`, in pieces of
            shots. A clip that was rejected for several reasons is counted under each of them.
    """

    name: str
    count: int | None
    lost: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """Assets that belong together, in the order in which data flows.

    Attributes:
        units: the table of what is curated, and what one of them is.
        listed: the assets, in any order.
        named_phases: for each phase of streaming, its name, description and pool. A phase ends where an asset of all
            shards has to be there before stages go on.
        funnel: counts the way from files to what comes out, of all shards or of one.
        previews: by asset, previews that show more than its own rows.
        remark: what people should know of it when they add files.
        commands: by name, sections that are no asset's.
    """

    name: str
    units: UnitTable
    listed: tuple[Asset, ...]
    named_phases: tuple[Phase, ...] = ()
    funnel: Callable[[Tables, str | None], list[FunnelStep]] | None = None
    previews: Mapping[str, Preview] = field(default_factory=dict[str, Preview])
    remark: str = ""
    jobs: tuple[Job, ...] = ()
    views: Mapping[str, View] = field(default_factory=dict)
    commands: Mapping[str, CommandSection] = field(default_factory=dict)

    def extended(self, assets: Iterable[Asset]) -> "Graph":
        """The graph, with further assets on it."""
        return replace(self, listed=(*self.listed, *assets))

    @cached_property
    def assets(self) -> tuple[Asset, ...]:
        """All assets; each comes after those that it is made from.

        Of those with as many steps before them, light ones come first: they run where their inputs were made.

        Raises:
            ValueError: two have one name, or one is made from what is not there, or from itself.
        """
        names = [asset.name for asset in self.listed]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"graph {self.name} has two assets {twice[0]}")
        steps: dict[str, int] = {}
        waiting = list(self.listed)
        while waiting:
            ready = next((asset for asset in waiting if steps.keys() >= set(asset.reads)), None)
            if ready is None:
                missing = sorted(set(waiting[0].reads) - steps.keys())
                raise ValueError(f"graph {self.name}: {waiting[0].name} is made from {missing[0]}, which is not there")
            steps[ready.name] = max((steps[name] + 1 for name in ready.reads), default=0)
            waiting.remove(ready)
        return tuple(sorted(self.listed, key=lambda asset: (steps[asset.name], asset.heavy)))

    @cached_property
    def steps(self) -> tuple[Phase | Asset, ...]:
        """What a run does one after the other: phases of stages, and after each the assets that are made at once."""
        phase_of: dict[str, int] = {}
        for asset in self.assets:
            streamed = isinstance(asset.made_by, Stage)
            phase_of[asset.name] = max(
                (phase_of[name] + (streamed and self.gathered(name) is not None) for name in asset.reads), default=0
            )
        found: list[Phase | Asset] = []
        for number in range(max(phase_of.values(), default=-1) + 1):
            own = [asset for asset in self.assets if phase_of[asset.name] == number]
            streamed = tuple(asset for asset in own if isinstance(asset.made_by, Stage))
            if streamed:
                named = self.named_phases[number] if number < len(self.named_phases) else None
                named = named or Phase(f"{self.name}_{number + 1}", f"Stages of {self.name}, part {number + 1}.")
                found.append(Phase(named.name, named.description, named.pool, streamed))
            found += [asset for asset in own if not isinstance(asset.made_by, Stage)]
        return tuple(found)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The steps that stream."""
        return tuple(step for step in self.steps if isinstance(step, Phase))

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """All stages, in the order of flow."""
        return tuple(stage for phase in self.phases for stage in phase.stages)

    @cached_property
    def tables(self) -> Mapping[str, Table]:
        """The stored tables by name, in the order of flow."""
        stored = (each for each in self.assets if isinstance(each.made_by, Stage) or each.made_by.stored)
        return {asset.name: asset.table for asset in stored}

    def unneeded(self, tables: Tables, config: PlatformConfig) -> Iterator[StoredFile]:
        """Files of assets, besides those of their tables, that nothing needs any more."""
        for asset in self.assets:
            if asset.unneeded is not None:
                yield from asset.unneeded(tables, config)

    def asset(self, name: str) -> Asset:
        """The asset of a name."""
        return self._by_name[name]

    def preview(self, asset: Asset) -> Preview | None:
        """What the page of a materialization shows."""
        return self.previews.get(asset.name, asset.preview)

    def gathered(self, name: str) -> Gathered | None:
        """How an asset is made at once; None for those of stages."""
        made_by = self._by_name[name].made_by
        return made_by if isinstance(made_by, Gathered) else None

    @cached_property
    def _by_name(self) -> Mapping[str, Asset]:
        return {asset.name: asset for asset in self.listed}

    @cached_property
    def checks(self) -> tuple[Check, ...]:
        """All checks, in the order of the assets; of each, those that every table has come first."""
        found: list[Check] = []
        known = {MANIFEST.name: MANIFEST, **self.tables}
        for asset in self.assets:
            if asset.partitioned:
                found += row_checks(asset.table, self.units)
            if isinstance(asset.made_by, Stage) and not asset.on_demand:
                found += item_checks(asset.table, asset.made_by, known[asset.made_by.item])
            found += score_checks(asset.table, asset.scores)
            found += asset.checks
        return tuple(found)

    def config_model(self, name: str, module: str) -> type[PlatformConfig]:
        """The configuration of the graph; see `curate_assets.graph.platform.config_model`."""
        sections = {asset.name: asset.section for asset in self.assets if asset.section is not None}
        sections |= {name: each.section for name, each in self.commands.items()}
        limits = dict.fromkeys(asset.limits for asset in self.assets if asset.limits is not None)
        agreements = [each.agrees for each in (*self.assets, *self.commands.values()) if each.agrees is not None]
        return config_model(name, module, sections, [*limits], agreements)

    def plan(
        self,
        wanted: Collection[str],
        config: Any,
        root: str,
        force: bool = False,
        failed_only: bool = False,
        stages: Sequence[Stage] | None = None,
        context: RunContext | None = None,
    ) -> Plan:
        """The plan that fills the wanted tables.

        Args:
            stages: of these alone; None: of all stages.
            context: what its work belongs to.

        Raises:
            ConfigError: the configuration speaks of a stage that there is not, or gives one what it cannot run with.
        """
        wanted, stages = frozenset(wanted), self.stages if stages is None else stages
        needed = [stage.under(config) for stage in stages if any(table.name in wanted for table in stage.writes)]
        known = {stage.name for stage in (*self.stages, *stages)}
        own = {table.name: table for stage in stages for table in stage.writes}
        tables = {MANIFEST.name: MANIFEST, **self.tables, **own}
        needed, context = with_resources(needed, config, known), context or RunContext()
        idle = self.idle(config)
        return Plan(needed, wanted, tables, config, root, self.units, force, failed_only, context, idle)

    def idle(self, config: Any) -> frozenset[str]:
        """The tables of stages that get no rows with a configuration."""
        at_work = [stage for stage in self.stages if not stage.is_idle(config)]
        read = {name for stage in at_work for name in stage.inputs}
        read |= {name for asset in self.assets if not isinstance(asset.made_by, Stage) for name in asset.reads}
        unread = {asset.name for asset in self.assets if asset.on_demand} - read
        made = {table.name for stage in at_work for table in stage.writes} - unread
        return frozenset(table.name for stage in self.stages for table in stage.writes) - made
