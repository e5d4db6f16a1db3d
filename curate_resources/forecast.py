"""What a plan would do, found out without doing it: what would be computed, what is used again, and why.

Videos pass the plan's stages with the fingerprints of the run itself. Light stages really work, on rows in memory; a
heavy one does not, so of the rows that it would make only the items are known. What depends on such rows may or may not
be computed.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa

from curate_resources.computation import Computation, Doubt, Treatment
from curate_resources.fingerprints import Key, made_by
from curate_resources.history import Record, identity_digest
from curate_resources.in_process import StageRunner
from curate_resources.manifests import MANIFEST
from curate_resources.plan import Plan
from curate_resources.stage import Recipe, Stage, Table
from curate_resources.unit import Unit

Records = Mapping[tuple[str, str], Sequence[Record]]
"""Records by table and shard, the newest first."""

FORCED, FAILED_BEFORE = "forced", "failed before"


@dataclass
class Expected:
    """What is expected of one table's rows of one shard. Counts are of items of the stage that fills it.

    Attributes:
        compute: will be computed; `missing` (no rows so far) and `failed` (they failed) are among them.
        reuse: keep their rows.
        maybe: are or are not computed, depending on what comes of `depends_on`.
        uncounted: videos whose items are not known before `depends_on` are made.
        dropped: stored rows that belong to nothing any more.
        reasons: why, with how many of `compute`.
        depends_on: tables that will be made anew, and can make a difference.
        absent: whether rows are not there yet.
        stale: whether rows are there that do not hold any more, or may not when `depends_on` are made.
        blocked: why it cannot be made; empty if it can.
    """

    table: str
    shard: str
    compute: int = 0
    missing: int = 0
    failed: int = 0
    reuse: int = 0
    maybe: int = 0
    uncounted: int = 0
    dropped: int = 0
    reasons: Counter[str] = field(default_factory=Counter[str])
    depends_on: set[str] = field(default_factory=set[str])
    absent: bool = False
    stale: bool = False
    blocked: str = ""

    @property
    def needed(self) -> bool:
        """Whether the shard should be made again, not only to try failed rows again."""
        return self.absent or self.stale

    @property
    def again(self) -> bool:
        """Whether failed rows would be tried again, or what there is none of because of such rows."""
        return bool(self.failed or (self.depends_on and not self.needed))


@dataclass(frozen=True)
class Forecast:
    """What is expected of a shard, by table; `changes` are the tables whose rows will or may be others to what reads
    them."""

    expected: Mapping[str, Expected]
    changes: frozenset[str]


@dataclass(frozen=True)
class _Loose:
    """Rows of a unit that will be made anew: those of some items; `keys` None: any of them.

    `again`: only because they failed before.
    """

    columns: tuple[str, ...]
    keys: frozenset[Key] | None
    again: bool


def differences(earlier: Recipe, now: Recipe) -> list[str]:
    """What changed from one recipe to another, in words."""
    found: list[str] = []
    if earlier.version != now.version:
        found.append(f"code version {earlier.version} -> {now.version}")
    if earlier.model != now.model:
        names = ["@".join(each.model) if each.model else "none" for each in (earlier, now)]
        found.append(f"model {names[0]} -> {names[1]}")
    for section in sorted({*earlier.settings, *now.settings}):
        before, after = earlier.settings.get(section, {}), now.settings.get(section, {})
        for key in sorted({*before, *after}):
            if before.get(key) != after.get(key):
                found.append(f"{section}.{key} {before.get(key)!r} -> {after.get(key)!r}")
    return found


def forecast(plan: Plan, shard: str, changing: Collection[str], records: Records) -> Forecast:
    """What a plan would do to a shard.

    Args:
        changing: tables that the plan reads, and that will or may be others by the time it runs.
        records: the history of the plan's tables, for the reasons.
    """
    return _Shard(plan, shard, frozenset(changing), records).forecast()


class _Shard:
    """One shard on its way through a plan."""

    def __init__(self, plan: Plan, shard: str, changing: frozenset[str], records: Records) -> None:
        self._plan, self._shard, self._changing, self._records = plan, shard, changing, records
        self._treatments = [Treatment(stage, plan) for stage in plan.stages]
        self._runner = StageRunner(plan, light_only=True)
        self._expected = {name: Expected(name, shard) for each in self._treatments for name in each.writes}
        self._recipes = {name: [record.recipe for record in records.get((name, shard), ())] for name in self._expected}
        self._doubts: dict[str, Counter[Doubt]] = {name: Counter() for name in self._expected}
        self._loose: set[str] = set()

    def forecast(self) -> Forecast:
        try:
            units = self._plan.units(self._shard, self._changing)
        except Exception as error:  # also a stage's own refusal; it would end the run
            for expected in self._expected.values():
                expected.blocked = str(error)
            return Forecast(self._expected, frozenset())
        stored = {
            name: [unit.kept.get(name, self._plan.tables[name].empty()) for unit in units] for name in self._expected
        }
        for unit in units:
            loose: dict[str, _Loose] = {}
            for number in range(len(self._treatments)):
                self._pass(number, unit, loose)
        changes = set(self._loose)
        for name in self._expected:
            table = self._plan.tables[name]
            if identity_digest(table, stored[name]) != identity_digest(table, [unit.rows[name] for unit in units]):
                changes.add(name)
        for treatment in self._treatments:
            digests = _Digests(self._plan.tables, units)
            for name in treatment.writes:
                self._explain(name, treatment, digests, stored[name])
        return Forecast(self._expected, frozenset(changes))

    # ---------------------------------------------------------------- one stage of one video

    def _pass(self, number: int, unit: Unit, loose: dict[str, _Loose]) -> None:
        treatment = self._treatments[number]
        stage = treatment.stage
        causes = [name for name in stage.inputs if name in loose or name in self._changing]
        gated = any(name in causes for name in stage.gates)
        asked = Treatment(replace(stage, eligible=None), self._plan) if gated else treatment
        try:
            computation = asked.of(unit)
        except Exception as error:  # a stage's own refusal, too
            for name in treatment.writes:
                self._expected[name].blocked = str(error)
                unit.rows[name] = unit.kept.get(name, self._plan.tables[name].empty())
            return
        if not causes:
            self._settled(number, computation, unit, loose)
            return
        again = all(name in loose and loose[name].again for name in causes)
        for name in treatment.writes:
            self._expected[name].depends_on.update(causes)
            if not again:
                self._loose.add(name)
        if stage.item in causes and computation.items.num_rows == 0:
            self._unknown(treatment, unit, loose, again)
        else:
            self._unsettled(treatment, computation, unit, loose, causes, again)

    def _settled(self, number: int, computation: Computation, unit: Unit, loose: dict[str, _Loose]) -> None:
        """Everything that the stage reads is known."""
        treatment = self._treatments[number]
        doubts = {name: self._doubtful(computation, name) for name in treatment.writes}
        for name, found in doubts.items():
            expected = self._expected[name]
            self._count(name, found)
            expected.reuse += computation.items.num_rows - len(found)
            dropped = computation.unclaimed(name)
            expected.dropped += dropped
            expected.stale = expected.stale or dropped > 0
        if not computation.pending or not treatment.stage.heavy:
            worker = self._runner.worker(number)
            computation.finish([(part, computation.compute(worker, part)) for part in computation.batches()], worker)
            return
        for name, found in doubts.items():
            unit.rows[name] = unit.kept.get(name, self._plan.tables[name].empty())
            if found:
                keys = _keys_of(computation.items, treatment.links[name], found)
                again = all(doubt == "failed" for doubt in found.values()) and not self._plan.force
                loose[name] = _Loose(tuple(treatment.links[name]), keys, again)
                if not again:
                    self._loose.add(name)

    def _unsettled(
        self,
        treatment: Treatment,
        computation: Computation,
        unit: Unit,
        loose: dict[str, _Loose],
        causes: Sequence[str],
        again: bool,
    ) -> None:
        """Of some items, it is not known yet what they will be, or what they are made from."""
        items = computation.items
        gates = treatment.stage.gates
        touched = {i for name in causes for i in _touched(items, loose.get(name))}
        remade = {i for name in causes if name not in gates for i in _touched(items, loose.get(name))}
        may_go = [name for name in causes if name == treatment.stage.item or name in gates]
        leaving = {i for name in may_go for i in _touched(items, loose.get(name))}
        for name in treatment.writes:
            found = self._doubtful(computation, name)
            certain: dict[int, Doubt] = {
                i: doubt for i, doubt in found.items() if i not in touched or (doubt == "missing" and i not in leaving)
            }
            self._count(name, certain)
            maybe = len((remade | found.keys()) - certain.keys())
            expected = self._expected[name]
            expected.maybe += maybe
            expected.stale = expected.stale or not again
            expected.reuse += items.num_rows - len(certain) - maybe
            unit.rows[name] = unit.kept.get(name, self._plan.tables[name].empty())
            keys = _keys_of(items, treatment.links[name], {*certain, *touched})
            loose[name] = _Loose(tuple(treatment.links[name]), keys, again and not certain)
            if certain:
                self._loose.add(name)

    def _unknown(self, treatment: Treatment, unit: Unit, loose: dict[str, _Loose], again: bool) -> None:
        """There are no items yet; where each video is one, it is known how many there can be."""
        single = treatment.item.grain == "file"
        for name in treatment.writes:
            expected = self._expected[name]
            expected.maybe += single
            expected.uncounted += not single
            expected.absent = expected.absent or not again
            unit.rows[name] = unit.kept.get(name, self._plan.tables[name].empty())
            loose[name] = _Loose((), None, again)

    # ---------------------------------------------------------------- counting

    def _doubtful(self, computation: Computation, name: str) -> dict[int, Doubt]:
        return computation.doubts(name, [made_by(name, recipe) for recipe in self._recipes[name]])

    def _count(self, name: str, found: Mapping[int, Doubt]) -> None:
        expected = self._expected[name]
        expected.compute += len(found)
        if self._plan.force:
            expected.stale = expected.stale or bool(found)
        else:
            expected.missing += sum(doubt == "missing" for doubt in found.values())
            expected.failed += sum(doubt == "failed" for doubt in found.values())
            expected.absent = expected.absent or "missing" in found.values()
            expected.stale = expected.stale or any(doubt not in ("missing", "failed") for doubt in found.values())
        self._doubts[name].update(found.values())

    # ---------------------------------------------------------------- reasons

    def _explain(self, name: str, treatment: Treatment, digests: "_Digests", stored: Sequence[pa.Table]) -> None:
        expected, table = self._expected[name], self._plan.tables[name]
        new = not any(rows.num_rows for rows in stored)
        for doubt, count in self._doubts[name].items():
            expected.reasons[self._reason(doubt, table, treatment.stage, digests, new)] += count

    def _reason(self, doubt: Doubt, table: Table, stage: Stage, digests: "_Digests", new: bool) -> str:
        if self._plan.force:
            return FORCED
        if doubt == "failed":
            return FAILED_BEFORE
        if doubt == "missing":
            return ("new shard" if stage.item == MANIFEST.name else "not made yet") if new else f"new in {stage.item}"
        now = table.recipe(self._plan.config)
        if doubt != "inputs":
            return ", ".join(differences(self._recipes[table.name][doubt], now)) or "made with other settings"
        records = self._records.get((table.name, self._shard), ())
        if not records:
            return "changed; no record says how it was made"
        latest = records[0]
        others = [name for name in (stage.item, *stage.reads) if latest.inputs.get(name) != digests[name]]
        changed = ["changed file" if name == MANIFEST.name else f"{name} changed" for name in others]
        return ", ".join([*changed, *differences(latest.recipe, now)]) or "made from other rows"


class _Digests:
    """Digests of the rows of a shard as they would be, each made when it is first asked for."""

    def __init__(self, tables: Mapping[str, Table], units: Sequence[Unit]) -> None:
        self._tables, self._units = tables, units
        self._made: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        if name not in self._made:
            rows = [unit.rows[name] for unit in self._units]
            self._made[name] = identity_digest(self._tables[name], rows)
        return self._made[name]


def _keys_of(items: pa.Table, columns: Sequence[str], indices: Collection[int]) -> frozenset[Key]:
    chosen = items.take(pa.array(sorted(indices), pa.int64()))
    return frozenset(zip(*(chosen[name].to_pylist() for name in columns), strict=True)) if columns else frozenset({()})


def _touched(items: pa.Table, loose: _Loose | None) -> Iterator[int]:
    """The items that loose rows of one table belong to, or may belong to."""
    shared = [name for name in loose.columns if name in items.column_names] if loose is not None else []
    if loose is None or loose.keys is None or not shared:
        yield from range(items.num_rows)
        return
    places = [loose.columns.index(name) for name in shared]
    keys = {tuple(key[place] for place in places) for key in loose.keys}
    for index, key in enumerate(zip(*(items[name].to_pylist() for name in shared), strict=True)):
        if key in keys:
            yield index
