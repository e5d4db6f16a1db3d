"""All near pairs of a large set of vectors, by cells around pivots, on sketches that fit into memory.

Pivots are random rows: training them gains nothing here. Every row has a home, the cell of the pivot with the greatest
product, and looks into the cells of those that are nearly as great, within a margin. Two rows are compared if one looks
into the home of the other. A margin of sqrt(2 - 2 t) misses nothing for a cosine of t, because
(x - y) . (p - q) <= 2 |x - y|; far less does where a difference is spread over many directions, and a sample of true
neighbours says how much.

The steps are functions of parts, of rows and then of cells, so that several workers can share them; what they return
does not depend on how the work was divided.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.dedup.products import FAST_ERROR, TileProduct, Vectors, at_least, cosines_of
from gpu_kernels.dedup.sketches import NearSketches, Sketches

Rows = NDArray[np.int64]
Fetch = Callable[[Rows], Vectors]
"""Vectors, float32 [n, d], of rows in increasing order."""

_BLOCK = 1024
_ASKING = 256
_ASKED = 2048
_SAMPLED = 512
"""Rows whose true neighbours the margin is chosen by."""
_TOO_FEW = 50


@dataclass(frozen=True)
class Pivots:
    """What decides which rows are compared.

    Attributes:
        sketches: float32 [k, s] of length 1.
        margin: a row looks into the cells of pivots whose products are at most this much less than its greatest one.
        floor: the least cosine of a pair.
        seen: true pairs that the margin was chosen by.
        recall: the share of pairs that is found at least, at 95 % (rule of three); None if too few were seen.
    """

    sketches: Vectors
    margin: float
    floor: float
    seen: int = 0
    recall: float | None = None


@dataclass(frozen=True)
class Looks:
    """Of some rows: int32 [n] their homes, and which row (int64, of all) looks into which other cell (int32)."""

    homes: NDArray[np.int32]
    rows: Rows
    cells: NDArray[np.int32]


def choose_pivots(sketches: Sketches, fetch: Fetch, floor: float, seed: int = 0, count: int | None = None) -> Pivots:
    """Random rows as pivots, and the margin with which the neighbours of some other random rows are found, and twice
    as much.

    Args:
        sketches: float16 [n, s] of all rows.
        fetch: the vectors themselves.
        floor: the least cosine of a pair.
        seed: of what is drawn.
        count: of pivots; `None` is what costs the least, about.
    """
    random, rows = np.random.default_rng(seed), len(sketches)
    count = min(rows, count or max(8, min(8192, round((2 * rows) ** 0.5))))
    chosen = sketches[np.sort(random.permutation(rows)[:count])].astype(np.float32)
    pivots = chosen / np.maximum(np.linalg.norm(chosen, axis=1, keepdims=True), 1e-9)
    exact = float(np.sqrt(max(0.0, 2 - 2 * floor))) + 2 * FAST_ERROR
    one, other = _sampled_pairs(sketches, fetch, floor, np.sort(random.permutation(rows)[:_SAMPLED]))
    if len(one) < _TOO_FEW:
        # Six deviations of a difference in no special direction.
        margin = 6 * exact * (2 / max(1, fetch(np.zeros(1, np.int64)).shape[1])) ** 0.5
        return Pivots(pivots, min(exact, margin), floor, len(one))
    a, b = (sketches[rows].astype(np.float32) @ pivots.T for rows in (one, other))
    pair = np.arange(len(one))
    short = np.minimum(a.max(axis=1) - a[pair, b.argmax(axis=1)], b.max(axis=1) - b[pair, a.argmax(axis=1)])
    margin = min(exact, 2 * float(short.max()) + 0.01)
    return Pivots(pivots, margin, floor, len(one), 1.0 if margin == exact else 1 - 3 / len(one))


def looks(sketches: Sketches, first: int, pivots: Pivots) -> Looks:
    """Where some rows are at home, and into which other cells they look.

    Args:
        sketches: float16 [n, s] of rows `first` and following.
    """
    product = TileProduct(sketches.shape[1], float(sketches.size) * len(pivots.sketches))
    homes = np.empty(len(sketches), np.int32)
    rows, cells = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)]
    for start in range(0, len(sketches), _BLOCK):
        scores = product(sketches[start : start + _BLOCK].astype(np.float32), pivots.sketches)
        home, best = scores.argmax(axis=1), scores.max(axis=1, keepdims=True)
        row, cell = at_least(scores - best, -pivots.margin)
        away = cell != home[row]
        homes[start : start + _BLOCK] = home
        rows.append(row[away] + (start + first))
        cells.append(cell[away].astype(np.int32))
    return Looks(homes, np.concatenate(rows), np.concatenate(cells))


class Cells:
    """Rows by cell.

    Args:
        parts: `looks` of all rows, in order.
        count: of pivots.
    """

    def __init__(self, parts: list[Looks], count: int) -> None:
        homes = np.concatenate([part.homes for part in parts])
        rows, cells = np.concatenate([part.rows for part in parts]), np.concatenate([part.cells for part in parts])
        edges, visiting = np.arange(count + 1), np.argsort(cells, kind="stable")
        self._at_home, self._visitors = np.argsort(homes, kind="stable"), rows[visiting]
        self._homes = np.searchsorted(homes[self._at_home], edges)
        self._visits = np.searchsorted(cells[visiting], edges)
        self.looks_per_row = 1 + len(rows) / max(1, len(homes))

    def candidates(self, sketches: Sketches, floor: float, cells: range) -> NDArray[np.int64]:
        """Pairs of rows, int64 [2, m], the smaller one first, that may be near: those of one or more cells.

        Args:
            sketches: float16 [n, s] of all rows.
        """
        work = float(np.diff(self._homes)[cells.start : cells.stop].max(initial=0)) * len(sketches)
        near = NearSketches(sketches.shape[1], floor, work)
        found = [np.zeros((2, 0), np.int64)]
        for cell in cells:
            home = self._at_home[self._homes[cell] : self._homes[cell + 1]]
            everyone = np.concatenate([home, self._visitors[self._visits[cell] : self._visits[cell + 1]]])
            for one, other in _near(sketches, near, len(home), everyone):
                pair = np.stack([everyone[one], everyone[other]])
                found.append(np.sort(pair, axis=0))
        return np.concatenate(found, axis=1)


def confirmed(
    candidates: NDArray[np.int64], fetch: Fetch, floor: float, block: int = 1 << 16
) -> tuple[Rows, Rows, Vectors]:
    """The pairs whose cosine is `floor` at least.

    Args:
        candidates: int64 [2, m], in any order, some of them twice.
        block: candidates whose vectors are in memory at a time.

    Returns:
        int64 [k], int64 [k], the smaller row first, and float32 [k] cosines; by row.
    """
    one, other = candidates
    order = np.lexsort((other, one))
    one, other = one[order], other[order]
    new = np.ones(len(one), np.bool_)
    new[1:] = (one[1:] != one[:-1]) | (other[1:] != other[:-1])
    one, other = one[new], other[new]
    cosine = np.empty(len(one), np.float32)
    for start in range(0, len(one), block):
        part = slice(start, start + block)
        rows, place = np.unique(np.concatenate([one[part], other[part]]), return_inverse=True)
        vectors, half = fetch(rows), len(one[part])
        cosine[part] = cosines_of(vectors, place[:half], vectors, place[half:])
    hit = cosine >= np.float32(floor)
    return one[hit], other[hit], cosine[hit]


def _near(sketches: Sketches, near: NearSketches, at_home: int, everyone: Rows) -> Iterator[tuple[Rows, Rows]]:
    """Places in `everyone` of candidates, of which the first is at home."""
    if at_home == 0 or len(everyone) < 2:
        return
    mine = sketches[everyone].astype(np.float32)  # numpy takes its time for this
    asked = near.asked(mine, -(-len(mine) // _ASKING) * _ASKING)
    for top in range(0, at_home, _ASKING):
        asking = near.asking(mine[top : min(at_home, top + _ASKING)], _ASKING)
        bound = near.bound(asking)
        for left in range(top, len(asked), _ASKED):
            one, other = at_least(near.scores(asking, asked[left : left + _ASKED]), bound)
            once = one + top < other + left
            yield one[once] + top, other[once] + left


def _sampled_pairs(sketches: Sketches, fetch: Fetch, floor: float, sample: Rows) -> tuple[Rows, Rows]:
    """Near pairs of some rows with all, found without pivots."""
    near = NearSketches(sketches.shape[1], floor, float(len(sample)) * len(sketches))
    sides = [near.asking(sketches[sample[top : top + _ASKING]], _ASKING) for top in range(0, len(sample), _ASKING)]
    found = [np.zeros((2, 0), np.int64)]
    for left in range(0, len(sketches), _ASKED):
        asked = near.asked(sketches[left : left + _ASKED], _ASKED)
        for number, asking in enumerate(sides):
            one, other = at_least(near.scores(asking, asked), near.bound(asking))
            pair = np.stack([sample[one + number * _ASKING], other + left])
            found.append(np.sort(pair[:, pair[0] != pair[1]], axis=0))
    one, other, _ = confirmed(np.concatenate(found, axis=1), fetch, floor)
    return one, other
