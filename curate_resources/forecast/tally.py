"""What a plan would do to many shards: counted, and why."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from curate_resources.declarations.stage import Stage
from curate_resources.forecast.expected import FAILED_BEFORE, FORCED, Expected, Forecast, differences
from curate_resources.pipeline.computation import Computation, Doubt
from curate_resources.pipeline.fingerprints import made_by
from curate_resources.pipeline.plan import Plan
from curate_resources.sources.manifests import MANIFEST
from curate_resources.tables.history import HistoryIndex, Record

_RECORDS = 3
"""How many of the last records of a shard are looked at for what its rows were made with."""


class Tally:
    """By shard and table, counts of what would be computed, and the reasons."""

    def __init__(self, plan: Plan, history: HistoryIndex, shards: Sequence[str], names: Sequence[str]) -> None:
        self._plan, self._history = plan, history
        self._expected = {shard: {name: Expected(name, shard) for name in names} for shard in shards}
        self._changes: dict[str, set[str]] = {shard: set() for shard in shards}
        self._doubts: dict[tuple[str, str], Counter[Doubt]] = {}
        self._past: dict[tuple[str, str], Sequence[Record]] = {}

    def of(self, shard: str) -> Forecast:
        """What is expected of a shard."""
        return Forecast(shard, self._expected[shard], frozenset(self._changes[shard]))

    def entry(self, shard: str, name: str) -> Expected:
        """The counts of one table's rows of one shard, to be added to."""
        return self._expected[shard][name]

    def change(self, shard: str, name: str) -> None:
        """The table's rows will or may be others to what reads them."""
        self._changes[shard].add(name)

    def doubts(self, computation: Computation, name: str, shard_of: Sequence[str]) -> Mapping[int, Doubt]:
        """Which items have no rows that hold, by index, and what is doubtful about them.

        Args:
            shard_of: by index.
        """
        shards = {shard_of[index] for index in computation.in_doubt(name)}
        if unread := [shard for shard in shards if (name, shard) not in self._past]:
            self._past |= {(name, shard): () for shard in unread}
            self._past |= self._history.recent([name], unread, _RECORDS)
        recipes = {shard: [made_by(name, record.recipe) for record in self._past[name, shard]] for shard in shards}
        return computation.doubts(name, lambda index: recipes[shard_of[index]])

    def count(self, shard: str, name: str, found: Mapping[int, Doubt]) -> None:
        """Items that will be computed."""
        if not found:
            return
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

    def explain(self, shard: str, name: str, stage: Stage, new: bool, digest: Callable[[str, str], str]) -> None:
        """Put the reasons of what was counted into words.

        Args:
            new: whether nothing is stored of the shard.
            digest: of a table's rows of a shard, as they would be.
        """
        for doubt, count in self._doubts.get((shard, name), {}).items():
            self._expected[shard][name].reasons[self._reason(doubt, shard, name, stage, new, digest)] += count

    def _reason(
        self, doubt: Doubt, shard: str, name: str, stage: Stage, new: bool, digest: Callable[[str, str], str]
    ) -> str:
        if self._plan.force:
            return FORCED
        if doubt == "failed":
            return FAILED_BEFORE
        if doubt == "missing":
            return ("new shard" if stage.item == MANIFEST.name else "not made yet") if new else f"new in {stage.item}"
        now = self._plan.tables[name].recipe(self._plan.config)
        records = self._past[name, shard]
        if doubt != "inputs":
            return ", ".join(differences(records[doubt].recipe, now)) or "made with other settings"
        if not records:
            return "changed; no record says how it was made"
        latest = records[0]
        others = [each for each in (stage.item, *stage.reads) if latest.inputs.get(each) != digest(each, shard)]
        changed = [
            "changed file"
            if each == MANIFEST.name
            else f"{each} changed"
            if each in latest.inputs
            else f"made from {each} now"
            for each in others
        ]
        return ", ".join([*changed, *differences(latest.recipe, now)]) or "made from other rows"
