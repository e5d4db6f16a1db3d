"""Near neighbours, against brute force."""

import numpy as np
import pytest

from gpu_kernels.dedup import products, references
from gpu_kernels.dedup.neighbours import exact_neighbours, exact_pairs


def unit_vectors(count: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, 16)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(autouse=True, params=["numpy", "openvino"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_WORTH_COMPILING", np.inf if request.param == "numpy" else 0)


def test_every_pair_above_the_floor_is_found_and_blocks_change_nothing():
    queries, vectors = unit_vectors(57, 1), unit_vectors(5131, 2)
    vectors[3] = queries[5]
    expected = references.neighbours(queries, vectors, 0.5)
    assert len(expected[0]) > 1000
    for block in (1, 7, 57, 1000):
        for one, other in zip(exact_neighbours(queries, vectors, 0.5, block), expected, strict=True):
            assert np.array_equal(one, other)
    exactly = float(expected[2][17])  # a pair at the very floor is one
    assert exactly in exact_neighbours(queries, vectors, exactly)[2]


def test_pairs_within_a_set_are_found_once():
    vectors = unit_vectors(4500, 4)
    rows, columns, cosines = references.neighbours(vectors, vectors, 0.8)
    once = rows < columns
    for one, other in zip(exact_pairs(vectors, 0.8, 500), (rows, columns, cosines), strict=True):
        assert np.array_equal(one, other[once])


def test_nothing_to_search_gives_nothing():
    empty = np.zeros((0, 16), np.float32)
    assert [len(part) for part in exact_neighbours(empty, unit_vectors(3, 1), 0.5)] == [0, 0, 0]
    assert [len(part) for part in exact_neighbours(unit_vectors(3, 1), empty, 0.5)] == [0, 0, 0]


def test_a_fast_product_is_off_by_less_than_it_says_and_the_same_wherever_it_is_made():
    one, other = unit_vectors(700, 1), unit_vectors(900, 2)
    product = products.TileProduct(16, 1)
    whole = product(one, other).copy()
    assert np.abs(whole - one.astype(np.float64) @ other.T).max() < product.error
    if product.error == products.FAST_ERROR:
        assert np.array_equal(product(one[37:401], other[5:600]), whole[37:401, 5:600])
