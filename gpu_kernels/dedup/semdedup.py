"""SemDeDup: what lies, within a cluster, closer than a bound to something that comes before it.

Abbas, Tirumala, Simig, Ganguli and Morcos: "SemDeDup: Data-efficient learning at web-scale through semantic
deduplication" (2023), algorithm A7, in the variant that keeps "hard" examples: those far from the centroid come first.
"""

from dataclasses import dataclass

import numpy as np

_TILE = 1024
_MARGIN = 1e-5
"""More than a product of unit vectors in float32 is off."""
_FEW = 4
"""Candidates per row up to which each is looked at on its own."""


@dataclass(frozen=True)
class PrunedCluster:
    """The rows of one cluster, the farthest from its centroid first.

    Attributes:
        rows: int64 [m] which of them these are.
        distances: float32 [m] cosine distance of each to the centroid.
        nearest: int64 [m] the most similar row before each; of the first, itself.
        similarities: float32 [m] their cosine; of the first, 0.
    """

    rows: np.ndarray
    distances: np.ndarray
    nearest: np.ndarray
    similarities: np.ndarray


def pruned_cluster(vectors: np.ndarray, centroid: np.ndarray) -> PrunedCluster:
    """Order a cluster, and find for each of its rows the most similar one before it.

    Args:
        vectors: float32 [m, d] its unit vectors; of rows equally far from the centroid, the first comes first.
        centroid: float32 [d] of any length.
    """
    direction = centroid.astype(np.float64) / max(float(np.linalg.norm(centroid.astype(np.float64))), 1e-12)
    tiles = (vectors[start : start + _TILE].astype(np.float64) for start in range(0, len(vectors), _TILE))
    cosines = np.concatenate([np.zeros(0), *(np.einsum("ij,j->i", tile, direction) for tile in tiles)])
    distances = (1 - np.clip(cosines, -1, 1)).astype(np.float32)
    order = np.argsort(-distances, kind="stable")
    nearest, similarities = nearest_before(vectors[order])
    return PrunedCluster(order, distances[order], order[nearest], similarities)


def nearest_before(vectors: np.ndarray, tile: int = _TILE) -> tuple[np.ndarray, np.ndarray]:
    """For each of some unit vectors the most similar one before it; of several alike, the first.

    Products of tiles in float32 say which pairs matter, and these are computed again in float64: what is found does not
    depend on the tiles.

    Args:
        vectors: float32 [m, d].
        tile: rows that are compared with as many at a time.

    Returns:
        int64 [m] places, and float32 [m] cosines; of the first vector, its own place and 0.
    """
    nearest = np.arange(len(vectors))
    best = np.full(len(vectors), -np.inf, np.float32)
    for start in range(0, len(vectors), tile):
        later = vectors[start : start + tile]
        for top in range(0, start + 1, tile):
            earlier = vectors[top : top + tile]
            scores = earlier @ later.T
            if top == start:
                scores[np.tril_indices(len(later))] = -np.inf
            most = scores.max(axis=0)
            columns = np.flatnonzero((most >= best[start : start + tile] - _MARGIN) & (most > -np.inf))
            if len(columns) == 0:
                continue
            values = _exact(earlier, later[columns], scores[:, columns] >= most[columns] - _MARGIN)
            place = values.argmax(axis=0)
            value = values[place, np.arange(len(columns))]
            better = value > best[start + columns]  # of equals, an earlier tile's
            best[start + columns[better]] = value[better]
            nearest[start + columns[better]] = top + place[better]
    best[:1] = 0
    return nearest, np.clip(best, -1, 1)


def kept(similarities: np.ndarray, eps: float) -> np.ndarray:
    """Which rows are kept, bool [m]: those not more similar than `1 - eps` to a row before them, as float32.

    A row at that very bound is kept. The paper's reference code and cosmos-curate's dedup step say so, too;
    cosmos-curate's shard step removes it where it has to go by the pruning tables.
    """
    return similarities <= np.float32(1 - eps)


def _exact(earlier: np.ndarray, later: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The wanted ones of the products of two tiles, computed in float64, as float32 [e, l]; the others are -inf."""
    row, column = np.nonzero(wanted)
    if len(row) > _FEW * len(later):
        products = earlier.astype(np.float64) @ later.T.astype(np.float64)
        return np.where(wanted, products, -np.inf).astype(np.float32)
    values = np.full(wanted.shape, -np.inf, np.float32)
    values[row, column] = np.einsum("ij,ij->i", earlier[row].astype(np.float64), later[column].astype(np.float64))
    return values
