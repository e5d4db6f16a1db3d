"""Many shards on their way through a plan together, without anything being done: the work of `forecast`."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate_resources.computation import Computation, Doubt, Treatment
from curate_resources.expected import FAILED_BEFORE, FORCED, Expected, Forecast, differences
from curate_resources.fingerprints import Key, made_by
from curate_resources.history import HistoryIndex, Record, identity_digests
from curate_resources.in_process import StageRunner
from curate_resources.loose_rows import ItemKeys, Loose
from curate_resources.manifests import MANIFEST, Manifest, place_of, rows_of
from curate_resources.plan import MissingInput, Plan, readdressed
from curate_resources.stage import Row, Stage, Table
from curate_resources.tables import Tables
from curate_resources.unit import Unit

_COMPUTED_AT_ONCE = 16
"""Of these videos, one that fails makes the items of all of them be tried one by one."""

_RECORDS = 3
"""So many of the last records of a shard are looked at for what its rows were made with."""


class Batch:
    """Shards that pass a plan together, as one unit.

    Attributes:
        apart: shards that have a file or video in common with one before them. Rows are told apart by these, so such
            shards cannot pass together.
        blocked: shards that lack what the plan reads.
        computing: shards of which light stages have to compute something, and that pass without the columns for it.
    """

    def __init__(
        self, plan: Plan, manifests: Sequence[Manifest], changing: frozenset[str], history: HistoryIndex, whole: bool
    ) -> None:
        self._plan, self._changing, self._history, self._whole = plan, changing, history, whole
        self._treatments = [Treatment(stage, plan) for stage in plan.stages]
        self._runner = StageRunner(plan, light_only=True)
        self._names = [name for treatment in self._treatments for name in treatment.writes]
        self.apart: list[str] = []
        self.blocked: dict[str, MissingInput] = {}
        self.computing: set[str] = set()
        self._shard_of: list[str] = []
        """By number of a video."""
        self._number_of: dict[str, int] = {}
        """Numbers of videos, by URI, by place and by id."""
        self._uris: dict[str, str] = {}
        """By place, as the manifests have them now."""
        self._unit, self._shards = self._read(manifests)
        self._expected = {shard: {name: Expected(name, shard) for name in self._names} for shard in self._shards}
        self._doubts: dict[tuple[str, str], Counter[Doubt]] = {}
        self._loose: dict[int, dict[str, Loose]] = {}
        self._changes: dict[str, set[str]] = {shard: set() for shard in self._shards}
        self._altered: dict[str, set[str]] = {name: set() for name in self._names}
        """By table, shards whose rows would not be the stored ones."""
        self._past: dict[tuple[str, str], Sequence[Record]] = {}
        self._digests: dict[str, Mapping[str, str]] = {}
        """By table and shard, of the rows as they would be."""

    def forecasts(self) -> list[Forecast]:
        """What is expected of every shard that is in none of the attributes."""
        for number in range(len(self._treatments)):
            self._pass(number)
        self._shards = [shard for shard in self._shards if shard not in self.computing]
        self._compare()
        for treatment in self._treatments:
            for name in treatment.writes:
                self._explain(name, treatment)
        return [Forecast(shard, self._expected[shard], frozenset(self._changes[shard])) for shard in self._shards]

    # ---------------------------------------------------------------- reading

    def _read(self, manifests: Sequence[Manifest]) -> tuple[Unit, list[str]]:
        """All videos as one unit, and the shards that they are of."""
        shards = [manifest.shard for manifest in manifests]
        sources = self._stored("source_videos", shards, ["shard", "uri", "video_id", "status"]).to_pylist()
        self._number(manifests, sources)
        names = sorted({*self._plan.reads, *self._plan.keeps})
        stored = {name: self._stored(name, shards, self._columns(name)) for name in names}
        there = {name: set(stored[name]["shard"].to_pylist()) for name in self._plan.reads - self._changing}
        statuses: dict[str, set[str]] = {shard: set() for shard in shards}
        for row in sources:
            statuses[row["shard"]].add(row["status"])
        for shard in shards:
            try:
                self._plan.require(shard, {name for name in there if shard not in there[name]}, statuses[shard])
            except MissingInput as error:
                self.blocked[shard] = error
        out = {*self.apart, *self.blocked}
        rows = {name: self._owned(readdressed(some, self._uris), out) for name, some in stored.items()}
        rows[MANIFEST.name] = rows_of(manifest for manifest in manifests if manifest.shard not in out)
        kept = {name: rows[name] if name in rows else self._plan.tables[name].empty() for name in self._names}
        known = {name: rows[name] for name in (MANIFEST.name, *self._plan.reads)}
        for stage in self._plan.stages:
            if stage.eligible is not None and (known.keys() - self._changing).issuperset((stage.item, *stage.gates)):
                stage.eligible(known[stage.item], known)  # for its errors, which would end the run before it begins
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

    def _number(self, manifests: Sequence[Manifest], sources: Sequence[Row]) -> None:
        """Number the videos, and find the shards that have one in common."""
        ids: dict[str, dict[str, str]] = {}
        for row in sources:
            # An exact copy has the id of another file, but that file's rows are not its own.
            if row["status"] != "empty" and row["video_id"] is not None:
                ids.setdefault(row["shard"], {})[place_of(row["uri"])] = row["video_id"]
        for manifest in manifests:
            known = ids.get(manifest.shard, {})
            keys = [{entry.place, known.get(entry.place)} - {None} for entry in manifest.entries]
            if any(key in self._number_of for own in keys for key in own):
                self.apart.append(manifest.shard)
                continue
            for entry, own in zip(manifest.entries, keys, strict=True):
                self._number_of |= {key: len(self._shard_of) for key in (entry.uri, *own) if key is not None}
                self._shard_of.append(manifest.shard)
                self._uris[entry.place] = entry.uri

    def _owned(self, rows: pa.Table, out: Collection[str]) -> pa.Table:
        """Rows that belong to videos of their shards; others are left from files that changed."""
        owned = [
            number is not None and self._shard_of[number] == shard and shard not in out
            for number, shard in zip(self._numbers(rows), rows["shard"].to_pylist(), strict=True)
        ]
        return rows if all(owned) else rows.filter(pa.array(owned, pa.bool_()))

    def _numbers(self, rows: pa.Table) -> list[Any]:
        """The numbers of the videos that rows belong to; None where there is none."""
        return list(map(self._number_of.get, rows["uri" if "uri" in rows.column_names else "video_id"].to_pylist()))

    def _of_videos(self, rows: pa.Table, videos: Collection[int]) -> pa.Table:
        return rows.filter(pa.array([number in videos for number in self._numbers(rows)], pa.bool_()))

    def _part(self, treatment: Treatment, videos: Collection[int]) -> Unit:
        """Some of the videos, as far as a stage needs them."""
        rows = {name: self._of_videos(self._originals(name), videos) for name in treatment.stage.inputs}
        return Unit("", "", rows, {name: self._of_videos(self._unit.kept[name], videos) for name in treatment.writes})

    def _originals(self, name: str) -> pa.Table:
        """Rows of a table without those of exact copies: these have the keys of other videos."""
        rows = self._unit.rows[name]
        return rows.filter(pc.field("status") != "empty") if self._plan.tables[name].distinct else rows

    # ---------------------------------------------------------------- one stage

    def _pass(self, number: int) -> None:
        treatment = self._treatments[number]
        causes = self._causes(treatment.stage)
        gated = {video for video, names in causes.items() if any(name in names for name in treatment.stage.gates)}
        rest = set(range(len(self._shard_of))) - gated
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
        """By video, the tables that the stage reads and that will or may be others."""
        videos = range(len(self._shard_of)) if self._changing.intersection(stage.inputs) else list(self._loose)
        found: dict[int, list[str]] = {}
        for video in videos:
            loose = self._loose.get(video, {})
            if names := [name for name in stage.inputs if name in loose or name in self._changing]:
                found[video] = names
        return found

    def _pass_some(
        self, number: int, treatment: Treatment, unit: Unit, videos: Collection[int], causes: Mapping[int, list[str]]
    ) -> Mapping[str, pa.Table]:
        """The rows of some videos after a stage, by table."""
        computation = treatment.of(unit)
        owners: list[int] = self._numbers(computation.items)
        doubts = {name: self._doubtful(computation, name, owners) for name in treatment.writes}
        rows = self._settled(number, treatment, computation, unit, owners, doubts, causes)
        unsettled = {video: names for video, names in causes.items() if video in videos}
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
        """Of videos of which everything that the stage reads is known: count, and have a light stage compute."""
        counts = Counter(self._shard_of[owner] for owner in owners if owner not in causes)
        pending = {owners[index] for index in computation.pending} - set(causes)
        unmade = pending if treatment.stage.heavy else set[int]()
        keys = ItemKeys(computation.items)
        rows: dict[str, pa.Table] = {}
        for name in treatment.writes:
            found = self._by_video({i: doubt for i, doubt in doubts[name].items() if owners[i] not in causes}, owners)
            for shard, count in counts.items():
                self._expected[shard][name].reuse += count
            for video, own in found.items():
                self._count(name, video, own)
                self._expected[self._shard_of[video]][name].reuse -= len(own)
                if video in unmade:
                    again = all(doubt == "failed" for doubt in own.values()) and not self._plan.force
                    self._loosen(video, name, treatment, keys.of(treatment.links[name], own), again)
            rows[name] = self._claimed(name, computation, unit.kept[name], causes, unmade)
        if pending and not treatment.stage.heavy:
            if self._whole:
                self._compute(number, treatment, sorted(pending), rows)
            else:
                self.computing.update(self._shard_of[video] for video in pending)
        return rows

    def _claimed(
        self, name: str, computation: Computation, kept: pa.Table, causes: Collection[int], unmade: Collection[int]
    ) -> pa.Table:
        """Stored rows without those that belong to nothing any more."""
        gone: set[int] = set()
        if unclaimed := computation.unclaimed(name):
            owners = self._numbers(kept)
            for place in unclaimed:
                if owners[place] in causes:
                    continue
                shard = self._shard_of[owners[place]]
                self._expected[shard][name].dropped += 1
                self._expected[shard][name].stale = True
                if owners[place] not in unmade:
                    gone.add(place)
                    self._altered[name].add(shard)
        return kept.filter(pa.array([place not in gone for place in range(kept.num_rows)])) if gone else kept

    def _compute(self, number: int, treatment: Treatment, videos: Sequence[int], rows: dict[str, pa.Table]) -> None:
        """Put what a light stage makes of some videos into `rows`."""
        worker = self._runner.worker(number)
        made: dict[str, list[pa.Table]] = {name: [] for name in treatment.writes}
        for first in range(0, len(videos), _COMPUTED_AT_ONCE):
            unit = self._part(treatment, set(videos[first : first + _COMPUTED_AT_ONCE]))
            computation = treatment.of(unit)
            computation.finish([(part, computation.compute(worker, part)) for part in computation.batches()], worker)
            for name, parts in made.items():
                parts.append(unit.rows[name])
        others = set(range(len(self._shard_of))) - set(videos)
        for name, parts in made.items():
            rows[name] = pa.concat_tables([self._of_videos(rows[name], others), *parts])
            self._altered[name].update(self._shard_of[video] for video in videos)

    def _unsettled(
        self,
        treatment: Treatment,
        items: pa.Table,
        owners: Sequence[int],
        doubts: Mapping[str, Mapping[int, Doubt]],
        causes: Mapping[int, Sequence[str]],
    ) -> None:
        """Of videos of which something that the stage reads will or may be other: what is certain, and what is not."""
        own: dict[int, list[int]] = {video: [] for video in causes}
        for index, owner in enumerate(owners):
            if owner in own:
                own[owner].append(index)
        by_video = {name: self._by_video(found, owners) for name, found in doubts.items()}
        keys = ItemKeys(items)
        for video, names in causes.items():
            loose = dict(self._loose.get(video, {}))
            again = all(name in loose and loose[name].again for name in names)
            for name in treatment.writes:
                self._expected[self._shard_of[video]][name].depends_on.update(names)
                if not again:
                    self._changes[self._shard_of[video]].add(name)
            if treatment.stage.item in names and not own[video]:
                self._unknown(treatment, video, again)
                continue
            gates = treatment.stage.gates
            touched_by = {name: set(keys.touched(own[video], loose.get(name))) for name in names}
            touched = set[int]().union(*touched_by.values())
            remade = set[int]().union(*(found for name, found in touched_by.items() if name not in gates))
            leaving = set[int]().union(
                *(found for name, found in touched_by.items() if name == treatment.stage.item or name in gates)
            )
            for name in treatment.writes:
                found = by_video[name].get(video, {})
                certain: dict[int, Doubt] = {
                    i: doubt
                    for i, doubt in found.items()
                    if i not in touched or (doubt == "missing" and i not in leaving)
                }
                self._count(name, video, certain)
                maybe = len((remade | found.keys()) - certain.keys())
                expected = self._expected[self._shard_of[video]][name]
                expected.maybe += maybe
                expected.stale = expected.stale or not again
                expected.reuse += len(own[video]) - len(certain) - maybe
                links = treatment.links[name]
                self._loosen(video, name, treatment, keys.of(links, {*certain, *touched}), again and not certain)

    def _unknown(self, treatment: Treatment, video: int, again: bool) -> None:
        """There are no items yet; where each video is one, it is known how many there can be."""
        single = treatment.item.grain == "file"
        for name in treatment.writes:
            expected = self._expected[self._shard_of[video]][name]
            expected.maybe += single
            expected.uncounted += not single
            expected.absent = expected.absent or not again
            self._loose.setdefault(video, {})[name] = Loose((), None, again)

    def _loosen(self, video: int, name: str, treatment: Treatment, keys: frozenset[Key], again: bool) -> None:
        self._loose.setdefault(video, {})[name] = Loose(tuple(treatment.links[name]), keys, again)
        if not again:
            self._changes[self._shard_of[video]].add(name)

    # ---------------------------------------------------------------- counting

    def _doubtful(self, computation: Computation, name: str, owners: Sequence[int]) -> Mapping[int, Doubt]:
        shards = {self._shard_of[owners[index]] for index in computation.in_doubt(name)}
        if unread := [shard for shard in shards if (name, shard) not in self._past]:
            self._past |= {(name, shard): () for shard in unread}
            self._past |= self._history.recent([name], unread, _RECORDS)
        recipes = {shard: [made_by(name, record.recipe) for record in self._past[name, shard]] for shard in shards}
        return computation.doubts(name, lambda index: recipes[self._shard_of[owners[index]]])

    def _by_video(self, found: Mapping[int, Doubt], owners: Sequence[int]) -> dict[int, dict[int, Doubt]]:
        grouped: dict[int, dict[int, Doubt]] = {}
        for index, doubt in found.items():
            grouped.setdefault(owners[index], {})[index] = doubt
        return grouped

    def _count(self, name: str, video: int, found: Mapping[int, Doubt]) -> None:
        if not found:
            return
        shard = self._shard_of[video]
        expected = self._expected[shard][name]
        expected.compute += len(found)
        if self._plan.force:
            expected.stale = True
        else:
            expected.missing += sum(doubt == "missing" for doubt in found.values())
            expected.failed += sum(doubt == "failed" for doubt in found.values())
            expected.absent = expected.absent or "missing" in found.values()
            expected.stale = expected.stale or any(doubt not in ("missing", "failed") for doubt in found.values())
        self._doubts.setdefault((shard, name), Counter[Doubt]()).update(found.values())

    def _compare(self) -> None:
        """See which tables have other rows, as far as these matter to what is made from them."""
        for name, shards in self._altered.items():
            if not (shards := shards.intersection(self._shards)):
                continue
            stored, made = (self._digested(name, rows[name]) for rows in (self._unit.kept, self._unit.rows))
            for shard in shards:
                if stored[shard] != made[shard]:
                    self._changes[shard].add(name)

    def _digested(self, name: str, rows: pa.Table) -> Mapping[str, str]:
        """By shard, a digest of what of its rows matters to others."""
        of = [self._shard_of[number] for number in self._numbers(rows)]
        return identity_digests(self._plan.tables[name], rows, sorted(set(self._shard_of)), of)

    # ---------------------------------------------------------------- reasons

    def _explain(self, name: str, treatment: Treatment) -> None:
        stored = set(self._unit.kept[name]["shard"].to_pylist())
        for shard in self._shards:
            for doubt, count in self._doubts.get((shard, name), {}).items():
                reason = self._reason(doubt, shard, self._plan.tables[name], treatment.stage, shard not in stored)
                self._expected[shard][name].reasons[reason] += count

    def _reason(self, doubt: Doubt, shard: str, table: Table, stage: Stage, new: bool) -> str:
        if self._plan.force:
            return FORCED
        if doubt == "failed":
            return FAILED_BEFORE
        if doubt == "missing":
            return ("new shard" if stage.item == MANIFEST.name else "not made yet") if new else f"new in {stage.item}"
        now = table.recipe(self._plan.config)
        records = self._past[table.name, shard]
        if doubt != "inputs":
            return ", ".join(differences(records[doubt].recipe, now)) or "made with other settings"
        if not records:
            return "changed; no record says how it was made"
        latest = records[0]
        for name in (stage.item, *stage.reads):
            if name not in self._digests:
                self._digests[name] = self._digested(name, self._unit.rows[name])
        others = [name for name in (stage.item, *stage.reads) if latest.inputs.get(name) != self._digests[name][shard]]
        changed = ["changed file" if name == MANIFEST.name else f"{name} changed" for name in others]
        return ", ".join([*changed, *differences(latest.recipe, now)]) or "made from other rows"


def _for_computing_only(kind: pa.DataType) -> bool:
    """Whether a column is of a kind that decides nothing: vectors, curves, pictures, errors."""
    return pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
