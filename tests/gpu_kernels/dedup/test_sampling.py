"""Choices from vectors, against brute force."""

import numpy as np
import pytest

from gpu_kernels.dedup.sampling import isolation, most_different, nearest_to


def vectors(count: int, seed: int = 0) -> np.ndarray:
    made = np.random.default_rng(seed).normal(0, 1, (count, 12)) + np.eye(12)[0]
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def test_the_most_different_cover_all_as_the_greedy_algorithm_does() -> None:
    made = vectors(60)
    exact = made.astype(np.float64)
    chosen = [int(np.argmax(exact @ exact.mean(axis=0)))]
    while len(chosen) < 20:
        chosen.append(min(set(range(60)) - {*chosen}, key=lambda row: max(exact[row] @ exact[one] for one in chosen)))
    found, cosines = most_different(made, 20)
    assert found.tolist() == chosen
    np.testing.assert_allclose(
        cosines[1:], [(exact[chosen[n]] @ exact[chosen[:n]].T).max() for n in range(1, 20)], atol=1e-6
    )
    assert cosines[0] == 0 and (np.diff(cosines[1:]) > -1e-6).all()  # what is left is ever nearer
    assert sorted(most_different(made, 100)[0].tolist()) == list(range(60))
    assert len(most_different(made[:0], 5)[0]) == 0


def test_every_planted_cluster_is_covered_before_one_has_two() -> None:
    made = np.repeat(np.eye(8, 12, dtype=np.float32), [1, 1, 1, 1, 1, 1, 1, 500], axis=0)
    assert sorted(map(tuple, made[most_different(made, 8)[0]])) == sorted(map(tuple, np.eye(8, 12)))


@pytest.mark.parametrize(("count", "neighbours"), [(1500, 5), (40, 1), (4, 9)])
def test_isolation_is_the_mean_distance_to_the_nearest_others(count: int, neighbours: int) -> None:
    made = vectors(count, 3)
    cosines = made.astype(np.float64) @ made.T
    np.fill_diagonal(cosines, -9)
    nearest = -np.sort(-cosines, axis=1)[:, : min(neighbours, count - 1)]
    np.testing.assert_allclose(isolation(made, neighbours), 1 - nearest.mean(axis=1), atol=1e-6)


def test_what_is_alone_has_no_isolation() -> None:
    assert np.isnan(isolation(vectors(1), 5)).all() and len(isolation(vectors(0), 5)) == 0


def test_the_nearest_to_examples() -> None:
    made, examples = vectors(1500, 1), vectors(7, 2)
    expected = (made.astype(np.float64) @ examples.T).max(axis=1)
    np.testing.assert_allclose(nearest_to(made, examples), expected, atol=1e-6)
