"""Near neighbours, against brute force."""

import numpy as np

from gpu_kernels.dedup.neighbours import exact_neighbours


def unit_vectors(count: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, 16)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_every_pair_above_the_floor_is_found_and_blocks_change_nothing():
    queries, vectors = unit_vectors(57, 1), unit_vectors(131, 2)
    vectors[3] = queries[5]
    row, column, similarity = exact_neighbours(queries, vectors, 0.5)
    brute = queries.astype(np.float64) @ vectors.astype(np.float64).T
    assert set(zip(row.tolist(), column.tolist(), strict=True)) == set(map(tuple, np.argwhere(brute >= 0.5).tolist()))
    np.testing.assert_allclose(similarity, brute[row, column], atol=1e-6)
    for block in (1, 7, 57, 1000):
        for one, other in zip(exact_neighbours(queries, vectors, 0.5, block), (row, column, similarity), strict=True):
            assert np.array_equal(one, other)


def test_nothing_to_search_gives_nothing():
    empty = np.zeros((0, 16), np.float32)
    assert [len(part) for part in exact_neighbours(empty, unit_vectors(3, 1), 0.5)] == [0, 0, 0]
