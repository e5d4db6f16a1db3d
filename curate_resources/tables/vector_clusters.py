"""k-means over vectors that are more than memory holds: what stays in memory are a sample, and the centroids."""

import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from curate_resources.storage.root import Storage
from curate_resources.tables.stored_vectors import Rows, Share, StoredVectors, Vectors, in_turn
from gpu_kernels.dedup import kmeans

_SAMPLE = 12288
_SAMPLED = 32
"""Rows per cluster that k-means begins with, at least."""
_MINI_BATCH = 4096
_IN_MINI_BATCH = 8
"""Rows per cluster of a mini-batch, at least."""
_GAIN = 1e-4
"""Iterations over all vectors end when the sum of all cosines gains less, as a share of it."""
_ROWS = 4096
"""Of a batch that is written."""


def clusters(
    vectors: StoredVectors,
    count: int,
    iterations: int = 10,
    share: Share = in_turn,
    seed: int = 42,
    order: Rows | None = None,
    mini_batch: bool = False,
) -> Vectors:
    """Centroids by Lloyd's iterations on a sample and then over all fragments, or by mini-batches, float32 [count, d].

    They are the same however rows are divided into fragments, batches and workers; and, with an `order`, however they
    are stored.

    Args:
        iterations: at most so many on the sample, and as many over all, or mini-batches.
        order: see `StoredVectors.sample`.
        mini_batch: go on from the sample with random rows, each at most once, and not with all in each iteration.
    """
    sample = vectors.sample(max(_SAMPLE, _SAMPLED * count), seed, order)
    centroids = kmeans.kmeans(sample, count, iterations, seed)
    del sample
    if mini_batch:
        rows = max(_MINI_BATCH, _IN_MINI_BATCH * count)
        return kmeans.mini_batches(vectors.at_random(rows, iterations, seed, order), centroids)
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


@contextmanager
def grouped(
    vectors: StoredVectors, nearest: NDArray[np.int32], storage: Storage, folder: str
) -> Generator[tuple[StoredVectors, Rows], None, None]:
    """A copy, in each of whose fragments the rows of a cluster are side by side, until the block ends: to fetch a
    cluster from there is ten times as quick.

    Args:
        nearest: int32 [n] the cluster of each row.
        folder: that gets the copy, below `storage`.

    Returns:
        the copy, and int64 [n] the row of it that each row became.
    """
    became, path = np.empty(len(nearest), np.int64), f"{folder}/grouped-{uuid.uuid4().hex[:12]}.lance"

    def rearranged() -> Iterator[Vectors]:
        start = 0
        for fragment in vectors.fragments():
            matrix = np.concatenate([*vectors.batches(fragment)])
            order = np.argsort(nearest[start : start + len(matrix)], kind="stable")
            became[start + order] = np.arange(start, start + len(matrix))
            start += len(matrix)
            for first in range(0, len(order), _ROWS):
                yield matrix[order[first : first + _ROWS]]

    try:
        copy = StoredVectors.written(storage, path, rearranged())
        assert copy is not None, "whoever groups rows has some"
        yield copy, became
    finally:
        storage.delete_folder(path)


def _step(common: tuple[StoredVectors, Vectors], fragment: int) -> NDArray[np.float64]:
    vectors, centroids = common
    return kmeans.part_of_step(vectors.batches(fragment), centroids)


def _assigned(common: tuple[StoredVectors, Vectors], fragment: int) -> NDArray[np.int32]:
    vectors, centroids = common
    none = np.zeros(0, np.int32)
    return np.concatenate([none, *(label for _, label in kmeans.assigned(vectors.batches(fragment), centroids))])
