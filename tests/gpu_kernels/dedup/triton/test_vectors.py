"""The Triton forms of k-means assignment and of neighbours, by Triton's interpreter, against the float64 references."""

import numpy as np
import pytest
import torch

from gpu_kernels.dedup import kmeans, references
from gpu_kernels.dedup.triton.assignment import assign
from gpu_kernels.dedup.triton.kmeans import assigned, part_of_step
from gpu_kernels.dedup.triton.neighbours import neighbours


def unit(rows: int, width: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize(("rows", "clusters", "width"), [(200, 150, 72), (1, 1, 16), (64, 3, 96)])
def test_assignment_is_that_of_the_reference(rows: int, clusters: int, width: int) -> None:
    vectors, centroids = unit(rows, width, 1), unit(clusters, width, 2)
    centroids[clusters // 2] = centroids[0]  # of two that are the same, the first
    expected, cosines = references.assign(vectors, centroids)
    nearest, best = assign(torch.from_numpy(vectors), torch.from_numpy(centroids))
    np.testing.assert_array_equal(nearest.numpy(), expected)
    np.testing.assert_allclose(best.numpy(), cosines, rtol=0, atol=1e-7)
    quickly, near = assign(torch.from_numpy(vectors), torch.from_numpy(centroids), "fast")
    lost = cosines - (vectors * centroids[quickly.numpy()]).sum(axis=1)
    assert lost.max() < 0.003 and np.abs(near.numpy() - cosines).max() < 0.0012


def test_a_step_of_k_means_is_that_of_the_cpu_to_the_last_bit() -> None:
    batches, centroids = [unit(150, 72, 1), unit(70, 72, 3)], unit(40, 72, 2)
    centroids[20] = centroids[0]
    totals = part_of_step(batches, centroids, "cpu")
    np.testing.assert_array_equal(totals, kmeans.part_of_step(batches, centroids))
    sums, _ = references.means(np.concatenate(batches), references.assign(np.concatenate(batches), centroids)[0], 40)
    np.testing.assert_allclose(totals, sums, rtol=0, atol=220 * 2.0**-24)
    for (_, found), (_, expected) in zip(
        assigned(batches, centroids, "cpu"), kmeans.assigned(batches, centroids), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_neighbours_are_those_of_the_reference_also_where_there_is_too_little_room_at_first() -> None:
    queries, stored = unit(150, 72, 1), unit(270, 72, 2)
    stored[:40] = queries[100:140]
    expected = references.neighbours(queries, stored, 0.25)
    assert len(expected[0]) > 300
    for capacity in (1 << 12, 17):
        found = neighbours(torch.from_numpy(queries), torch.from_numpy(stored), 0.25, capacity)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one.numpy(), other, rtol=0, atol=1e-7)
    rows, columns, _ = references.neighbours(stored, stored, 0.25)
    row, column, _ = neighbours(torch.from_numpy(stored), None, 0.25)
    np.testing.assert_array_equal(np.stack([row, column]), np.stack([rows, columns])[:, rows < columns])
    assert len(neighbours(torch.from_numpy(queries[:0]), torch.from_numpy(stored), 0.25)[0]) == 0
