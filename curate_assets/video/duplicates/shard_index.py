"""Which shards are looked up in segments of an index, which are read, and when a segment is made of the latter.

Segments are merged as those of a log-structured tree: a new one takes in all that are not larger than it. So a library
of n clips has about log n segments, and each clip was written about log n times.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from curate_assets.video.duplicates.selected_clips import SelectedClips, Strings
from curate_resources.tables.segments import Covered, Segments, shard_states

LEAST_CLIPS = 1_000
"""Of fewer clips no segment is made: what is looked up is read from their tables."""
MOST_CLIPS = 1 << 20
"""Of a segment: it is made in memory."""
_PART_CLIPS = 20_000


@dataclass(frozen=True)
class ShardIndex:
    """How the clips of all shards are looked up.

    Attributes:
        least: see LEAST_CLIPS.
        most: see MOST_CLIPS.
    """

    clips: SelectedClips
    least: int = LEAST_CLIPS
    most: int = MOST_CLIPS

    def covering(self, segments: Segments, measured: Strings) -> tuple[list[Covered], list[str]]:
        """The segments that cover shards as they are, and the shards that none covers.

        Args:
            measured: of every clip, the fingerprint of what the index is about; null where there is nothing.
        """
        return segments.covering(self._states(measured))

    def grown(
        self,
        segments: Segments,
        measured: Strings,
        arrays: Callable[[Sequence[str]], Mapping[str, NDArray[Any]] | None],
    ) -> tuple[list[Covered], list[str]]:
        """As `covering`, after a segment was made of the shards that none covers, if they have enough clips, and of the
        segments that are not larger.

        Args:
            arrays: of a segment that covers some shards, whose rows are their clips in order; None: there is nothing.
        """
        states = self._states(measured)
        covered, rest = segments.covering(states)
        rows = sum(len(self.clips.shards[shard]) for shard in rest)
        if rows < self.least:
            return covered, rest
        taken = list(rest)
        for each in sorted(covered, key=lambda each: self._rows(each)):
            if self._rows(each) <= rows and rows + self._rows(each) <= self.most:
                rows += self._rows(each)
                taken += each.shards
        for part in parts(self.clips, sorted(taken), self.most):
            if (made := arrays(part)) is not None:
                counts = [len(self.clips.shards[shard]) for shard in part]
                segments.write({shard: states[shard] for shard in part}, counts, made)
        covered, rest = segments.covering(states)
        segments.forget(covered)
        return covered, rest

    def _rows(self, covered: Covered) -> int:
        return sum(len(self.clips.shards[shard]) for shard in covered.shards)

    def _states(self, measured: Strings) -> dict[str, str]:
        return shard_states(self.clips.shards, (self.clips.rows["clip_id"], measured.fill_null("")))


def parts(clips: SelectedClips, shards: Sequence[str], most: int = _PART_CLIPS) -> Iterator[list[str]]:
    """Shards in parts of so many clips at most; a larger shard is a part of its own."""
    part, rows = list[str](), 0
    for shard in shards:
        own = len(clips.shards[shard])
        if part and rows + own > most:
            yield part
            part, rows = [], 0
        part.append(shard)
        rows += own
    if part:
        yield part
