"""k-means over vectors that are more than memory holds: what stays in memory are a sample, and the centroids."""

import numpy as np
from numpy.typing import NDArray

from curate_resources.tables.stored_vectors import Rows, Share, StoredVectors, Vectors, in_turn
from gpu_kernels.dedup import kmeans

_SAMPLE = 12288
_SAMPLED = 32
"""Rows per cluster that k-means begins with, at least."""
_GAIN = 1e-4
"""Iterations over all vectors end when the sum of all cosines gains less, as a share of it."""


def clusters(
    vectors: StoredVectors,
    count: int,
    iterations: int = 10,
    share: Share = in_turn,
    seed: int = 42,
    order: Rows | None = None,
) -> Vectors:
    """Centroids by Lloyd's iterations on a sample and then over all fragments, float32 [count, d].

    They are the same however rows are divided into fragments, batches and workers; and, with an `order`, however they
    are stored.

    Args:
        iterations: at most so many on the sample, and as many over all.
        order: see `StoredVectors.sample`.
    """
    sample = vectors.sample(max(_SAMPLE, _SAMPLED * count), seed, order)
    centroids = kmeans.kmeans(sample, count, iterations, seed)
    del sample
    before = 0.0
    for _ in range(iterations):
        totals = np.zeros(centroids.shape, np.float64)
        for part in share(_step, (vectors, centroids), vectors.fragments()):
            totals += part
        centroids = kmeans.moved(totals, centroids)
        reached = float(np.linalg.norm(totals, axis=1).sum())  # the cosines with the new centroids
        if reached - before <= _GAIN * reached:
            break
        before = reached
    return centroids


def assigned(vectors: StoredVectors, centroids: Vectors, share: Share = in_turn) -> NDArray[np.int32]:
    """The nearest centroid of each row, int32 [n]."""
    found = share(_assigned, (vectors, centroids), vectors.fragments())
    return np.concatenate([np.zeros(0, np.int32), *found])


def _step(common: tuple[StoredVectors, Vectors], fragment: int) -> NDArray[np.float64]:
    vectors, centroids = common
    return kmeans.part_of_step(vectors.batches(fragment), centroids)


def _assigned(common: tuple[StoredVectors, Vectors], fragment: int) -> NDArray[np.int32]:
    vectors, centroids = common
    none = np.zeros(0, np.int32)
    return np.concatenate([none, *(label for _, label in kmeans.assigned(vectors.batches(fragment), centroids))])
