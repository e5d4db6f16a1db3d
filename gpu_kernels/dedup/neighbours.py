"""Pairs of vectors that are near each other: exact cosine search."""

from typing import Protocol

import numpy as np
from pydantic import Field

from gpu_kernels.strict import StrictModel


class DuplicatePairsConfig(StrictModel):
    """Which pairs are kept as measurements."""

    floor_similarity: float = Field(default=0.8, gt=-1, le=1)
    """Pairs of clips below this cosine similarity are not recorded."""


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

    Args:
        queries: float32 [n, d].
        vectors: float32 [m, d].

    Returns:
        int64 [k] rows of `queries`, int64 [k] rows of `vectors`, float32 [k] similarities.
    """
    rows: list[np.ndarray] = []
    columns: list[np.ndarray] = []
    for start in range(0, len(queries), block):
        # Candidates by the fast product, then each pair on its own: its value must not depend on the blocks around it.
        row, column = np.nonzero(queries[start : start + block] @ vectors.T >= floor - 1e-4)
        rows.append(row + start)
        columns.append(column)
    row = np.concatenate(rows) if rows else np.zeros(0, np.int64)
    column = np.concatenate(columns) if columns else np.zeros(0, np.int64)
    similarity = np.array(
        [
            np.dot(queries[i].astype(np.float64), vectors[j].astype(np.float64))
            for i, j in zip(row, column, strict=True)
        ],
        np.float32,
    ).reshape(-1)
    hit = similarity >= floor
    return row[hit], column[hit], similarity[hit]
