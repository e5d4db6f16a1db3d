"""What materializing assets would do, and how long it would take: what `curate plan` shows, from the tables alone.

The assets are gone through in the order in which they would run. Nothing is written, and no model or cluster starts.
"""

import gc
import os
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from curate_assets.graph.graph import Graph, Phase
from curate_assets.graph.platform import ConfigError, PlatformConfig
from curate_assets.graph.whole_table import Gathered
from curate_assets.graphs import GRAPH
from curate_assets.settings.presets import ShardSettings
from curate_resources.declarations.stage import Stage
from curate_resources.engines.auto_engine import FEW
from curate_resources.engines.warm_cluster import warm_cluster
from curate_resources.forecast.expected import FORCED, Expected, differences
from curate_resources.forecast.forecast import forecast
from curate_resources.pipeline.plan import Plan
from curate_resources.sources.manifests import MANIFEST, ManifestError, Manifests
from curate_resources.tables.history import ALL_SHARDS, NO_ROWS, History, Record
from curate_resources.tables.lance_tables import Tables

_SHARDS_AT_ONCE = 4096
"""How many shards' rows are held at the same time, of assets that are made at once."""

_RAY_START_SECONDS = 10.0
"""A rough allowance for the start of a run's own Ray cluster: 10 to 20 s on two cores."""

_PAST = 50
"""How many of the last records of a table are looked at for how long it takes."""


@dataclass(frozen=True)
class AssetOutlook:
    """What would be done to one asset. Counts are of items: files, clips, windows; of a `whole` asset, its rows.

    Attributes:
        whole: it is made at once from tables as they stand, and anew whenever it is asked for.
        absent: the shards whose rows are not all there.
        stale: those with rows that do not hold any more, or may not when what they depend on is made.
        retried: those with failed rows, which a run tries again, and what could not be made because of them.
        compute, missing, failed, reuse, maybe, uncounted, dropped, reasons, depends_on: see `Expected`.
        blocked: by shard, why it cannot be made.
        seconds: of `compute`, by past throughput; None: there is no past.
        most_seconds: of `compute` and `maybe`.
    """

    name: str
    whole: bool
    absent: tuple[str, ...]
    stale: tuple[str, ...]
    retried: tuple[str, ...]
    compute: int
    missing: int
    failed: int
    reuse: int
    maybe: int
    uncounted: int
    dropped: int
    reasons: Mapping[str, int]
    depends_on: tuple[str, ...]
    blocked: Mapping[str, str]
    seconds: float | None
    most_seconds: float | None

    @property
    def shards(self) -> tuple[str, ...]:
        """Those that need to be made again; failed rows alone are no need."""
        return tuple(sorted({*self.absent, *self.stale}))

    @property
    def idle(self) -> bool:
        """Whether nothing would be done."""
        return not (self.shards or self.compute or self.maybe or self.uncounted or self.blocked)


@dataclass(frozen=True)
class SourcesRead:
    """Sources that a stage reads although it has read them before, or for some of the tables that one pass gives.

    Attributes:
        items: of the stage, whose sources are read: rows of the table `of`, or files, which `of` then calls by name.
        tables: that are made.
        kept: the other tables of the stage.
    """

    stage: str
    items: int
    of: str
    tables: tuple[str, ...]
    kept: tuple[str, ...]


@dataclass(frozen=True)
class Outlook:
    """What would be done.

    Attributes:
        sources_read: more than once, or not for all that could be made of them; in the order of flow.
        seconds, most_seconds: of the assets whose times are known, and of Ray's start; `unknown` names the others.
        ray_start_seconds: what of `most_seconds` is the start of a Ray cluster.
    """

    root: str
    shards: tuple[str, ...]
    assets: tuple[AssetOutlook, ...]
    compute: int
    reuse: int
    maybe: int
    seconds: float
    most_seconds: float
    ray_start_seconds: float
    unknown: tuple[str, ...]
    sources_read: tuple[SourcesRead, ...] = ()

    def targets(self, missing: bool, stale: bool, failed: bool) -> dict[str, tuple[str, ...]]:
        """By asset, the shards that are in need of some kind; assets without any are left out."""
        found: dict[str, tuple[str, ...]] = {}
        for asset in self.assets:
            kinds = ((missing, asset.absent), (stale, asset.stale), (failed, asset.retried))
            if shards := tuple(sorted({shard for asked, shards in kinds if asked for shard in shards})):
                found[asset.name] = shards
        return found


