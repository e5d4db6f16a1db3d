"""Rows of pairs: which of two clips comes first, and what they were measured on."""

from curate_assets.video.duplicates.selected_clips import SelectedClips, Strings
from curate_resources.declarations.table import Row


class PairRows:
    """Makes rows of some clips.

    Args:
        measured: of every clip, what is measured of it; null: nothing.
    """

    def __init__(self, clips: SelectedClips, measured: Strings) -> None:
        self._clips, self._measured = clips.rows, measured

    def first(self, one: int, other: int) -> tuple[int, int]:
        """The places of two clips as a row has them: by id, then by shard."""
        return (one, other) if self._order(one) < self._order(other) else (other, one)

    def row(self, a: int, b: int, **columns: object) -> Row:
        """The row of two clips, given in the order of `first`."""
        row: Row = {"span": 0, **columns}
        for side, place in (("a", a), ("b", b)):
            clip_id, shard = self._order(place)
            row |= {f"clip_{side}": clip_id, f"shard_{side}": shard, f"measured_{side}": self._measured[place].as_py()}
        return row

    def _order(self, place: int) -> tuple[str, str]:
        return self._clips["clip_id"][place].as_py(), self._clips["shard"][place].as_py()
