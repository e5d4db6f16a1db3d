"""Near pairs and clusters over the fragments of a Lance dataset, against everything in memory."""

from collections.abc import Iterator
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest

from curate_resources.engines.ray_cluster import RayCluster
from curate_resources.engines.shared_work import on_ray
from curate_resources.storage.root import Storage
from curate_resources.tables import stored_vectors, vector_clusters, vector_pairs
from curate_resources.tables.stored_vectors import StoredVectors
from curate_resources.tables.vector_clusters import Training, assigned, clusters, grouped
from curate_resources.tables.vector_pairs import near_pairs
from gpu_kernels.dedup import kmeans
from gpu_kernels.dedup.neighbours import exact_pairs
from gpu_kernels.errors import UserError


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def written(path: Path, vectors: np.ndarray, fragment: int) -> StoredVectors:
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    dataset = lance.write_dataset(pa.table({"v": column}), path, max_rows_per_file=fragment, max_rows_per_group=64)
    return StoredVectors(str(path), dataset.version, "v")


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    random = np.random.default_rng(3)
    middles = random.normal(size=(6, 160))
    vectors = unit(random.normal(size=(1500, 160)) + 1.5 * middles[random.integers(0, 6, 1500)])
    return random.permutation(np.concatenate([vectors, unit(vectors[:300] + 0.015 * random.normal(size=(300, 160)))]))


def test_pairs_are_those_of_brute_force(tmp_path: Path, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_pairs, "_LOOKING", 500)
    monkeypatch.setattr(vector_pairs, "_CANDIDATES", 100)
    stored = written(tmp_path / "v.lance", vectors, 700)
    assert len(stored.fragments()) == 3
    table, pivots = near_pairs(stored, 0.95)
    row, other, cosine = exact_pairs(vectors, 0.95)
    assert len(row) >= 290 and pivots.recall is not None and pivots.recall > 0.9
    assert table.equals(pa.table({"row": row, "other": other, "cosine": cosine}))


@pytest.mark.deep
def test_several_workers_find_the_same(tmp_path: Path, vectors: np.ndarray) -> None:
    stored = written(tmp_path / "v.lance", vectors, 100)
    import ray  # here, because on import it takes down how clusters authenticate, which other tests change

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        share = on_ray(RayCluster())
        assert near_pairs(stored, 0.95, share)[0].equals(near_pairs(stored, 0.95)[0])
        centroids = clusters(stored, 6, Training(8), share)
        np.testing.assert_array_equal(centroids, clusters(stored, 6, Training(8)))
        np.testing.assert_array_equal(assigned(stored, centroids, share), kmeans.assign(vectors, centroids)[0])
    finally:
        ray.shutdown()


@pytest.mark.parametrize("mini_batch", [False, True])
def test_clusters_depend_neither_on_fragments_nor_on_batches_nor_on_how_rows_are_stored(
    tmp_path: Path, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch, mini_batch: bool
) -> None:
    monkeypatch.setattr(vector_clusters, "_SAMPLE", 300)
    monkeypatch.setattr(vector_clusters, "_MINI_BATCH", 100)
    stored = written(tmp_path / "one.lance", vectors, 10_000)
    training = Training(8, mini_batch=mini_batch)
    one = clusters(stored, 6, training)
    assert (vectors @ one.T).max(axis=1).mean() > 0.8
    assert not np.array_equal(one, clusters(stored, 6, Training(8, mini_batch=not mini_batch)))
    monkeypatch.setattr(stored_vectors, "_BATCH", 70)
    many = written(tmp_path / "many.lance", vectors, 300)
    np.testing.assert_array_equal(clusters(many, 6, training), one)
    turned, order = written(tmp_path / "turned.lance", vectors[::-1].copy(), 500), np.arange(len(vectors))[::-1]
    np.testing.assert_array_equal(clusters(turned, 6, training, order=order), one)


def test_each_row_is_in_one_random_batch_and_a_copy_has_clusters_side_by_side(
    tmp_path: Path, vectors: np.ndarray
) -> None:
    stored = written(tmp_path / "v.lance", vectors, 700)
    batches = [*stored.at_random(500, 8, 0)]
    assert [len(batch) for batch in batches] == [500, 500, 500, 300]
    np.testing.assert_array_equal(np.sort(np.concatenate(batches), axis=0), np.sort(vectors, axis=0))
    assert [len(batch) for batch in stored.at_random(500, 2, 0)] == [500, 500]
    nearest = np.random.default_rng(1).integers(0, 5, len(vectors)).astype(np.int32)
    with grouped(stored, nearest, Storage(str(tmp_path)), "working") as (copy, became):
        np.testing.assert_array_equal(copy.fetch(became), vectors)
        of_copy = np.empty_like(nearest)
        of_copy[became] = nearest
        assert all((np.diff(of_copy[start : start + 700]) >= 0).all() for start in (0, 700, 1400))
        assert (tmp_path / "working").exists()
    assert not [*(tmp_path / "working").glob("*")]


def test_what_is_written_comes_back_and_an_error_on_the_way_is_told_as_it_is(
    tmp_path: Path, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_vectors, "_FRAGMENT", 500 * 4 * vectors.shape[1])
    storage = Storage(str(tmp_path))

    def coming() -> Iterator[np.ndarray]:
        yield vectors[:1000]
        raise UserError("the rest is missing")

    with pytest.raises(UserError, match=r"^the rest is missing$"):
        StoredVectors.written(storage, "v.lance", coming())
    stored = StoredVectors.written(storage, "v.lance", np.array_split(vectors, 5))
    stored = StoredVectors.written(storage, "v.lance", np.array_split(vectors, 5))
    assert (stored.rows(), len(stored.fragments())) == (len(vectors), 4)
    rows = np.random.default_rng(0).permutation(len(vectors))[:700]
    np.testing.assert_array_equal(stored.fetch(rows), vectors[rows])
    assert len(stored.fetch(rows[:0])) == 0


def test_halves_and_nothing_and_what_is_no_vector(tmp_path: Path, vectors: np.ndarray) -> None:
    halves = written(tmp_path / "half.lance", vectors.astype(np.float16), 700)
    found = near_pairs(halves, 0.95)[0]
    assert abs(len(found) - len(exact_pairs(vectors, 0.95)[0])) < 10
    empty = lance.write_dataset(pa.table({"v": pa.array([], pa.list_(pa.float32(), 4))}), tmp_path / "empty.lance")
    assert len(near_pairs(StoredVectors(str(tmp_path / "empty.lance"), empty.version, "v"), 0.9)[0]) == 0
    lance.write_dataset(pa.table({"v": pa.array([[1.0, 0], [1.0]], pa.list_(pa.float32()))}), tmp_path / "bad.lance")
    with pytest.raises(UserError, match="several lengths"):
        near_pairs(StoredVectors(str(tmp_path / "bad.lance"), 1, "v"), 0.9)
