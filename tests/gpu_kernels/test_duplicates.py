"""Near-duplicate search and groups, against brute force and whatever the order of the input."""

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gpu_kernels.duplicates import connected_components, exact_neighbours, keeper


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


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=60), st.randoms(use_true_random=False))
def test_groups_are_the_connected_components_in_any_order(edges, chance: random.Random):
    groups = connected_components(range(31), edges)
    shuffled = [tuple(chance.sample(edge, 2)) for edge in chance.sample(edges, len(edges))]
    assert connected_components(reversed(range(31)), shuffled) == groups
    assert sorted(node for group in groups for node in group) == list(range(31))
    group_of = {node: index for index, group in enumerate(groups) for node in group}
    assert all(group_of[one] == group_of[other] for one, other in edges)
    # No group is larger than its edges make it: each is reachable from its first node.
    for group in groups:
        reached, pending = {group[0]}, [group[0]]
        while pending:
            node = pending.pop()
            near = {b for a, b in edges if a == node} | {a for a, b in edges if b == node}
            pending += near - reached
            reached |= near
        assert reached == set(group)


def test_the_keeper_has_most_pixels_then_most_motion_then_the_smallest_key():
    pixels = {"a": 100, "b": 400, "c": 400, "d": 400}
    motion = {"a": 9.0, "b": 1.0, "c": 2.0, "d": 2.0}
    assert keeper(["a", "b", "c", "d"], pixels, motion) == "c"
