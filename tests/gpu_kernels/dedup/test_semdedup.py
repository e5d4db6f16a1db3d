"""SemDeDup's rule, against the paper's algorithm written down plainly."""

import numpy as np
import pytest

from gpu_kernels.dedup.semdedup import kept, nearest_before, pruned_cluster


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def planted(seed: int, count: int = 150, dimensions: int = 24) -> np.ndarray:
    """A cluster of which a third are copies of others, some exact and some within a cosine of 0.999."""
    random = np.random.default_rng(seed)
    vectors = unit(random.normal(0, 0.4, (count, dimensions)) + np.eye(dimensions)[0])
    copies, of = np.arange(0, count, 3), random.integers(0, count, len(range(0, count, 3)))
    vectors[copies] = unit(vectors[of] + random.normal(0, 0.005, (len(of), dimensions)) * (of % 2)[:, None])
    return vectors


def by_the_paper(vectors: np.ndarray, centroid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Algorithm A7: the rows by their distance to the centroid, falling; the maximum of each column above the diagonal
    of their similarities."""
    exact = vectors.astype(np.float64)
    order = sorted(
        range(len(exact)), key=lambda row: (np.float32(exact[row] @ centroid / np.linalg.norm(centroid)), row)
    )
    ordered = exact[order]
    triangle = np.triu(ordered @ ordered.T, k=1)
    return np.array(order), np.array([0.0, *(triangle[:place, place].max() for place in range(1, len(order)))])


@pytest.mark.parametrize("seed", range(5))
def test_a_cluster_is_pruned_as_the_paper_says(seed: int) -> None:
    vectors = planted(seed)
    centroid = vectors.mean(axis=0)
    order, similarities = by_the_paper(vectors, centroid.astype(np.float64))
    found = pruned_cluster(vectors, centroid)
    np.testing.assert_array_equal(found.rows, order)
    np.testing.assert_allclose(found.similarities, similarities, atol=1e-6)
    # Who is named is before the row, and as similar as is said.
    place = np.argsort(found.rows)
    assert (place[found.nearest[1:]] < np.arange(1, len(vectors))).all()
    said = (vectors[found.rows].astype(np.float64) * vectors[found.nearest]).sum(axis=1)
    np.testing.assert_allclose(found.similarities[1:], said[1:], atol=1e-6)
    assert (found.nearest[0], found.similarities[0]) == (found.rows[0], 0)
    for eps in (1e-4, 0.01, 0.3):
        assert kept(found.similarities, eps).tolist() == (similarities <= 1 - eps).tolist()
    assert 0 < (~kept(found.similarities, 0.01)).sum() < len(vectors)


@pytest.mark.parametrize("tile", [1, 7, 64, 1000])
def test_what_is_found_does_not_depend_on_the_tiles(tile: int) -> None:
    vectors = np.concatenate([planted(9), planted(9)[:40], np.repeat(planted(9)[:1], 60, axis=0)])
    for one, other in zip(nearest_before(vectors), nearest_before(vectors, tile), strict=True):
        np.testing.assert_array_equal(one, other)


def test_of_rows_that_are_the_same_the_first_stays_and_each_other_names_it() -> None:
    same = np.repeat(planted(3)[:1], 3000, axis=0)
    nearest, similarities = nearest_before(same)
    assert (set(nearest.tolist()), similarities[0], set(similarities[1:].tolist())) == ({0}, 0, {1})


def test_a_row_at_the_bound_is_kept() -> None:
    bound = np.float32(1 - 0.01)
    assert kept(np.array([bound, np.nextafter(bound, np.float32(1))], np.float32), 0.01).tolist() == [True, False]


def test_a_cluster_may_have_one_row_or_none() -> None:
    vectors = planted(1)
    assert pruned_cluster(vectors[4:5], vectors[4]).nearest.tolist() == [0]
    assert len(pruned_cluster(vectors[:0], vectors[4]).similarities) == 0
