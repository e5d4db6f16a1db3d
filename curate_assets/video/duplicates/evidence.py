"""Why two clips count as showing the same: the rows of their pair, as seen from one of them."""

from collections.abc import Iterable
from dataclasses import dataclass

from curate_assets.video.duplicates.selected_clips import SelectedClips
from curate_assets.video.duplicates.valid_pairs import valid_rows
from curate_resources.declarations.table import Row
from curate_resources.tables.lance_tables import Tables, one_of
from gpu_kernels.dedup.alignment import OTHER_WINDOW
from gpu_kernels.dedup.picture_views import SWAPPED
from gpu_kernels.dedup.tiers import TIERS

Key = tuple[str, str]
"""Shard and id of a clip."""

_COLUMNS = ["span", "similarity", "speed", "view", "mirrored", "window", "motion_correlation", "verdict"]
_SIDED = ["start_{}_ns", "end_{}_ns", "share_{}"]


@dataclass(frozen=True)
class Side:
    """What is alike of one of two clips.

    Attributes:
        start_ns, end_ns: presentation times in its video; None where the pair has no span.
        share: of the clip, that all spans of the pair with this verdict cover.
    """

    clip: Key
    start_ns: int | None
    end_ns: int | None
    share: float


@dataclass(frozen=True)
class Evidence:
    """A row of `duplicate_pairs`; see there.

    Attributes:
        one, other: the two clips.
        speed: seconds of the other that pass in one of the first.
        view: the part of their pictures that is alike, where `a` is `one`.
        window: whose picture lies in a window, likewise.
    """

    one: Side
    other: Side
    tier: str
    span: int
    similarity: float
    speed: float | None
    view: str | None
    mirrored: bool | None
    window: str | None
    motion_correlation: float | None
    verdict: str | None

    @property
    def order(self) -> tuple[int, int]:
        """The strictest tier first, then by time."""
        return TIERS.index(self.tier), self.span


def evidence_of(tables: Tables, clips: Iterable[Key]) -> dict[tuple[Key, Key], list[Evidence]]:
    """Of some clips, all pairs that hold, from each one's side: by the clip and the other one, in order."""
    asked = set(clips)
    if not asked:
        return {}
    ids = {clip_id for _, clip_id in asked}
    where = f"{one_of('clip_a', ids)} OR {one_of('clip_b', ids)}"
    columns = [*_COLUMNS, *(name.format(side) for name in _SIDED for side in "ab")]
    rows, _, _ = valid_rows(tables, SelectedClips.of(tables), columns, where)
    found: dict[tuple[Key, Key], dict[tuple[str, int], Evidence]] = {}
    for row in rows.to_pylist():
        a, b = _side(row, "a"), _side(row, "b")
        for one, other, turned in ((a, b, False), (b, a, True)):
            if one.clip in asked:
                own = found.setdefault((one.clip, other.clip), {})
                own[row["tier"], row["span"]] = _evidence(row, one, other, turned)
    return {pair: sorted(each.values(), key=lambda one: one.order) for pair, each in sorted(found.items())}


def _side(row: Row, side: str) -> Side:
    start, end, share = (row[name.format(side)] for name in _SIDED)
    return Side((row[f"shard_{side}"], row[f"clip_{side}"]), start, end, share)


def _evidence(row: Row, one: Side, other: Side, turned: bool) -> Evidence:
    about = {name: row[name] for name in (*_COLUMNS, "tier")}
    if turned and about["speed"] is not None:
        about["speed"] = 1 / about["speed"]
    if turned and about["view"]:
        about["view"] = SWAPPED[about["view"]]
    if turned:
        about["window"] = OTHER_WINDOW[about["window"]]
    return Evidence(one, other, **about)
