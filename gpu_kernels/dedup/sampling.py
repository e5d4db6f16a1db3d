"""Choices from vectors: the most different ones, the most isolated ones, those nearest to examples.

All take and give rows of unit vectors, float32 [n, d]; of rows that are as good, the first. None makes a matrix of n by
n.
"""

import numpy as np

from gpu_kernels.dedup.products import TileProduct

_BLOCK = 1024


def most_different(vectors: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows that cover all: each, the one that is least similar to those before it; the first is nearest to the mean.

    The greedy k-centre algorithm of Gonzalez, "Clustering to minimize the maximum intercluster distance" (1985): no
    choice of as many has less than half its greatest distance from a row to the nearest chosen one.

    Returns:
        int64 [k] rows in the order in which they were chosen, and float32 [k] the cosine of each with the nearest one
        before it; of the first, 0. `k` is `count`, or n if there are fewer.
    """
    count = min(count, len(vectors))
    if count == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.float32)
    chosen = [int(np.argmax(vectors @ vectors.mean(axis=0, dtype=np.float64).astype(np.float32)))]
    cosines = [0.0]
    nearest = np.full(len(vectors), -np.inf, np.float32)
    for _ in range(1, count):
        nearest = np.maximum(nearest, vectors @ vectors[chosen[-1]])
        nearest[chosen[-1]] = np.inf
        chosen.append(int(np.argmin(nearest)))
        cosines.append(float(nearest[chosen[-1]]))
    return np.array(chosen, np.int64), np.clip(np.array(cosines, np.float32), -1, 1)


def isolation(vectors: np.ndarray, neighbours: int) -> np.ndarray:
    """How far each row is from its nearest others: 1 less the mean cosine with `neighbours` of them.

    Returns:
        float32 [n], from 0 to 2; over those that there are where these are fewer, and NaN where there is no other.
    """
    found = np.full(len(vectors), np.nan, np.float32)
    wanted = min(neighbours, len(vectors) - 1)
    if wanted < 1:
        return found
    vectors = np.ascontiguousarray(vectors, np.float32)
    product = TileProduct(vectors.shape[1], float(len(vectors)) * vectors.size / 2, "float32")
    best = np.full((len(vectors), wanted), -np.inf, np.float32)
    for start in range(0, len(vectors), _BLOCK):
        block = slice(start, start + _BLOCK)
        for left in range(start, len(vectors), _BLOCK):
            scores, other = product(vectors[block], vectors[left : left + _BLOCK]), slice(left, left + _BLOCK)
            if left == start:
                scores = scores.copy()
                np.fill_diagonal(scores, -np.inf)
            else:
                best[other] = _greatest(best[other], np.ascontiguousarray(scores.T))
            best[block] = _greatest(best[block], scores)
        far = 1 - np.clip(np.sort(best[block], axis=1), -1, 1).mean(axis=1, dtype=np.float64)
        found[block] = far
    return found


def nearest_to(vectors: np.ndarray, examples: np.ndarray) -> np.ndarray:
    """The cosine of each row with the example that is most similar to it.

    Args:
        examples: float32 [m, d], at least one.

    Returns:
        float32 [n].
    """
    blocks = range(0, len(vectors), _BLOCK)
    best = [(vectors[start : start + _BLOCK] @ examples.T).max(axis=1) for start in blocks]
    return np.clip(np.concatenate([np.zeros(0, np.float32), *best]), -1, 1)


def _greatest(best: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The greatest numbers of each row, float32 [n, k], of as many as there were and of more, float32 [n, m]: few of
    these are greater than the least before them, and only they are looked at."""
    row, column = np.divmod(np.flatnonzero(scores > best.min(axis=1, keepdims=True)), scores.shape[1])
    counts = np.bincount(row, minlength=len(best))
    if len(row) == 0:
        return best
    greater = np.full((len(best), int(counts.max())), -np.inf, np.float32)
    greater[row, np.arange(len(row)) - (np.cumsum(counts) - counts)[row]] = scores[row, column]
    both = np.concatenate([best, greater], axis=1)
    return np.partition(both, both.shape[1] - best.shape[1], axis=1)[:, -best.shape[1] :]
