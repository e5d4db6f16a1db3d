"""`curate semdedup`: SemDeDup over named vectors, with the parameters and the files of cosmos-curate's dedup step."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate_assets.video.named_vectors import NamedVectors
from curate_resources.storage.root import Storage
from gpu_kernels.dedup.kmeans import assign, kmeans
from gpu_kernels.dedup.semdedup import PrunedCluster, kept, pruned_cluster
from gpu_kernels.errors import UserError

LEAST_EPS = 1e-4
_DIGITS = 5
"""Of `eps` in the names of files, as the reader of these files has it."""

_CLUSTERED, _EXTRACTED = "clustering_results", "extraction"


@dataclass(frozen=True)
class Summary:
    """What one bound keeps."""

    eps: float
    kept: int
    removed: int
    total: int


def eps_text(eps: float) -> str:
    """`eps` as it is in the names of files.

    Raises:
        UserError: it is too small, too large, or has more digits than these names have.
    """
    if not LEAST_EPS <= eps < 1 or round(eps, _DIGITS) != eps:
        raise UserError(f"--eps {eps:g}: give a number from {LEAST_EPS:g} to below 1, with up to {_DIGITS} decimals")
    return f"{eps:.{_DIGITS}f}".rstrip("0")


def run_semdedup(
    vectors: NamedVectors,
    output: Storage,
    clusters: int = 4,
    iterations: int = 100,
    seed: int = 42,
    eps: Sequence[float] = (0.01,),
    overwrite: bool = False,
) -> list[Summary]:
    """Cluster vectors, prune each cluster, and write what cosmos-curate's dedup step writes; what each bound keeps.

    Of fewer vectors than clusters, each is its own. A cluster without vectors has no files.

    Raises:
        UserError: a bound is none; or the folder holds the files of an earlier run, and `overwrite` is not asked for.
    """
    names = {each: eps_text(each) for each in eps}
    _make_way(output, overwrite)
    centroids = kmeans(vectors.matrix, min(clusters, len(vectors.matrix)), iterations, seed)
    nearest, _ = assign(vectors.matrix, centroids)
    _write(output, f"{_CLUSTERED}/kmeans_centroids.npy", _npy(centroids))
    removed: dict[float, list[pa.Array]] = {each: [] for each in names}
    for number, centroid in enumerate(centroids):
        rows = np.flatnonzero(nearest == number)
        if len(rows) == 0:
            continue
        cluster = pruned_cluster(vectors.matrix, rows, centroid)
        _write_cluster(output, number, vectors, cluster)
        ids = vectors.ids.take(pa.array(cluster.rows))
        for each, found in removed.items():
            found.append(ids.filter(pa.array(~kept(cluster.similarities, each))))
    return [_write_kept(output, each, names[each], found, len(vectors.ids)) for each, found in removed.items()]


def _make_way(output: Storage, overwrite: bool) -> None:
    """Remove the files of an earlier run; those of clusters that are no more would be read as this run's."""
    found = [file.path for folder in (_CLUSTERED, _EXTRACTED) for file in output.walk(folder)]
    if found and not overwrite:
        raise UserError(f"{output.uri(found[0])} is of an earlier run: name another folder, or give --overwrite")
    for path in found:
        output.delete(path)


def _write_cluster(output: Storage, number: int, vectors: NamedVectors, cluster: PrunedCluster) -> None:
    rows, dimensions = pa.array(cluster.rows), vectors.matrix.shape[1]
    ids, flat = vectors.ids.take(rows), pa.array(vectors.matrix[cluster.rows].reshape(-1))
    starts = pa.array(np.arange(len(rows) + 1, dtype=np.int64) * dimensions)
    members = pa.table(
        {
            "id": ids,
            "embedding": pa.LargeListArray.from_arrays(starts, flat).cast(pa.list_(pa.float32())),
            "cosine_dist_to_cent": cluster.distances,
        }
    )
    pruned = pa.table(
        {"id": ids, "max_id": vectors.ids.take(pa.array(cluster.nearest)), "cosine_sim_score": cluster.similarities}
    )
    _write(output, f"{_CLUSTERED}/embs_by_nearest_center/nearest_cent_{number}/actor_0.parquet", _parquet(members))
    _write(output, f"{_EXTRACTED}/semdedup_pruning_tables/cluster_{number}.parquet", _parquet(pruned))


def _write_kept(output: Storage, eps: float, name: str, removed: Sequence[pa.Array], total: int) -> Summary:
    """Write the summary of a bound, and the ids that it removes: their reader takes a folder of that name."""
    ids = pa.concat_arrays(removed)
    _write(output, f"{_EXTRACTED}/unique_ids_{name}.parquet/part.0.parquet", _parquet(pa.table({"id": ids})))
    found = Summary(eps, total - len(ids), len(ids), total)
    text = f"eps,kept,removed,total\n{name},{found.kept},{found.removed},{found.total}\n"
    _write(output, f"{_EXTRACTED}/dedup_summary_{name}.csv", text.encode())
    return found


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _parquet(rows: pa.Table) -> bytes:
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(rows, file)
    return file.getvalue()


def _write(output: Storage, path: str, data: bytes) -> None:
    output.write(path, data)
