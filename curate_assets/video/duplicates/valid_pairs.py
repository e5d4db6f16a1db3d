"""The pairs of all shards that hold: both clips are selected, and are what the pair was measured on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate_assets.video.assets.clip_embeddings import CLIP_EMBEDDINGS
from curate_assets.video.assets.duplicate_pairs import DUPLICATE_PAIRS
from curate_assets.video.assets.picture_hashes import PICTURE_HASHES
from curate_assets.video.duplicates.selected_clips import SelectedClips, Strings, columns_of
from curate_resources.declarations.table import Table
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.dedup.alignment import Verdict
from gpu_kernels.dedup.tiers import TIERS, DuplicateGroupsConfig, Tier

VERDICTS: tuple[Verdict, ...] = ("copy", "same_static_picture", "undecidable")

MEASURED_ON: Mapping[Tier, Table] = {
    "identical": PICTURE_HASHES,
    "picture": PICTURE_HASHES,
    "meaning": CLIP_EMBEDDINGS,
}
"""The table whose fingerprints say whether a pair of a tier still holds."""


@dataclass(frozen=True)
class ValidPairs:
    """One entry for every pair, tier and verdict, as arrays.

    Attributes:
        a, b: int64, places of the two among the selected clips.
        tier: int8, position in TIERS.
        verdict: int8, position in VERDICTS; -1 where there is none, in the tier of meaning.
        similarity: float32, the greatest of its spans.
        share_a, share_b: float32, of each clip, how much all spans of that verdict cover.
        window_a, window_b: bool, whether that clip shows them in a window, and the other one does not.
    """

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    tier: NDArray[np.int8]
    verdict: NDArray[np.int8]
    similarity: NDArray[np.float32]
    share_a: NDArray[np.float32]
    share_b: NDArray[np.float32]
    window_a: NDArray[np.bool_]
    window_b: NDArray[np.bool_]

    def where(self, chosen: NDArray[Any]) -> "ValidPairs":
        """Some of them: by a mask or by positions."""
        return ValidPairs(*(values[chosen] for values in vars(self).values()))

    def counts(self, config: DuplicateGroupsConfig) -> NDArray[np.bool_]:
        """Which of them are similar enough: pictures by their verdict, meaning by its cosine; what is identical is."""
        by_verdict = np.isin(self.verdict, [VERDICTS.index(each) for each in config.verdicts])
        by_cosine = self.similarity >= config.min_similarity
        tiers = [self.tier == TIERS.index(tier) for tier in ("picture", "meaning")]
        return np.select(tiers, [by_verdict, by_cosine], True).astype(np.bool_)


_IDENTIFYING = ["shard_a", "clip_a", "shard_b", "clip_b", "tier", "measured_a", "measured_b"]
_COLUMNS = ["verdict", "similarity", "share_a", "share_b", "window"]


def valid_pairs(tables: Tables, clips: SelectedClips) -> ValidPairs:
    """Of all shards; both shards of a pair may have recorded it."""
    rows, a, b = valid_rows(tables, clips, _COLUMNS)
    tier = _positions(rows["tier"], TIERS)
    verdict = _positions(rows["verdict"], VERDICTS)
    values = [rows[name].to_numpy() for name in ("similarity", "share_a", "share_b")]
    window = _positions(rows["window"], ("a", "b"))
    values += [window == 0, window == 1]
    order = np.lexsort((verdict, tier, b, a))
    keys = np.stack([a, b, tier, verdict], axis=1)[order]
    first = np.flatnonzero(np.concatenate([[True], (keys[1:] != keys[:-1]).any(axis=1)])) if len(a) else order
    most = [np.maximum.reduceat(each[order], first) if len(a) else each for each in values]
    chosen = order[first]
    return ValidPairs(a[chosen], b[chosen], tier[chosen], verdict[chosen], *most)


def valid_rows(
    tables: Tables, clips: SelectedClips, columns: list[str], where: str = "true"
) -> tuple[pa.Table, NDArray[np.int64], NDArray[np.int64]]:
    """The rows that hold, and the places of both clips of each."""
    named = list(dict.fromkeys((*_IDENTIFYING, *columns)))
    rows = columns_of(tables, DUPLICATE_PAIRS, named, f"status = 'ok' AND ({where})")
    a, b = (clips.places(rows[f"shard_{side}"], rows[f"clip_{side}"]) for side in "ab")
    holds = (a >= 0) & (b >= 0)
    rows, a, b = rows.filter(pa.array(holds)), a[holds], b[holds]
    tier, holds = _positions(rows["tier"], TIERS), np.zeros(len(a), np.bool_)
    for table in dict.fromkeys(MEASURED_ON.values()):
        own = np.isin(tier, [TIERS.index(each) for each, on in MEASURED_ON.items() if on is table])
        if own.any():
            now = clips.measured(tables, table)
            holds |= own & _holds(rows, "a", a, now) & _holds(rows, "b", b, now)
    return rows.filter(pa.array(holds)), a[holds], b[holds]


def _positions(column: Strings, names: tuple[str, ...]) -> NDArray[np.int8]:
    found = pc.index_in(column, value_set=pa.array(names, pa.string()))  # pyright: ignore[reportAttributeAccessIssue]
    return pc.fill_null(found, -1).to_numpy().astype(np.int8)  # pyright: ignore[reportAttributeAccessIssue]


def _holds(rows: pa.Table, side: str, places: NDArray[np.int64], now: Strings) -> NDArray[np.bool_]:
    """Whether what was measured is what is there; a clip's id, which names its content, always is."""
    measured = rows[f"measured_{side}"]
    current = pc.equal(measured, now.take(pa.array(places)))  # pyright: ignore[reportAttributeAccessIssue]
    by_content = pc.equal(measured, rows[f"clip_{side}"])  # pyright: ignore[reportAttributeAccessIssue]
    return pc.or_(pc.fill_null(current, False), by_content).to_numpy()  # pyright: ignore[reportAttributeAccessIssue]
