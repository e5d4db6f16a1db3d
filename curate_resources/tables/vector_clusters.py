"""k-means over vectors that are more than memory holds: what stays in memory are a sample, and the centroids."""

import uuid
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from curate_resources.storage.root import Storage
from curate_resources.tables.stored_vectors import Rows, Share, StoredVectors, Vectors, in_turn
from gpu_kernels.dedup import kmeans
from gpu_kernels.devices import gpu_count
from gpu_kernels.errors import UserError
from gpu_kernels.models.files import Device

_SAMPLE = 12288
_SAMPLED = 32
"""Rows per cluster that k-means begins with, at least."""
_MINI_BATCH = 4096
_IN_MINI_BATCH = 8
"""Rows per cluster of a mini-batch, at least."""
_GAIN = 1e-4
"""Iterations end when the sum of all cosines gains less, as a share of it."""
_ROWS = 4096
"""Of a batch that is written."""


@dataclass(frozen=True)
class Training:
    """How centroids are found: by Lloyd's iterations on a sample, and then over all vectors, or by mini-batches.

    Attributes:
        iterations: at most so many on the sample, and as many over all, or mini-batches.
        mini_batch: go on from the sample with random rows, each at most once, and not with all in each iteration.
        device: what goes through the vectors beyond the sample. A GPU does so by itself, without the workers.
    """

    iterations: int = 10
    seed: int = 42
    mini_batch: bool = False
    device: Device = "cpu"


def clusters(
    vectors: StoredVectors,
    count: int,
    training: Training = Training(),
    share: Share = in_turn,
    order: Rows | None = None,
) -> Vectors:
    """Centroids, float32 [count, d]. They are the same however rows are divided into fragments, batches and workers,
    and on a GPU, too; and, with an `order`, however they are stored.

    Args:
        order: see `StoredVectors.sample`.

    Raises:
        UserError: `cuda` is asked for, and there is no GPU, or no Triton.
    """
    where, iterations, seed = _where(training.device), training.iterations, training.seed
    sample = vectors.sample(max(_SAMPLE, _SAMPLED * count), seed, order)
    centroids = kmeans.kmeans(sample, count, iterations, seed, gain=_GAIN)
    del sample
    if training.mini_batch:
        rows = max(_MINI_BATCH, _IN_MINI_BATCH * count)
        return kmeans.mini_batches(
            vectors.at_random(rows, iterations, seed, order), centroids, _form(where).part_of_step
        )
    share, before = in_turn if where == "cuda" else share, 0.0
    for _ in range(iterations):
        totals = np.zeros(centroids.shape, np.float64)
        for part in share(_step, (vectors, centroids, where), vectors.fragments()):
            totals += part
        centroids = kmeans.moved(totals, centroids)
        reached = float(np.linalg.norm(totals, axis=1).sum())  # the cosines with the new centroids
        if reached - before <= _GAIN * reached:
            break
        before = reached
    return centroids


def assigned(
    vectors: StoredVectors, centroids: Vectors, share: Share = in_turn, device: Device = "cpu"
) -> NDArray[np.int32]:
    """The nearest centroid of each row, int32 [n]; see `Training.device`."""
    where = _where(device)
    share = in_turn if where == "cuda" else share
    found = share(_assigned, (vectors, centroids, where), vectors.fragments())
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


_Where = Literal["cpu", "cuda"]


class _Form(Protocol):
    """What `kmeans` has, and its form for GPUs."""

    def assigned(
        self, batches: Iterable[Vectors], centroids: Vectors
    ) -> Iterator[tuple[Vectors, NDArray[np.int32]]]: ...

    def part_of_step(self, batches: Iterable[Vectors], centroids: Vectors) -> NDArray[np.float64]: ...


def _where(device: Device) -> _Where:
    missing = "torch sees no GPU" if gpu_count() == 0 else None
    if missing is None and find_spec("triton") is None:
        missing = "Triton, which comes with torch for CUDA, is not"
    if device == "cuda" and missing is not None:
        raise UserError(f"device is cuda, but {missing} here")
    return "cpu" if device == "cpu" or missing is not None else "cuda"


def _form(where: _Where) -> _Form:
    form: Any = kmeans if where == "cpu" else import_module("gpu_kernels.dedup.triton.kmeans")
    return form


def _step(common: tuple[StoredVectors, Vectors, _Where], fragment: int) -> NDArray[np.float64]:
    vectors, centroids, where = common
    return _form(where).part_of_step(vectors.batches(fragment), centroids)


def _assigned(common: tuple[StoredVectors, Vectors, _Where], fragment: int) -> NDArray[np.int32]:
    vectors, centroids, where = common
    batches, none = vectors.batches(fragment), np.zeros(0, np.int32)
    return np.concatenate([none, *(label for _, label in _form(where).assigned(batches, centroids))])
