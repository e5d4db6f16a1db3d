"""Pairs of vectors that are near each other: exact cosine search, tile by tile."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from gpu_kernels.dedup.products import TileProduct, at_least, cosines_of

_COLUMNS = 4096


class NeighbourSearch(Protocol):
    """Finds the similar pairs between two sets of vectors; scale is a matter of another implementation."""

    def __call__(
        self, queries: np.ndarray, vectors: np.ndarray, floor: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows, columns and similarities of all pairs at or above `floor`, ordered by row and column."""
        ...


def exact_neighbours(
    queries: np.ndarray, vectors: np.ndarray, floor: float, block: int = 1024
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every pair of unit vectors whose cosine similarity is at least `floor`, by blocked matrix products.

    Candidates by the fast product, then each pair on its own in float64: its value does not depend on the blocks.

    Args:
        queries: float32 [n, d].
        vectors: float32 [m, d].
        floor: compared as float32.
        block: queries at a time.

    Returns:
        int64 [k] rows of `queries`, int64 [k] rows of `vectors`, float32 [k] similarities; by row and column.
    """
    return _confirmed(queries, vectors, floor, _candidates(queries, vectors, floor, block, itself=False))


def exact_pairs(vectors: np.ndarray, floor: float, block: int = 1024) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every pair of some unit vectors with a cosine of `floor` at least: as `exact_neighbours` of them with themselves,
    in half the time, with `row < column`."""
    return _confirmed(vectors, vectors, floor, _candidates(vectors, vectors, floor, block, itself=True))


def _candidates(
    queries: np.ndarray, vectors: np.ndarray, floor: float, block: int, itself: bool
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    queries, vectors = (np.ascontiguousarray(each, np.float32) for each in (queries, vectors))
    product = TileProduct(vectors.shape[1], float(len(queries)) * vectors.size)
    for top in range(0, len(queries), block):
        for left in range(top // _COLUMNS * _COLUMNS if itself else 0, len(vectors), _COLUMNS):
            scores = product(queries[top : top + block], vectors[left : left + _COLUMNS])
            row, column = at_least(scores, floor - product.error)
            row, column = row + top, column + left
            wanted = row < column if itself else slice(None)
            yield row[wanted], column[wanted]


def _confirmed(
    queries: np.ndarray, vectors: np.ndarray, floor: float, candidates: Iterator[tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    none = np.zeros(0, np.int64)
    found = [(none, none, np.zeros(0, np.float32))]
    for row, column in candidates:
        similarity = cosines_of(queries, row, vectors, column)
        hit = similarity >= np.float32(floor)
        found.append((row[hit], column[hit], similarity[hit]))
    row, column, similarity = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((column, row))
    return row[order], column[order], similarity[order]
