"""One side of benchmarks/semdedup.py, in a process of its own. Prints a JSON line: CPU seconds, peak memory, steps.

    python semdedup.py semdedup SIDE FOLDER OUT CLUSTERS ITERATIONS
    python semdedup.py clusters|diverse|isolated SIDE VECTORS.f32 WIDTH COUNT FOUND.npy

SIDE: ours | faiss | sklearn, and of `clusters` ours_mini_batch. `semdedup` reads Parquet of ids and vectors, and writes
ids and distances by cluster, the pruning tables and the ids that go. The peers do it as cosmos-curate and NeMo Curator
do, with k-means of faiss or of scikit-learn, and each cluster's upper triangle by numpy in blocks.
"""

# pyright: basic

import json
import sys
import time
from pathlib import Path

import numpy as np

steps: dict[str, float] = {}
EPS = 0.01
NEIGHBOURS, ITERATIONS = 5, 10


def step(name, work):
    began = time.process_time()
    found = work()
    steps[name] = round(time.process_time() - began, 2)
    return found


def peak_mib() -> float:
    """Of this process; `ru_maxrss` has its parent's in it, from before it became this one."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def ours_semdedup(folder: Path, out: Path, clusters: int, iterations: int) -> None:
    from curate_assets.video.semdedup import run_semdedup
    from curate_assets.video.vector_files import parts_in_files
    from curate_resources.storage.root import Storage
    from curate_resources.tables.vector_clusters import Training

    run_semdedup(parts_in_files(Storage(str(folder))), Storage(str(out)), clusters, Training(iterations), [EPS])


def peer_semdedup(side: str, folder: Path, out: Path, clusters: int, iterations: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = step("read", lambda: pq.read_table(folder).combine_chunks())
    ids = table["id"].combine_chunks()
    vectors = table["embedding"].combine_chunks().flatten().to_numpy().reshape(len(ids), -1)
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    del table
    if side == "faiss":
        import faiss

        faiss.omp_set_num_threads(1)
        model = faiss.Kmeans(
            vectors.shape[1], clusters, niter=iterations, spherical=True, seed=0, max_points_per_centroid=len(vectors)
        )
        step("k-means", lambda: model.train(vectors))
        label = step("assigned", lambda: model.index.search(vectors, 1)[1][:, 0])
        centroids = model.centroids
    else:
        from sklearn.cluster import KMeans

        model = KMeans(clusters, n_init=1, max_iter=iterations, random_state=0, init="random")
        label = step("k-means", lambda: model.fit_predict(vectors))
        centroids = model.cluster_centers_ / np.linalg.norm(model.cluster_centers_, axis=1, keepdims=True)
    step("pruned", lambda: prune(ids, vectors, label, centroids, out, pa, pq))


def prune(ids, vectors, label, centroids, out, pa, pq) -> None:
    order, removed = np.argsort(label, kind="stable"), []
    edges = np.searchsorted(label[order], np.arange(len(centroids) + 1))
    for cluster, centroid in enumerate(centroids):
        rows = order[edges[cluster] : edges[cluster + 1]]
        distance = 1 - vectors[rows] @ centroid
        by = np.argsort(-distance, kind="stable")
        rows, distance = rows[by], distance[by]
        mine = vectors[rows]
        best, which = np.zeros(len(rows), np.float32), np.arange(len(rows))
        for start in range(0, len(rows), 1024):
            stop = min(start + 1024, len(rows))
            scores = mine[:stop] @ mine[start:stop].T
            scores[np.arange(stop)[:, None] >= np.arange(start, stop)] = -np.inf
            which[start:stop], best[start:stop] = scores.argmax(axis=0), scores.max(axis=0)
        best[:1] = 0
        members = {
            "id": ids.take(rows),
            "embedding": pa.FixedSizeListArray.from_arrays(mine.reshape(-1), mine.shape[1]),
        }
        for name, columns in (
            ("members", members | {"cosine_dist_to_cent": distance}),
            ("pruned", {"id": ids.take(rows), "max_id": ids.take(rows[which]), "cosine_sim_score": best}),
        ):
            path = out / name / f"{cluster}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table(columns), path, use_dictionary=False, compression="none", write_statistics=False)
        removed.append(ids.take(rows[best > np.float32(1 - EPS)]))
    path = out / "extraction" / f"unique_ids_{EPS}.parquet" / "part.0.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table({"id": pa.concat_arrays(removed)}), path)


def trained(side: str, vectors: np.ndarray, count: int) -> np.ndarray:
    """Centroids after ten iterations over all vectors, or of mini-batches."""
    if side == "faiss":
        import faiss

        faiss.omp_set_num_threads(1)
        model = faiss.Kmeans(
            vectors.shape[1], count, niter=ITERATIONS, spherical=True, seed=0, max_points_per_centroid=len(vectors)
        )
        model.train(vectors)
        return model.centroids
    if side == "sklearn":
        from sklearn.cluster import MiniBatchKMeans

        model = MiniBatchKMeans(count, batch_size=max(4096, 8 * count), n_init=1, max_iter=1, random_state=0)
        found = model.fit(vectors).cluster_centers_
        return found / np.linalg.norm(found, axis=1, keepdims=True)
    from tempfile import TemporaryDirectory

    from curate_resources.storage.root import Storage
    from curate_resources.tables.stored_vectors import StoredVectors
    from curate_resources.tables.vector_clusters import Training, clusters

    with TemporaryDirectory() as folder:
        parts = (vectors[start : start + 4096] for start in range(0, len(vectors), 4096))
        stored = StoredVectors.written(Storage(folder), "vectors.lance", parts)
        assert stored is not None
        return clusters(stored, count, Training(ITERATIONS, mini_batch=side == "ours_mini_batch"))


def diverse(side: str, vectors: np.ndarray, count: int) -> np.ndarray:
    """The rows that a greedy k-centre algorithm chooses; that of the peer is the one of active learning's libraries."""
    if side == "ours":
        from gpu_kernels.dedup.sampling import most_different

        return most_different(vectors, count)[0]
    from sklearn.metrics import pairwise_distances

    chosen = [int(np.argmax(vectors @ vectors.mean(axis=0)))]
    nearest = pairwise_distances(vectors, vectors[chosen]).ravel()
    while len(chosen) < count:
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, pairwise_distances(vectors, vectors[chosen[-1:]]).ravel())
    return np.array(chosen)


