"""Many shards on their way through a plan together, without anything being done: the work of `forecast`."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from curate_resources.declarations.stage import Stage
from curate_resources.engines.in_process import StageRunner
from curate_resources.forecast.expected import Expected, Forecast
from curate_resources.forecast.numbered_units import NumberedUnits
from curate_resources.forecast.stale_rows import ItemKeys, Loose
from curate_resources.forecast.tally import Tally
from curate_resources.pipeline.computation import Computation, Doubt, Treatment
from curate_resources.pipeline.fingerprints import Key
from curate_resources.pipeline.plan import MissingInput, Plan, readdressed
from curate_resources.pipeline.unit import Unit
from curate_resources.sources.manifests import MANIFEST, Manifest, rows_of
from curate_resources.tables.history import HistoryIndex, identity_digests
from curate_resources.tables.lance_tables import Tables

_COMPUTED_AT_ONCE = 16
"""Of these units, one that fails makes the items of all of them be tried one by one."""


class Batch:
    """Shards that pass a plan together, as one unit.

    Attributes:
        apart: shards that have a unit in common with one before them, and so cannot pass together with it.
        blocked: shards that lack what the plan reads.
        computing: shards of which light stages have to compute something, and that pass without the columns for it.
        lengths: by shard, how long the curves of its units are together, as far as that is known.
    """

    def __init__(
        self, plan: Plan, manifests: Sequence[Manifest], changing: frozenset[str], history: HistoryIndex, whole: bool
    ) -> None:
        self._plan, self._changing, self._whole = plan, changing, whole
        self._treatments = [Treatment(stage, plan) for stage in plan.stages]
        self._runner = StageRunner(plan, light_only=True)
        self._names = [name for treatment in self._treatments for name in treatment.writes]
        self.blocked: dict[str, MissingInput] = {}
        self.computing: set[str] = set()
        shards = [manifest.shard for manifest in manifests]
        curated = plan.curated
        columns = ["shard", curated.place, curated.id, "status", *filter(None, [curated.length])]
        stored = self._stored(curated.table.name, shards, columns)
        self.lengths = Counter[str]()
        if curated.length is not None:
            for shard, length in zip(stored["shard"].to_pylist(), stored[curated.length].to_pylist(), strict=True):
                self.lengths[shard] += length or 0
        self._units = NumberedUnits(manifests, curated, stored)
        self.apart = self._units.apart
        self._left: dict[str, Counter[str]] = {}
        """By table and shard, how many stored rows belong to no unit that is in a shard."""
        self._unit, self._shards = self._read(manifests, stored)
        passing = set(self._shards)
        self._passing = [uid for uid in self._units.all if self._units.shard_of[uid] in passing]
        self._tally = Tally(plan, history, self._shards, self._names)
        self._loose: dict[int, dict[str, Loose]] = {}
        """By unit and table, rows that will be recomputed."""
        self._altered: dict[str, set[str]] = {name: set() for name in self._names}
        """By table, shards whose rows would not be the stored ones."""
        self._digests: dict[str, Mapping[str, str]] = {}
        """By table and shard, of the rows as they would be."""

    def forecasts(self) -> list[Forecast]:
        """What is expected of every shard that is in none of the attributes."""
        for number in range(len(self._treatments)):
            self._pass(number)
        self._shards = [shard for shard in self._shards if shard not in self.computing]
        self._drop_left()
        self._compare()
        for treatment in self._treatments:
            for name in treatment.writes:
                stored = set(self._unit.kept[name]["shard"].to_pylist())
                for shard in self._shards:
                    self._tally.explain(shard, name, treatment.stage, shard not in stored, self._digest)
        return [self._tally.of(shard) for shard in self._shards]

    # ---------------------------------------------------------------- reading

    def _read(self, manifests: Sequence[Manifest], sources: pa.Table) -> tuple[Unit, list[str]]:
        """All units as one unit, and the shards that they are of."""
        shards = [manifest.shard for manifest in manifests]
        names = sorted({*self._plan.reads, *self._plan.keeps})
        stored = {name: self._stored(name, shards, self._columns(name)) for name in names}
        there = {name: set(stored[name]["shard"].to_pylist()) for name in self._plan.reads - self._changing}
        statuses: dict[str, set[str]] = {shard: set() for shard in shards}
        for shard, status in zip(sources["shard"].to_pylist(), sources["status"].to_pylist(), strict=True):
            statuses[shard].add(status)
        for shard in (manifest.shard for manifest in manifests if manifest.entries):
            try:
                self._plan.require(shard, {name for name in there if shard not in there[name]}, statuses[shard])
            except MissingInput as error:
                self.blocked[shard] = error
        out = {*self.apart, *self.blocked}
        rows = {name: self._units.owned(readdressed(some, self._units.uris), out) for name, some in stored.items()}
        self._left = {
            name: Counter(stored[name]["shard"].to_pylist()) - Counter(rows[name]["shard"].to_pylist())
            for name in self._names
            if name in self._plan.keeps
        }
        rows[MANIFEST.name] = rows_of(manifest for manifest in manifests if manifest.shard not in out)
        kept = {name: rows[name] if name in rows else self._plan.tables[name].empty() for name in self._names}
        known = {name: rows[name] for name in (MANIFEST.name, *self._plan.reads)}
        for stage in self._plan.stages:
            if stage.eligible is not None and (known.keys() - self._changing).issuperset((stage.item, *stage.gates)):
                # For its errors, which would end the run before it begins.
                stage.eligible(self._plan.config, known[stage.item], known)
        return Unit("", "", known, kept), [shard for shard in shards if shard not in out]

    def _stored(self, name: str, shards: Sequence[str], columns: Sequence[str]) -> pa.Table:
        return Tables(self._plan.storage).read(self._plan.tables[name], shards, columns)

    def _columns(self, name: str) -> list[str]:
        """Those that are read of a table."""
        table = self._plan.tables[name]
        if self._whole:
            return table.rows_schema.names
        needed = {*table.keys, *table.links, *table.identity}
        return [each.name for each in table.rows_schema if each.name in needed or not _for_computing_only(each.type)]

    def _part(self, treatment: Treatment, uids: Collection[int]) -> Unit:
        """Some of the units, as far as a stage needs them."""
        rows = {name: self._units.only(self._originals(name), uids) for name in treatment.stage.inputs}
        return Unit("", "", rows, {name: self._units.only(self._unit.kept[name], uids) for name in treatment.writes})

    def _originals(self, name: str) -> pa.Table:
        """Rows of a table without those of exact copies: these have the keys of other units."""
        rows = self._unit.rows[name]
        return rows.filter(pc.field("status") != "empty") if self._plan.tables[name].distinct else rows

    # ---------------------------------------------------------------- one stage

    def _pass(self, number: int) -> None:
        treatment = self._treatments[number]
        causes = self._causes(treatment.stage)
        gated = {uid for uid, names in causes.items() if any(name in names for name in treatment.stage.gates)}
        rest = set(self._units.all) - gated
        rows = {name: self._originals(name) for name in treatment.stage.inputs}
        everything = Unit("", "", rows, self._unit.kept)
        made: list[Mapping[str, pa.Table]] = []
        if rest or not gated:
            unit = self._part(treatment, rest) if gated else everything
            made.append(self._pass_some(number, treatment, unit, rest, causes))
        if gated:
            ungated = Treatment(replace(treatment.stage, eligible=None), self._plan)
            unit = self._part(treatment, gated) if rest else everything
            made.append(self._pass_some(number, ungated, unit, gated, causes))
        for name in treatment.writes:
            self._unit.rows[name] = pa.concat_tables([rows[name] for rows in made])

    def _causes(self, stage: Stage) -> dict[int, list[str]]:
        """By unit, the tables that the stage reads and that will or may be others; an idle one does not mind."""
        if stage.is_idle(self._plan.config):
            return {}
        uids = self._passing if self._changing.intersection(stage.inputs) else list(self._loose)
        found: dict[int, list[str]] = {}
        for uid in uids:
            loose = self._loose.get(uid, {})
            if names := [name for name in stage.inputs if name in loose or name in self._changing]:
                found[uid] = names
        return found

    def _pass_some(
        self, number: int, treatment: Treatment, unit: Unit, uids: Collection[int], causes: Mapping[int, list[str]]
    ) -> Mapping[str, pa.Table]:
        """The rows of some units after a stage, by table."""
        computation = treatment.of(unit)
        owners: list[int] = self._units.of(computation.items)
        shards = [self._units.shard_of[owner] for owner in owners]
        doubts = {name: self._tally.doubts(computation, name, shards) for name in treatment.writes}
        rows = self._settled(number, treatment, computation, unit, owners, doubts, causes)
        unsettled = {uid: names for uid, names in causes.items() if uid in uids}
        if unsettled:
            self._unsettled(treatment, computation.items, owners, doubts, unsettled)
        return rows

    def _settled(
        self,
        number: int,
        treatment: Treatment,
        computation: Computation,
        unit: Unit,
        owners: Sequence[int],
        doubts: Mapping[str, Mapping[int, Doubt]],
        causes: Collection[int],
    ) -> Mapping[str, pa.Table]:
        """Of units of which everything that the stage reads is known: count, and have a light stage compute."""
        counts = Counter(self._units.shard_of[owner] for owner in owners if owner not in causes)
        pending = {owners[index] for index in computation.pending} - set(causes)
        unmade = pending if treatment.stage.heavy else set[int]()
        keys = ItemKeys(computation.items)
        rows: dict[str, pa.Table] = {}
        for name in treatment.writes:
            found = _by_unit({i: doubt for i, doubt in doubts[name].items() if owners[i] not in causes}, owners)
            for shard, count in counts.items() if name in treatment.made else ():
                self._tally.entry(shard, name).reuse += count
            for uid, own in found.items():
                self._tally.count(self._units.shard_of[uid], name, own)
                self._entry(uid, name).reuse -= len(own)
                if uid in unmade:
                    again = all(doubt == "failed" for doubt in own.values()) and not self._plan.force
                    self._loosen(uid, name, treatment, keys.of(treatment.links[name], own), again)
            rows[name] = self._claimed(name, computation, unit.kept[name], causes, unmade)
        if pending and not treatment.stage.heavy:
            if self._whole:
                self._compute(number, treatment, sorted(pending), rows)
            else:
                self.computing.update(self._units.shard_of[uid] for uid in pending)
        return rows

    def _claimed(
        self, name: str, computation: Computation, kept: pa.Table, causes: Collection[int], unmade: Collection[int]
    ) -> pa.Table:
        """Stored rows without those whose item no longer exists."""
        gone: set[int] = set()
        if unclaimed := computation.unclaimed(name):
            owners = self._units.of(kept)
            for place in unclaimed:
                if owners[place] in causes:
                    continue
                shard = self._units.shard_of[owners[place]]
                self._tally.entry(shard, name).dropped += 1
                self._tally.entry(shard, name).stale = True
                if owners[place] not in unmade:
                    gone.add(place)
                    self._altered[name].add(shard)
        return kept.filter(pa.array([place not in gone for place in range(kept.num_rows)])) if gone else kept

    def _drop_left(self) -> None:
        """Count the rows of units that are in no shard any more."""
        for name, left in self._left.items():
            for shard in left.keys() & set(self._shards):
                expected = self._tally.entry(shard, name)
                expected.dropped += left[shard]
                expected.stale = True
                self._tally.change(shard, name)

    def _compute(self, number: int, treatment: Treatment, uids: Sequence[int], rows: dict[str, pa.Table]) -> None:
        """Put what a light stage makes of some units into `rows`."""
        worker = self._runner.worker(number)
        made: dict[str, list[pa.Table]] = {name: [] for name in treatment.writes}
        some = [uids[first : first + _COMPUTED_AT_ONCE] for first in range(0, len(uids), _COMPUTED_AT_ONCE)]
        inputs = {name: self._units.parted(self._originals(name), some) for name in treatment.stage.inputs}
        kept = {name: self._units.parted(self._unit.kept[name], some) for name in treatment.writes}
        for part in range(len(some)):
            own, before = ({name: parts[part] for name, parts in tables.items()} for tables in (inputs, kept))
            unit = Unit("", "", own, before)
            computation = treatment.of(unit)
            computation.finish([(each, computation.compute(worker, each)) for each in computation.batches()], worker)
            for name, parts in made.items():
                parts.append(unit.rows[name])
        others = set(self._units.all) - set(uids)
        for name, parts in made.items():
            rows[name] = pa.concat_tables([self._units.only(rows[name], others), *parts])
            self._altered[name].update(self._units.shard_of[uid] for uid in uids)

    def _unsettled(
        self,
        treatment: Treatment,
        items: pa.Table,
        owners: Sequence[int],
        doubts: Mapping[str, Mapping[int, Doubt]],
        causes: Mapping[int, Sequence[str]],
    ) -> None:
        """Of units of which something that the stage reads will or may be other: what is certain, and what is not."""
        own: dict[int, list[int]] = {uid: [] for uid in causes}
        for index, owner in enumerate(owners):
            if owner in own:
                own[owner].append(index)
        by_unit = {name: _by_unit(found, owners) for name, found in doubts.items()}
        keys = ItemKeys(items)
        for uid, names in causes.items():
            loose = dict(self._loose.get(uid, {}))
            again = all(name in loose and loose[name].again for name in names)
            for name in treatment.made:
                self._entry(uid, name).depends_on.update(names)
                if not again:
                    self._tally.change(self._units.shard_of[uid], name)
            if treatment.stage.item in names and not own[uid]:
                self._unknown(treatment, uid, again)
                continue
            gates = treatment.stage.gates
            touched_by = {name: set(keys.touched(own[uid], loose.get(name))) for name in names}
            touched = set[int]().union(*touched_by.values())
            remade = set[int]().union(*(found for name, found in touched_by.items() if name not in gates))
            leaving = set[int]().union(
                *(found for name, found in touched_by.items() if name == treatment.stage.item or name in gates)
            )
            for name in treatment.made:
                found = by_unit[name].get(uid, {})
                certain: dict[int, Doubt] = {
                    i: doubt
                    for i, doubt in found.items()
                    if i not in touched or (doubt == "missing" and i not in leaving)
                }
                self._tally.count(self._units.shard_of[uid], name, certain)
                maybe = len((remade | found.keys()) - certain.keys())
                expected = self._entry(uid, name)
                expected.maybe += maybe
                expected.stale = expected.stale or not again
                expected.reuse += len(own[uid]) - len(certain) - maybe
                links = treatment.links[name]
                self._loosen(uid, name, treatment, keys.of(links, {*certain, *touched}), again and not certain)

    def _unknown(self, treatment: Treatment, uid: int, again: bool) -> None:
        """There are no items yet; where each unit is one, it is known how many there can be."""
        single = treatment.item.grain == MANIFEST.grain
        for name in treatment.made:
            expected = self._entry(uid, name)
            expected.maybe += single
            expected.uncounted += not single
            expected.absent = expected.absent or not again
            self._loose.setdefault(uid, {})[name] = Loose((), None, again)

    def _loosen(self, uid: int, name: str, treatment: Treatment, keys: frozenset[Key], again: bool) -> None:
        self._loose.setdefault(uid, {})[name] = Loose(tuple(treatment.links[name]), keys, again)
        if not again:
            self._tally.change(self._units.shard_of[uid], name)

    def _entry(self, uid: int, name: str) -> Expected:
        return self._tally.entry(self._units.shard_of[uid], name)

    # ---------------------------------------------------------------- comparing

    def _compare(self) -> None:
        """See which tables have other rows, as far as these matter to what is made from them."""
        for name, shards in self._altered.items():
            if not (shards := shards.intersection(self._shards)):
                continue
            stored, made = (self._digested(name, rows[name]) for rows in (self._unit.kept, self._unit.rows))
            for shard in shards:
                if stored[shard] != made[shard]:
                    self._tally.change(shard, name)

    def _digest(self, name: str, shard: str) -> str:
        """Of a table's rows as they would be."""
        if name not in self._digests:
            self._digests[name] = self._digested(name, self._unit.rows[name])
        return self._digests[name][shard]

    def _digested(self, name: str, rows: pa.Table) -> Mapping[str, str]:
        """By shard, a digest of what of its rows matters to others."""
        of = [self._units.shard_of[number] for number in self._units.of(rows)]
        return identity_digests(self._plan.tables[name], rows, sorted(set(self._units.shard_of)), of)


def _by_unit(found: Mapping[int, Doubt], owners: Sequence[int]) -> dict[int, dict[int, Doubt]]:
    grouped: dict[int, dict[int, Doubt]] = {}
    for index, doubt in found.items():
        grouped.setdefault(owners[index], {})[index] = doubt
    return grouped


def _for_computing_only(kind: pa.DataType) -> bool:
    """Whether a column is of a kind that decides nothing: vectors, curves, pictures, errors."""
    return pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
