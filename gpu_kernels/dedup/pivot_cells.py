"""Near vectors without comparing all: only those are compared that the same pivots are near to.

Every vector has a home, the cell of its nearest pivot, and looks into the cells of all pivots that are nearly as near.
Two vectors are compared if one looks into the home of the other: a rule of the pair and the pivots alone. Pivots are
any vectors of the data; training them gains nothing here (docs/dedup.md). For a cosine t, a margin of sqrt(2 - 2 t) is
exact, because |x.p - y.p| <= |x - y|; far less suffices where vectors have many dimensions, and `margin_for` measures
how much. Where it cannot be measured there are no pivots, and all vectors are compared: with an exact margin nearly
every cell is looked into, which takes far longer than the products do.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.dedup.neighbours import exact_neighbours
from gpu_kernels.dedup.products import FLOAT32_ERROR, Vectors, at_least, cosines

_BLOCK = 4096
_SAMPLE = 4096
"""Vectors that the margin is measured on."""
_MOST_PIVOTS = 4096


@dataclass(frozen=True)
class PivotCells:
    """Vectors by cell.

    Attributes:
        vectors: float32 [n, d], by home.
        rows: int64 [n], which row each was.
        pivots: float32 [k, d]; without any, all vectors are compared.
        margin: float32 [1]: of a pivot that is nearly as near as the nearest, the cosine is at most this much less.
        homes: int64 [k + 1], where the vectors of each home begin.
        visits: int64 [k + 1], where the visitors of each cell begin.
        visitors: int64, positions in `vectors` of those that look into a cell and are at home elsewhere.
    """

    vectors: Vectors
    rows: NDArray[np.int64]
    pivots: Vectors
    margin: Vectors
    homes: NDArray[np.int64]
    visits: NDArray[np.int64]
    visitors: NDArray[np.int64]

    @classmethod
    def made(cls, vectors: Vectors, rows: NDArray[np.int64], floor: float) -> "PivotCells":
        """With pivots for pairs with a cosine of `floor` at least, as many as serve vectors of this number; without, if
        they have too few pairs to tell the margin by.

        Args:
            vectors: float32 [n, d], of unit length.
            rows: int64 [n].
        """
        chosen = np.random.default_rng(0).permutation(len(vectors))
        pivots = vectors[chosen[: min(_MOST_PIVOTS, int(4 * len(vectors) ** 0.5))]]
        margin = margin_for(vectors[chosen[-_SAMPLE:]], pivots, floor)
        return cls.of(vectors, rows, pivots, margin) if margin is not None else cls.of(vectors, rows, pivots[:0], 0.0)

    @classmethod
    def of(cls, vectors: Vectors, rows: NDArray[np.int64], pivots: Vectors, margin: float) -> "PivotCells":
        """Put unit vectors into cells.

        Args:
            vectors: float32 [n, d].
            rows: int64 [n].
            pivots: float32 [k, d].
            margin: see `margin`.
        """
        if len(pivots) == 0:
            none = np.zeros(0, np.int64)
            return cls(vectors, rows, pivots, np.array([margin], np.float32), none, none, none)
        home, who, where = _looks(vectors, pivots, margin)
        order = np.argsort(home, kind="stable")
        position = np.empty(len(home), np.int64)
        position[order] = np.arange(len(home))
        away = where != home[who]
        who, where = position[who[away]], where[away]
        visiting = np.lexsort((who, where))
        cells = np.arange(len(pivots) + 1)
        return cls(
            vectors[order],
            rows[order],
            pivots,
            np.array([margin], np.float32),
            np.searchsorted(home[order], cells),
            np.searchsorted(where[visiting], cells),
            who[visiting],
        )

    @classmethod
    def stored(cls, arrays: Mapping[str, NDArray[Any]]) -> "PivotCells":
        """From `vars` of one."""
        return cls(**arrays)

    def near(self, queries: Vectors, floor: float) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """Pairs of a query and a vector with a cosine of `floor` at least, of those that are compared.

        Returns:
            int64 [m] rows of `queries`, int64 [m] `rows`, float32 [m] cosines.
        """
        if len(self.pivots) == 0:
            row, position, cosine = exact_neighbours(queries, self.vectors, floor)
            return row, self.rows[position], cosine
        home, who, where = _looks(queries, self.pivots, float(self.margin[0]))
        by_cell, at_home = np.argsort(where, kind="stable"), np.argsort(home, kind="stable")
        cells = np.arange(len(self.pivots) + 1)
        looked, lives = np.searchsorted(where[by_cell], cells), np.searchsorted(home[at_home], cells)
        found: list[NDArray[np.int64]] = [np.zeros((2, 0), np.int64)]
        for cell in np.flatnonzero(np.diff(looked)).tolist():
            asking = who[by_cell[looked[cell] : looked[cell + 1]]]
            first, last = self.homes[cell], self.homes[cell + 1]
            found.append(_hits(queries, asking, self.vectors[first:last], np.arange(first, last), floor))
            hosts = at_home[lives[cell] : lives[cell + 1]]
            guests = self.visitors[self.visits[cell] : self.visits[cell + 1]]
            if len(hosts) and len(guests):
                found.append(_hits(queries, hosts, self.vectors[guests], guests, floor))
        (row, position), count = np.concatenate(found, axis=1), max(1, len(self.rows))
        row, position = np.divmod(np.unique(row * count + position), count)  # either may look into the other's home
        cosine = cosines(queries[row], self.vectors[position])
        hit = cosine >= floor
        return row[hit], self.rows[position[hit]], cosine[hit]


def margin_for(sample: Vectors, pivots: Vectors, floor: float, recall: float = 0.9995) -> float | None:
    """The least margin with which this share of the near pairs of a sample is compared; None if there are too few to
    tell."""
    near = np.triu(sample @ sample.T >= floor, 1)
    a, b = np.nonzero(near)
    if len(a) < 1 / (1 - recall) / 4:
        return None
    scores = sample @ pivots.T
    home, best = scores.argmax(axis=1), scores.max(axis=1)
    short = np.minimum(best[a] - scores[a, home[b]], best[b] - scores[b, home[a]])
    exact = float(np.sqrt(max(0.0, 2 - 2 * floor)))
    return min(exact, float(np.quantile(short, recall)) + 1e-3)


def _looks(vectors: Vectors, pivots: Vectors, margin: float) -> tuple[NDArray[np.int64], ...]:
    """Each vector's home, int64 [n]; and the cells that vectors look into: which vector, and which cell."""
    homes, who, where = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for first in range(0, len(vectors), _BLOCK):
        scores = vectors[first : first + _BLOCK] @ pivots.T
        homes.append(scores.argmax(axis=1))
        row, cell = at_least(scores - scores.max(axis=1, keepdims=True), -margin)
        who.append(row + first)
        where.append(cell)
    return np.concatenate(homes), np.concatenate(who), np.concatenate(where)


def _hits(
    queries: Vectors, asking: NDArray[np.int64], stored: Vectors, positions: NDArray[np.int64], floor: float
) -> NDArray[np.int64]:
    """Candidates of a cell, int64 [2, m]: the fast product may be off in its last digits."""
    row, column = at_least(queries[asking] @ stored.T, floor - FLOAT32_ERROR)
    return np.stack([asking[row], positions[column]])