def outlook(
    settings: ShardSettings,
    wanted: Collection[str],
    shards: Sequence[str],
    force: bool = False,
    graph: Graph = GRAPH,
) -> Outlook:
    """Look ahead at a run of assets on shards."""
    with _few_collections():
        look = _Look(graph, settings, frozenset(wanted), tuple(shards), force)
        assets: list[AssetOutlook] = []
        for step in graph.steps:
            if isinstance(step, Phase):
                assets += look.stages(step.stages)
            elif (gathered := graph.gathered(step.name)) is not None:
                assets += look.gathered(gathered)
    least_start, most_start = (
        _RAY_START_SECONDS if _starts_ray(graph, settings.whole, assets, maybe) else 0.0 for maybe in (False, True)
    )
    return Outlook(
        root=settings.storage.root,
        shards=look.shards,
        assets=tuple(assets),
        compute=sum(asset.compute for asset in assets),
        reuse=sum(asset.reuse for asset in assets),
        maybe=sum(asset.maybe for asset in assets),
        seconds=least_start + sum(asset.seconds or 0.0 for asset in assets),
        most_seconds=most_start + sum(asset.most_seconds or 0.0 for asset in assets),
        ray_start_seconds=most_start,
        unknown=tuple(asset.name for asset in assets if asset.seconds is None),
        sources_read=tuple(_sources_read(graph, settings.whole, {asset.name: asset for asset in assets})),
    )


def _sources_read(graph: Graph, config: PlatformConfig, assets: Mapping[str, AssetOutlook]) -> Iterator[SourcesRead]:
    idle = graph.idle(config)
    for stage in graph.stages:
        names = [table.name for table in stage.writes if table.name not in idle]
        made = tuple(name for name in names if name in assets and assets[name].compute)
        if not stage.reads_sources or not made:
            continue
        kept = tuple(name for name in names if name not in made)
        busiest = max((assets[name] for name in made), key=lambda asset: asset.compute)
        if kept or busiest.compute > busiest.missing:
            of = graph.units.files.nouns if stage.item == MANIFEST.name else stage.item
            yield SourcesRead(stage.name, busiest.compute, of, made, kept)


def _starts_ray(graph: Graph, config: PlatformConfig, assets: Sequence[AssetOutlook], maybe: bool) -> bool:
    """Whether a run would start a Ray cluster of its own: `engine.kind: auto` does for more than a few items that need
    pixels or models."""
    if config.engine.kind == "in_process" or config.cluster.mode != "local" or warm_cluster() is not None:
        return False
    heavy = {table.name for stage in graph.stages if stage.heavy for table in stage.writes}
    most = max((each.compute + (each.maybe if maybe else 0) for each in assets if each.name in heavy), default=0)
    return most > (FEW if config.engine.kind == "auto" else 0)


