"""k-means against its float64 reference, planted clusters, and what has no clusters."""

import numpy as np
import pytest

from gpu_kernels.dedup import products, references
from gpu_kernels.dedup.kmeans import assign, kmeans, mini_batches, moved, part_of_step, seeds, sums


@pytest.fixture(autouse=True, params=["numpy", "openvino"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_WORTH_COMPILING", np.inf if request.param == "numpy" else 0)


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def planted(clusters: int, each: int, width: int = 64, spread: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    label = random.permutation(np.repeat(np.arange(clusters), each))
    middles = unit(random.normal(size=(clusters, width)))
    return unit(middles[label] + spread * unit(random.normal(size=(len(label), width)))), label


def test_assignment_is_that_of_the_reference_also_where_centroids_are_nearly_the_same():
    random = np.random.default_rng(1)
    vectors, centroids = unit(random.normal(size=(3001, 48))), unit(random.normal(size=(70, 48)))
    centroids[41] = centroids[7]
    centroids[50] = unit(centroids[9:10] + 1e-6 * random.normal(size=48))[0]
    nearest, cosines = assign(vectors, centroids)
    expected, values = references.assign(vectors, centroids)
    assert nearest.dtype == np.int32 and np.array_equal(nearest, expected) and (nearest == 7).any()
    np.testing.assert_array_equal(cosines, values)
    assert [len(part) for part in assign(vectors[:0], centroids)] == [0, 0]


def test_sums_are_those_of_the_reference():
    vectors, label = planted(9, 301)
    totals, counts = sums(vectors, label, 11)
    expected, numbers = references.means(vectors, label, 11)
    np.testing.assert_allclose(totals, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(counts, numbers)


def test_planted_clusters_are_found_the_same_way_each_time():
    vectors, label = planted(12, 200)
    centroids = kmeans(vectors, 12)
    nearest, _ = assign(vectors, centroids)
    assert len(set(zip(label.tolist(), nearest.tolist(), strict=True))) == len(set(nearest.tolist())) == 12
    np.testing.assert_array_equal(kmeans(vectors, 12), centroids)
    np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), 1, atol=1e-6)
    assert not np.array_equal(kmeans(vectors, 12, seed=7), centroids)
    few = kmeans(vectors, 12, rows_per_cluster=50)
    assert references.assign(centroids, few)[1].min() > 0.99


def test_lloyd_never_gets_worse():
    vectors, _ = planted(30, 60, spread=1.5)
    scores = [
        float(assign(vectors, kmeans(vectors, 20, iterations=n))[1].mean(dtype=np.float64)) for n in (1, 2, 4, 30)
    ]
    assert scores[0] < scores[1] < scores[3] and scores == sorted(scores)


def test_more_clusters_than_the_data_has():
    vectors, _ = planted(3, 10)
    assert kmeans(vectors, 100).shape == (100, 64)
    same = np.repeat(vectors[:1], 5, axis=0)
    centroids = kmeans(same, 4)
    assert np.isfinite(centroids).all() and references.assign(same, centroids)[1].min() > 0.999
    apart = kmeans(np.concatenate([same, vectors[:3]]), 4)
    assert references.assign(vectors[:3], apart)[1].min() > 0.99


def test_mini_batches_lead_to_clusters_about_as_tight_as_those_of_all_vectors():
    vectors, _ = planted(12, 400, spread=1.0)
    random = np.random.default_rng(2)
    some = random.permutation(vectors)
    first = seeds(vectors, 12, random)
    reached = [
        float(assign(vectors, each)[1].mean(dtype=np.float64))
        for each in (first, mini_batches(np.array_split(some, 24), first), kmeans(vectors, 12))
    ]
    assert reached[1] - reached[0] > 0.9 * (reached[2] - reached[0]) > 0.05
    # One batch of everything is one of Lloyd's steps.
    step = moved(part_of_step([vectors], first), first)
    np.testing.assert_array_equal(mini_batches([vectors], first), step)


def test_a_step_is_the_same_however_it_is_divided():
    vectors, _ = planted(9, 301, spread=1.0)
    centroids = kmeans(vectors, 9, iterations=1)
    whole = part_of_step([vectors], centroids)
    for parts in (2, 7):
        shared = sum(part_of_step(np.array_split(part, 3), centroids) for part in np.array_split(vectors, parts)[::-1])
        np.testing.assert_array_equal(shared, whole)
    expected, _ = sums(vectors, assign(vectors, centroids)[0], 9)
    np.testing.assert_allclose(whole, expected, atol=301 * 2.0**-24)