def isolated(side: str, vectors: np.ndarray, count: int) -> np.ndarray:
    """The rows that are farthest from their five nearest others."""
    if side == "ours":
        from gpu_kernels.dedup.sampling import isolation

        far = isolation(vectors, NEIGHBOURS)
    elif side == "faiss":
        import faiss

        faiss.omp_set_num_threads(1)
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        far = 1 - index.search(vectors, NEIGHBOURS + 1)[0][:, 1:].mean(axis=1)
    else:
        from sklearn.neighbors import NearestNeighbors

        model = NearestNeighbors(n_neighbors=NEIGHBOURS, metric="cosine", algorithm="brute").fit(vectors)
        far = model.kneighbors()[0].mean(axis=1)
    return np.argsort(-far, kind="stable")[:count]


def main() -> None:
    task, side, source = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    if side.startswith("ours"):
        sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    began = time.process_time()
    if task == "semdedup":
        out, clusters, iterations = Path(sys.argv[4]), int(sys.argv[5]), int(sys.argv[6])
        if side == "ours":
            ours_semdedup(source, out, clusters, iterations)
        else:
            peer_semdedup(side, source, out, clusters, iterations)
    else:
        vectors = np.fromfile(source, np.float32).reshape(-1, int(sys.argv[4]))
        work = {"clusters": trained, "diverse": diverse, "isolated": isolated}[task]
        np.save(sys.argv[6], work(side, vectors, int(sys.argv[5])))
    cpu = time.process_time() - began
    print(json.dumps({"cpu_s": round(cpu, 2), "peak_mib": round(peak_mib()), "steps": steps}), flush=True)


if __name__ == "__main__":
    main()