@contextmanager
def _few_collections() -> Generator[None, None, None]:
    """What is found of many shards are millions of objects without a cycle; to look for cycles among them all the time
    is a third of the whole."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


class _Look:
    def __init__(
        self, graph: Graph, settings: ShardSettings, wanted: frozenset[str], shards: tuple[str, ...], force: bool
    ) -> None:
        self.shards, self._graph = shards, graph
        self._settings, self._config, self._storage = settings, settings.whole, settings.storage
        self._wanted, self._force = wanted, force
        self._history = History(self._storage).index()
        self._changing: dict[str, set[str]] = {shard: set() for shard in shards}
        self._without_settings: dict[str, Exception] = {}
        self._alike = self._by_settings()

    def _by_settings(self) -> list[tuple[PlatformConfig, list[str]]]:
        """The shards of each preset; those that have no settings are noted."""
        groups: dict[str | None, list[str]] = {}
        manifests = Manifests(self._storage).load_all(self.shards)
        for shard, manifest in zip(self.shards, manifests, strict=True):
            if isinstance(manifest, ManifestError):
                self._without_settings[shard] = manifest
            else:
                groups.setdefault(manifest.preset, []).append(shard)
        found: list[tuple[PlatformConfig, list[str]]] = []
        for preset, shards in groups.items():
            try:
                found.append((self._settings.preset(preset), shards))
            except ConfigError as error:
                self._without_settings |= dict.fromkeys(shards, error)
        return found

    def stages(self, stages: Sequence[Stage]) -> list[AssetOutlook]:
        """The assets of one streaming plan."""
        own = frozenset(table.name for stage in stages for table in stage.writes) & self._wanted
        plan = self._plan(own, self._config, stages)
        found = {name: _Total(name, whole=False) for name in own}
        for config, shards in self._alike:
            for looked in forecast(self._plan(own, config, stages), shards, self._changing, self._history):
                self._changing[looked.shard] |= looked.changes
                for name, expected in looked.expected.items():
                    found[name].add(expected)
        for shard, error in self._without_settings.items():
            for name in own:
                found[name].add(Expected(name, shard, blocked=str(error)))
        assets: list[AssetOutlook] = []
        for stage in plan.stages:
            names = [table.name for table in stage.writes if table.name in own]
            per_item = self._seconds_per_item(names[0])
            # The tables of one stage are made in one pass: its time is that of the one with most to do.
            busiest = max(names, key=lambda name: found[name].compute + found[name].maybe)
            rate = per_item / _workers(self._config, stage) if per_item is not None else None
            assets += [found[name].outlook(rate if name == busiest else 0.0) for name in names]
        return assets

    def _plan(self, own: frozenset[str], config: PlatformConfig, stages: Sequence[Stage]) -> Plan:
        return self._graph.plan(own, config, self._storage.root, self._force, stages=stages)

    def gathered(self, asset: Gathered) -> list[AssetOutlook]:
        """An asset that is made at once, if it is wanted."""
        name = asset.table.name
        if name not in self._wanted:
            return []
        total, needed = _Total(name, whole=True), 0
        for expected in self._expected_gathered(asset):
            total.add(expected)
            if expected.needed:
                needed += 1
                for shard in [expected.shard] if asset.per_shard else self.shards:
                    self._changing[shard].add(name)
        past = [record.seconds for record in self._history.last(name, _PAST)]
        seconds = needed * sum(past) / len(past) if past else 0.0 if not needed else None
        return [total.outlook(None, seconds)]

    def _expected_gathered(self, asset: Gathered) -> Iterator[Expected]:
        tables, name = Tables(self._storage), asset.table.name
        if not asset.per_shard:
            rows = tables.read(asset.table, columns=["shard"]).num_rows
            record = self._history.latest([name], [ALL_SHARDS]).get((name, ALL_SHARDS))
            changing = set[str]().union(*self._changing.values())
            yield self._of_gathered(asset, ALL_SHARDS, rows, record, lambda: asset.inputs(tables), changing)
            return
        for first in range(0, len(self.shards), _SHARDS_AT_ONCE):
            some = self.shards[first : first + _SHARDS_AT_ONCE]
            counts = Counter(tables.read(asset.table, some, ["shard"])["shard"].to_pylist())
            records, inputs = self._history.latest([name], some), asset.inputs_of(tables, some)
            for shard in some:
                record, own, changing = records.get((name, shard)), inputs[shard], self._changing[shard]
                yield self._of_gathered(asset, shard, counts[shard], record, lambda own=own: own, changing)

    def _of_gathered(
        self,
        asset: Gathered,
        shard: str,
        rows: int,
        record: Record | None,
        inputs: Callable[[], Mapping[str, str]],
        changing: Collection[str],
    ) -> Expected:
        expected = Expected(asset.table.name, shard)
        expected.depends_on |= {table.name for table in asset.reads}.intersection(changing)
        reasons: list[str] = [FORCED] if self._force else []
        if record is None:
            reasons += ["no record says how it was made" if rows else "not made yet"]
        else:
            reasons += differences(record.recipe, asset.table.recipe(self._config))
            was = record.inputs  # of a table that it did not read then, there were no rows
            reasons += [f"{name} changed" for name, digest in inputs().items() if was.get(name, NO_ROWS) != digest]
        if reasons:
            expected.compute = rows
            expected.reasons[", ".join(reasons)] = rows
        elif expected.depends_on:
            expected.maybe = rows
        else:
            expected.reuse = rows
        expected.absent = record is None and not rows
        expected.stale = not expected.absent and bool(reasons or expected.depends_on)
        return expected

    def _seconds_per_item(self, table: str) -> float | None:
        """Worker seconds per item of the stage that fills a table, by what it took last."""
        past = [record for record in self._history.last(table, _PAST) if record.computed]
        return sum(record.seconds for record in past) / sum(record.computed for record in past) if past else None


class _Total:
    """What is expected of an asset, summed over shards as they come, in any order."""

    def __init__(self, name: str, whole: bool) -> None:
        self._name, self._whole = name, whole
        self.compute = self.maybe = 0
        self._counts = Counter[str]()
        self._reasons = Counter[str]()
        self._depends_on: set[str] = set()
        self._absent: list[str] = []
        self._stale: list[str] = []
        self._again: list[str] = []
        self._blocked: dict[str, str] = {}

    def add(self, expected: Expected) -> None:
        """Count one shard."""
        self.compute += expected.compute
        self.maybe += expected.maybe
        for name in ("missing", "failed", "reuse", "uncounted", "dropped"):
            self._counts[name] += getattr(expected, name)
        self._reasons.update(expected.reasons)
        self._depends_on |= expected.depends_on
        if expected.absent:
            self._absent.append(expected.shard)
        if expected.stale:
            self._stale.append(expected.shard)
        if expected.again:
            self._again.append(expected.shard)
        if expected.blocked:
            self._blocked[expected.shard] = expected.blocked

    def outlook(self, rate: float | None, seconds: float | None = None) -> AssetOutlook:
        """All of it.

        Args:
            rate: seconds of an item; `seconds`: of an asset that is made at once.
        """
        whole = self._whole
        return AssetOutlook(
            name=self._name,
            whole=whole,
            absent=tuple(sorted(self._absent)),
            stale=tuple(sorted(self._stale)),
            retried=tuple(sorted(self._again)),
            compute=self.compute,
            missing=self._counts["missing"],
            failed=self._counts["failed"],
            reuse=self._counts["reuse"],
            maybe=self.maybe,
            uncounted=self._counts["uncounted"],
            dropped=self._counts["dropped"],
            reasons=dict(sorted(self._reasons.items(), key=lambda each: (-each[1], each[0]))),
            depends_on=tuple(sorted(self._depends_on)),
            blocked=dict(sorted(self._blocked.items())),
            seconds=seconds if whole else _product(self.compute, rate),
            most_seconds=seconds if whole else _product(self.compute + self.maybe, rate),
        )


def _product(count: int, rate: float | None) -> float | None:
    return 0.0 if count == 0 else count * rate if rate is not None else None


def _workers(config: PlatformConfig, stage: Stage) -> float:
    """How many workers of a stage there can be at the same time, as far as the configuration says."""
    if config.engine.kind == "in_process":
        return 1.0
    local = config.cluster.mode == "local"
    cpus = config.engine.cpus or os.cpu_count() or 1 if local else config.cluster.capacity_cpus or 1.0
    most = stage.needs.max_workers or cpus
    return max(1.0, min(cpus / max(stage.needs.cpus, 1e-9), most))
