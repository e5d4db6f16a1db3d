"""What the vector kernels mean, in float64 and plain numpy, with whole matrices: for tests and checks of every form."""

import numpy as np


def neighbours(queries: np.ndarray, stored: np.ndarray, floor: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns and cosines (as float32) of all pairs of unit vectors at or above `floor`, by row and column."""
    cosines = (queries.astype(np.float64) @ stored.astype(np.float64).T).astype(np.float32)
    rows, columns = np.nonzero(cosines >= floor)
    return rows, columns, cosines[rows, columns]


def assign(vectors: np.ndarray, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The centroid with the greatest product, int32 [n], the first of several, and their cosine, float32 [n]."""
    cosines = vectors.astype(np.float64) @ centroids.astype(np.float64).T
    nearest = cosines.argmax(axis=1)
    return nearest.astype(np.int32), np.clip(cosines[np.arange(len(vectors)), nearest], -1, 1).astype(np.float32)


def means(vectors: np.ndarray, nearest: np.ndarray, clusters: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums, float64 [k, d], and numbers, int64 [k], of the vectors of each cluster."""
    member = np.arange(clusters)[:, None] == nearest
    return member.astype(np.float64) @ vectors.astype(np.float64), member.sum(axis=1)
