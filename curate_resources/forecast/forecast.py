"""What a plan would do, found out without doing it: what would be computed, what is used again, and why.

Units pass the plan's stages with the fingerprints of the run itself. Light stages really work, on rows in memory; a
heavy one does not, so of the rows that it would make only the items are known. What depends on such rows may or may not
be computed.

The units of many shards pass together, because most of what that costs is the same for one as for thousands. First
they do so without the columns that only computing needs; the shards of which light stages have to compute something
pass once more with all columns, fewer at a time.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from curate_resources.forecast.batch import Batch
from curate_resources.forecast.expected import Expected, Forecast
from curate_resources.pipeline.plan import Plan
from curate_resources.sources.manifests import Manifest, ManifestError, Manifests
from curate_resources.tables.history import HistoryIndex

_UNITS_AT_ONCE = 8192
_LENGTH_AT_ONCE = 4_000_000
"""Of units that pass with all columns: curves are among them, some 20 bytes for each value."""


def forecast(
    plan: Plan, shards: Sequence[str], changing: Mapping[str, Collection[str]], history: HistoryIndex
) -> Iterator[Forecast]:
    """What a plan would do to shards, in any order.

    Args:
        changing: by shard, tables that the plan reads, and that will or may be others by the time it runs.
        history: for the reasons.
    """
    read = {name for stage in plan.stages for name in stage.inputs}
    alike: dict[frozenset[str], list[str]] = {}
    for shard in shards:
        alike.setdefault(frozenset(changing.get(shard, ())) & read, []).append(shard)
    for tables, some in alike.items():
        yield from _Forecaster(plan, tables, history).of(some)


class _Forecaster:
    """Shards of which the same tables are changing."""

    def __init__(self, plan: Plan, changing: frozenset[str], history: HistoryIndex) -> None:
        self._plan, self._changing, self._history = plan, changing, history

    def of(self, shards: Sequence[str]) -> Iterator[Forecast]:
        """Forecasts of all of them."""
        found = zip(shards, Manifests(self._plan.storage).load_all(shards), strict=True)
        batch: list[Manifest] = []
        units = 0
        for shard, manifest in found:
            if isinstance(manifest, ManifestError):
                yield self._blocked(shard, manifest)
                continue
            batch.append(manifest)
            units += max(1, len(manifest.entries))
            if units >= _UNITS_AT_ONCE:
                yield from self._together(batch, whole=False)
                batch, units = [], 0
        yield from self._together(batch, whole=False)

    def _together(self, manifests: Sequence[Manifest], whole: bool) -> Iterator[Forecast]:
        """Shards that pass together; where that raises, each half by itself, down to the shard that it is about."""
        if not manifests:
            return
        try:
            batch = Batch(self._plan, manifests, self._changing, self._history, whole)
            found = batch.forecasts()
        except Exception as error:  # also a stage's own refusal; it would end the run
            if len(manifests) == 1:
                yield self._blocked(manifests[0].shard, error)
                return
            half = len(manifests) // 2
            yield from self._together(manifests[:half], whole)
            yield from self._together(manifests[half:], whole)
            return
        yield from found
        yield from (self._blocked(shard, error) for shard, error in batch.blocked.items())
        by_name = {manifest.shard: manifest for manifest in manifests}
        yield from self._together([by_name[shard] for shard in batch.apart], whole)
        for some in _bounded(sorted(batch.computing), batch.lengths):
            yield from self._together([by_name[shard] for shard in some], whole=True)

    def _blocked(self, shard: str, error: Exception) -> Forecast:
        return Forecast(
            shard, {name: Expected(name, shard, blocked=str(error)) for name in self._plan.wanted}, frozenset()
        )


def _bounded(shards: Iterable[str], lengths: Mapping[str, int]) -> Iterator[list[str]]:
    """Shards whose curves are so short together that they can be held; a longer one comes alone."""
    some: list[str] = []
    held = 0
    for shard in shards:
        if some and held + lengths[shard] > _LENGTH_AT_ONCE:
            yield some
            some, held = [], 0
        some.append(shard)
        held += lengths[shard]
    if some:
        yield some
