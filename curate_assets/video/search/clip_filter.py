"""Which clips a search is about: conditions in SQL over all tables that say something of clips."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate_assets.graph.graph import Graph
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS
from curate_assets.video.clip_key import ClipKey
from curate_assets.video.search.condition import Condition
from curate_resources.tables.best_rows import Keep, Wanted
from curate_resources.tables.lance_tables import Tables, one_of

_SMALL = 20_000
"""Of so many clips all are asked about before the search,"""
_RARE = 0.02
"""and of more, if fewer than this share fulfil a condition: else the search asks about those that it comes upon."""
_FEW, _AS_DEAR = 1000, 3
"""So many clips are named to Lance, which compares all of them; and more, as long as that is cheaper than an index. A
clip that is named costs as much as so many that an index finds."""


@dataclass(frozen=True)
class ClipFilter:
    """Which clips count.

    Attributes:
        shards: of these alone; None: of all.
        conditions: that have to be fulfilled.
        keys: the clips that fulfil them, where these were looked for; None: it is asked about each as it is found.
        share: of all clips, about how many fulfil them.
    """

    shards: tuple[str, ...] | None = None
    conditions: tuple[Condition, ...] = ()
    keys: frozenset[ClipKey] | None = None
    share: float = 1.0
    _asked: dict[str, frozenset[ClipKey]] = field(default_factory=dict[str, frozenset[ClipKey]])

    @property
    def none(self) -> bool:
        """Whether no clip counts at all, as far as that is known before a search."""
        return self.shards == () or (self.keys is not None and not self.keys)

    def wanted(self, limit: int, columns: Sequence[str] = ()) -> Wanted:
        """What a search of a table of clips is to find."""
        shards = one_of("shard", self.shards) if self.shards is not None else None
        if not self.conditions:
            return Wanted(limit, columns, shards)
        exactly = Keep(("clip_id", "shard"), self._exactly)
        if self.keys is not None and len(self.keys) <= max(_FEW, limit / max(self.share, 1e-9) / _AS_DEAR):
            named = " AND ".join(filter(None, [shards, one_of("clip_id", (key.clip_id for key in self.keys))]))
            return Wanted(limit, columns, named, (exactly,), few=True)
        return Wanted(limit, columns, shards, (Keep(("clip_id",), self._perhaps), exactly), self.share)

    def _perhaps(self, rows: pa.Table) -> NDArray[np.bool_]:
        """Which rows have the id of a clip that counts: shards are read for these alone."""
        return np.array([bool(each) for each in self._counting(rows["clip_id"].to_pylist())], bool)

    def _exactly(self, rows: pa.Table) -> NDArray[np.bool_]:
        clips, shards = rows["clip_id"].to_pylist(), rows["shard"].to_pylist()
        counting = self._counting(clips)
        return np.array([ClipKey(*key) in each for *key, each in zip(clips, shards, counting, strict=True)], bool)

    def _counting(self, clips: Sequence[str]) -> list[frozenset[ClipKey]]:
        """By clip id, the clips of that id that count."""
        if self.keys is not None:
            return [self._by_id.get(clip, _NONE) for clip in clips]
        if new := {*clips} - self._asked.keys():
            first, *others = self.conditions
            keys = first.of(new)
            for each in others:
                keys &= each.of({key.clip_id for key in keys})
            self._asked.update(dict.fromkeys(new, _NONE) | _by_id(keys))
        return [self._asked[clip] for clip in clips]

    @cached_property
    def _by_id(self) -> dict[str, frozenset[ClipKey]]:
        return _by_id(self.keys or ())


_NONE: frozenset[ClipKey] = frozenset()


def clip_filter(
    tables: Tables, graph: Graph, where: str | None, shards: Sequence[str] | None, selected: bool
) -> ClipFilter:
    """The clips that fulfil a condition.

    Args:
        where: see `Condition`.
        selected: only clips that are kept.

    Raises:
        QueryError, NotThere: as `Condition`.
    """
    within = tuple(shards) if shards is not None else None
    texts = [where] if where is not None else []
    if selected:
        texts += [f"{CLIP_SELECTION.name}.selected", f"{DUPLICATE_GROUPS.name}.keeper"]
    conditions = tuple(Condition(tables, graph, text) for text in texts)
    if not conditions:
        return ClipFilter(within)
    clips = tables.dataset(CLIPS.name).count_rows(one_of("shard", within) if within is not None else None)
    if clips > _SMALL:
        conditions = tuple(sorted(conditions, key=lambda each: each.share))
        if conditions[0].share >= _RARE:
            return ClipFilter(within, conditions, share=prod(each.share for each in conditions))
    first, *others = conditions
    keys = first.everywhere(within)
    for each in others:
        keys &= each.of({key.clip_id for key in keys})
    return ClipFilter(within, conditions, frozenset(keys), len(keys) / max(clips, 1))


def _by_id(keys: Iterable[ClipKey]) -> dict[str, frozenset[ClipKey]]:
    found: dict[str, set[ClipKey]] = {}
    for key in keys:
        found.setdefault(key.clip_id, set()).add(key)
    return {clip: frozenset(each) for clip, each in found.items()}
