"""Near-duplicate search and groups, against brute force and whatever the order of the input."""

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_kernels.dedup.near_duplicates import (
    DuplicateGroupsConfig,
    LumaCurve,
    Quality,
    connected_components,
    exact_neighbours,
    keeper,
    luma_correlation,
)


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


def test_the_keeper_has_most_pixels_then_bitrate_length_sharpness_and_the_smallest_key():
    best = Quality(pixels=400, bitrate=9.0, length_ns=5, sharpness=2.0)
    worse = [
        replace(best, pixels=300, bitrate=99.0),
        replace(best, bitrate=8.0, length_ns=50),
        replace(best, length_ns=4, sharpness=9.0),
        replace(best, sharpness=1.0),
    ]
    for number, other in enumerate(worse):
        assert keeper(["a", "b"], {"a": other, "b": best}) == "b", number
    assert keeper(["b", "a"], {"a": best, "b": best}) == "a"


def filmed(seed: int, seconds: float, rate: float = 25.0, start: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Times in nanoseconds, and brightness that changes as people's movements do, from some moment of a film."""
    at = start + np.arange(0, seconds, 1 / rate)
    waves = np.random.default_rng(seed).uniform([0.3, 0, 0.002], [3.0, 6.3, 0.01], (12, 3))
    luma = 0.4 + sum(size * np.sin(2 * np.pi * pace * at + phase) for pace, phase, size in waves)
    return np.round((at - start) * 1e9).astype(np.int64), np.asarray(luma, np.float32)


@pytest.mark.parametrize("seconds", [3.0, 10.0, 40.0])
def test_a_copy_brightens_and_darkens_with_its_original_and_no_other_moment_does(seconds: float):
    config = DuplicateGroupsConfig()
    assert config.min_luma_correlation is not None
    noise = np.random.default_rng(0)
    for seed in range(20):
        original = LumaCurve.of(*filmed(seed, seconds))
        pts, luma = filmed(seed, seconds, rate=15.0, start=0.08)  # at another rate, and cut two frames later
        copy = LumaCurve.of(pts, 1.3 * luma + 0.1 + noise.normal(0, 0.002, len(luma)).astype(np.float32))
        assert (luma_correlation(original, copy) or 0) >= config.min_luma_correlation
        pts, luma = filmed(seed, seconds, start=100.0 + seed)
        moment = LumaCurve.of(pts, luma + np.linspace(0, 0.2, len(luma), dtype=np.float32))
        assert (luma_correlation(original, moment) or 0) < config.min_luma_correlation


def test_what_does_not_change_is_not_compared():
    pts, luma = filmed(1, 5.0)
    still = LumaCurve.of(pts, np.full(len(pts), 0.5, np.float32))
    assert luma_correlation(still, still) is None
    assert luma_correlation(LumaCurve.of(pts, luma), still) is None
    assert luma_correlation(LumaCurve.of(pts[:1], luma[:1]), LumaCurve.of(pts[:1], luma[:1])) is None
    # The drift of the light is no change, or all moments of an afternoon would be alike.
    drift = LumaCurve.of(pts, np.linspace(0.2, 0.8, len(pts), dtype=np.float32))
    assert np.abs(drift.values[5:-6]).max() < 1e-6
