"""Near pairs of vectors that are more than memory holds: what stays in memory are sketches, 124 or 252 bytes a row for
copies."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate_resources.tables.stored_vectors import Share, StoredVectors, in_turn
from gpu_kernels.dedup.pivot_pairs import Cells, Looks, Pivots, choose_pivots, confirmed, looks
from gpu_kernels.dedup.sketches import Sketcher, Sketches

_LOOKING = 1 << 17
"""Rows that look for cells in one part."""
_CANDIDATES = 1 << 18
"""Candidates that are confirmed in one part."""
_SAMPLE = 12288


def near_pairs(vectors: StoredVectors, floor: float, share: Share = in_turn, seed: int = 0) -> tuple[pa.Table, Pivots]:
    """All pairs of rows with a cosine of `floor` at least, found by cells around pivots.

    Returns:
        `row` and `other` int64, the smaller one first, and `cosine` float32, by row; and what they were found by,
        with the recall to expect.
    """
    if (rows := vectors.rows()) == 0:
        none, cosines = np.zeros(0, np.int64), np.zeros(0, np.float32)
        return pa.table({"row": none, "other": none, "cosine": cosines}), Pivots(cosines[:, None], 0.0, floor)
    sketcher = Sketcher.fitting(vectors.sample(_SAMPLE, seed), floor, rows)
    sketches = _joined(share(_sketched, (vectors, sketcher), vectors.fragments()), rows, len(sketcher.directions))
    pivots = choose_pivots(sketches, vectors.fetch, floor, seed)
    edges = range(0, len(sketches), _LOOKING)
    parts = share(_looks, (sketches, pivots), [range(at, min(at + _LOOKING, len(sketches))) for at in edges])
    cells = Cells([*parts], len(pivots.sketches))
    step = max(1, len(pivots.sketches) // 64)
    ranges = [range(at, min(at + step, len(pivots.sketches))) for at in range(0, len(pivots.sketches), step)]
    candidates = np.unique(np.concatenate([*share(_candidates, (cells, sketches, floor), ranges)], axis=1), axis=1)
    blocks = [candidates[:, at : at + _CANDIDATES] for at in range(0, candidates.shape[1], _CANDIDATES)]
    found = [*share(_confirmed, (vectors, floor), blocks)] or [confirmed(candidates, vectors.fetch, floor)]
    row, other, cosine = (np.concatenate(each) for each in zip(*found, strict=True))
    return pa.table({"row": row, "other": other, "cosine": cosine}), pivots


def _joined(parts: Iterator[Sketches], rows: int, width: int) -> Sketches:
    """One array of all, while each part goes as it is copied."""
    found = np.empty((rows, width), np.float16)
    start = 0
    for part in parts:
        found[start : start + len(part)] = part
        start += len(part)
    return found


def _sketched(common: tuple[StoredVectors, Sketcher], fragment: int) -> Sketches:
    vectors, sketcher = common
    none = np.zeros((0, len(sketcher.directions)), np.float16)
    return np.concatenate([none, *(sketcher(batch) for batch in vectors.batches(fragment))])


def _looks(common: tuple[Sketches, Pivots], rows: range) -> Looks:
    sketches, pivots = common
    return looks(sketches[rows.start : rows.stop], rows.start, pivots)


def _candidates(common: tuple[Cells, Sketches, float], cells: range) -> NDArray[np.int64]:
    of, sketches, floor = common
    return of.candidates(sketches, floor, cells)


def _confirmed(common: tuple[StoredVectors, float], candidates: NDArray[np.int64]) -> Any:
    vectors, floor = common
    return confirmed(candidates, vectors.fetch, floor, 1 << 14)
