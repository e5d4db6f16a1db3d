"""Which shards were compared with all that is there: what has not changed since then is not compared again.

Two shards have to be compared by the one that comes later, and no more. So a shard that was compared stays so while
nobody has seen its clips in another state. An entry says in which state a shard is: its comparison writes one before it
looks at the others, and removes the entries of those that it finds in another state. It is done when its rows are known
and its entry is still there. Of two shards that are both done, the one that looked later saw the other in the state of
its entry: else it would have removed that.
"""

import json
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from curate_assets.video.duplicates.selected_clips import SelectedClips, digest
from curate_resources.declarations.table import Table
from curate_resources.storage.root import Storage
from curate_resources.tables.lance_tables import Tables
from curate_resources.tables.segments import INDEXES, shard_states

COMPARED = f"{INDEXES}/compared"
"""The folder below the root; whoever removes it has all compared again."""
_ENTRIES, _DONE = f"{COMPARED}/entries", f"{COMPARED}/done"
_SAME_ROW = ["shard_a", "clip_a", "shard_b", "clip_b", "tier", "span", "fingerprint"]


@dataclass(frozen=True)
class ClipStates:
    """What the pairs of shards depend on.

    Attributes:
        by_shard: of those with selected clips, a digest of these and of what was measured of them.
        recipe: what else makes a difference.
    """

    by_shard: Mapping[str, str]
    recipe: str

    @classmethod
    def of(
        cls,
        tables: Tables,
        clips: SelectedClips,
        measured_on: Sequence[Table],
        recipe: object,
        shards: Collection[str] | None = None,
    ) -> "ClipStates":
        """As the tables stand, or of all shards, as they stood when `clips` looked first.

        Args:
            shards: those that `clips` are of; None: all.
        """
        columns = [clips.measured(tables, table, shards).fill_null("") for table in measured_on]
        return cls(shard_states(clips.shards, (clips.rows["clip_id"], *columns)), digest(recipe))

    def __getitem__(self, shard: str) -> str:
        return digest([self.by_shard.get(shard), self.recipe])


@dataclass(frozen=True)
class ComparedShards:
    """The entries under a root."""

    storage: Storage

    def known(self, shard: str, state: str, rows: pa.Table) -> bool:
        """Whether a shard in this state was compared with all that is there, and these are its rows."""
        try:
            done = json.loads(self.storage.read(f"{_DONE}/{shard}.json"))
        except FileNotFoundError:
            return False
        same = done["entry"].startswith(f"{shard}.{state}.") and done["rows"] == _digest(rows)
        return same and self.storage.exists(f"{_ENTRIES}/{done['entry']}")

    def begin(self, shard: str, state: str) -> str:
        """Write an entry of a shard; returns its name."""
        entry = f"{shard}.{state}.{uuid.uuid4().hex[:16]}"
        self.storage.write(f"{_ENTRIES}/{entry}", b"")
        return entry

    def all(self) -> list[str]:
        """The entries of all shards."""
        return self.storage.files(_ENTRIES)

    def remove_others(self, entries: Sequence[str], states: ClipStates, own: str) -> None:
        """Remove those of entries whose shards are in other states, and earlier ones of the shard of `own`."""
        for entry in entries:
            shard, state, _ = entry.split(".")
            if state != states[shard] or (shard_of(own) == shard and entry != own):
                self.storage.delete(f"{_ENTRIES}/{entry}")

    def done(self, shard: str, entry: str, rows: pa.Table) -> None:
        """Say that the comparison that wrote the entry gave these rows."""
        self.storage.write(f"{_DONE}/{shard}.json", json.dumps({"entry": entry, "rows": _digest(rows)}).encode())


def shard_of(path: str) -> str:
    """Whose a file below `COMPARED` is."""
    return path.rpartition("/")[2].partition(".")[0]


def _digest(rows: pa.Table) -> str:
    return digest([rows[name].to_pylist() for name in _SAME_ROW])
