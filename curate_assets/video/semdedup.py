"""`curate semdedup`: SemDeDup over named vectors, with the parameters and the files of cosmos-curate's dedup step."""

import io
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate_assets.video.named_vectors import NamedPart, NamedRows, kept_on_disk
from curate_assets.video.vector_files import CLUSTERED, EXTRACTED
from curate_resources.storage.root import Storage
from curate_resources.tables import vector_clusters
from curate_resources.tables.stored_vectors import Rows, Share, StoredVectors, Vectors, in_turn
from curate_resources.tables.vector_clusters import Training
from curate_resources.tables.vector_pairs import near_pairs
from gpu_kernels.dedup.semdedup import PrunedCluster, kept, pruned_cluster
from gpu_kernels.errors import UserError

LEAST_EPS = 1e-4
_DIGITS = 5
"""Of `eps` in the names of files, as the reader of these files has it."""

_ROWS = 16384
_HUNDRED = Training(iterations=100)
"""As the reference's."""


@dataclass(frozen=True)
class Summary:
    """What one bound keeps."""

    eps: float
    kept: int
    removed: int
    total: int


@dataclass(frozen=True)
class PairsFound:
    """How many pairs have a cosine of `least` at least, how many of them lie across clusters, and what share of all
    pairs is found at least, where enough were seen to tell."""

    least: float
    pairs: int
    across_clusters: int
    recall: float | None


def eps_text(eps: float) -> str:
    """`eps` as it is in the names of files.

    Raises:
        UserError: it is too small, too large, or has more digits than these names have.
    """
    if not LEAST_EPS <= eps < 1 or round(eps, _DIGITS) != eps:
        raise UserError(f"--eps {eps:g}: give a number from {LEAST_EPS:g} to below 1, with up to {_DIGITS} decimals")
    return f"{eps:.{_DIGITS}f}".rstrip("0")


def run_semdedup(
    parts: Iterable[NamedPart],
    output: Storage,
    clusters: int = 4,
    training: Training = _HUNDRED,
    eps: Sequence[float] = (0.01,),
    overwrite: bool = False,
    pairs: float | None = None,
    share: Share = in_turn,
) -> tuple[list[Summary], PairsFound | None]:
    """Cluster vectors, prune each cluster, and write what cosmos-curate's dedup step writes; what each bound keeps.

    The vectors lie in the output folder while it runs, at last twice; in memory there are their ids, and the largest
    cluster. Of fewer vectors than clusters, each is its own. A cluster without vectors has no files.

    Args:
        pairs: also find all pairs of rows of this cosine at least, in whichever clusters they are; what was found
            comes back.
        share: does the parts of the work; the result is the same.

    Raises:
        UserError: a bound is none; or the folder holds the files of an earlier run, and `overwrite` is not asked for.
    """
    names = {each: eps_text(each) for each in eps}
    earlier, working = _earlier(output, overwrite), f"working-{uuid.uuid4().hex[:12]}"
    try:
        rows = kept_on_disk(parts, output, f"{working}/vectors.lance")
        for path in earlier:
            output.delete(path)
        count = min(clusters, len(rows.ids))
        centroids = vector_clusters.clusters(rows.vectors, count, training, share, rows.order)
        _write(output, f"{CLUSTERED}/kmeans_centroids.npy", _npy(centroids))
        nearest = vector_clusters.assigned(rows.vectors, centroids, share, training.device)
        summaries = _pruned(rows, nearest, centroids, names, output, working, share)
        return summaries, None if pairs is None else _paired(rows, nearest, pairs, output, share)
    finally:
        output.delete_folder(working)


def _earlier(output: Storage, overwrite: bool) -> list[str]:
    """The files of an earlier run; those of clusters that are no more would be read as this run's."""
    found = [file.path for folder in (CLUSTERED, EXTRACTED) for file in output.walk(folder)]
    if found and not overwrite:
        raise UserError(f"{output.uri(found[0])} is of an earlier run: name another folder, or give --overwrite")
    return found


def _pruned(
    rows: NamedRows,
    nearest: NDArray[np.int32],
    centroids: Vectors,
    names: dict[float, str],
    output: Storage,
    working: str,
    share: Share,
) -> list[Summary]:
    """Prune and write each cluster."""
    by_id = nearest[rows.order]
    order = rows.order[np.argsort(by_id, kind="stable")]
    members = np.split(order, np.cumsum(np.bincount(by_id, minlength=len(centroids)))[:-1])
    removed: dict[float, list[pa.Array]] = {each: [] for each in names}
    with vector_clusters.grouped(rows.vectors, nearest, output, working) as (vectors, became):
        parts = [(number, each, became[each]) for number, each in enumerate(members) if len(each)]
        for places, similarities in share(_prune, (rows.ids, vectors, centroids, output), parts):
            for each, found in removed.items():
                found.append(rows.ids.take(pa.array(places[~kept(similarities, each)])))
    return [_write_kept(output, each, names[each], found, len(rows.ids)) for each, found in removed.items()]


def _prune(
    common: tuple[pa.Array, StoredVectors, Vectors, Storage], part: tuple[int, Rows, Rows]
) -> tuple[Rows, NDArray[np.float32]]:
    """Prune one cluster, given by its rows in the order of their ids and by where their vectors are, and write its
    files; its rows in its own order, and how similar each is to one before it."""
    (names, vectors, centroids, output), (number, members, places) = common, part
    matrix = vectors.fetch(places)
    cluster = pruned_cluster(matrix, centroids[number])
    ids = names.take(pa.array(members))
    path = f"{CLUSTERED}/embs_by_nearest_center/nearest_cent_{number}/actor_0.parquet"
    _write_members(output, path, ids, matrix, cluster)
    pruned = {
        "id": _plain(ids.take(pa.array(cluster.rows))),
        "max_id": _plain(ids.take(pa.array(cluster.nearest))),
        "cosine_sim_score": cluster.similarities,
    }
    _write(output, f"{EXTRACTED}/semdedup_pruning_tables/cluster_{number}.parquet", _parquet(pa.table(pruned)))
    return members[cluster.rows], cluster.similarities


def _write_members(output: Storage, path: str, ids: pa.Array, matrix: Vectors, cluster: PrunedCluster) -> None:
    """Some rows at a time: a cluster is the most that memory has to hold."""
    import pyarrow.parquet as pq

    kind = pa.list_(pa.float32())
    names = _plain(ids[:0]).type
    schema = pa.schema([("id", names), ("embedding", kind), ("cosine_dist_to_cent", pa.float32())])
    with (
        output.writer(path) as file,
        pq.ParquetWriter(file, schema, use_dictionary=False, compression="none", write_statistics=False) as writer,
    ):
        for start in range(0, len(cluster.rows), _ROWS):
            some = cluster.rows[start : start + _ROWS]
            starts = pa.array(np.arange(len(some) + 1, dtype=np.int32) * matrix.shape[1])
            vectors = pa.ListArray.from_arrays(starts, pa.array(matrix[some].reshape(-1)))
            distances = pa.array(cluster.distances[start : start + _ROWS])
            writer.write(pa.table([_plain(ids.take(pa.array(some))), vectors, distances], schema=schema))


def _write_kept(output: Storage, eps: float, name: str, removed: Sequence[pa.Array], total: int) -> Summary:
    """Write the summary of a bound, and the ids that it removes: their reader takes a folder of that name."""
    ids = _plain(pa.concat_arrays(removed))
    _write(output, f"{EXTRACTED}/unique_ids_{name}.parquet/part.0.parquet", _parquet(pa.table({"id": ids})))
    found = Summary(eps, total - len(ids), len(ids), total)
    text = f"eps,kept,removed,total\n{name},{found.kept},{found.removed},{found.total}\n"
    _write(output, f"{EXTRACTED}/dedup_summary_{name}.csv", text.encode())
    return found


def _paired(rows: NamedRows, nearest: NDArray[np.int32], least: float, output: Storage, share: Share) -> PairsFound:
    """Find and write all pairs, the smaller id first, by ids."""
    found, pivots = near_pairs(rows.vectors, least, share)
    place = np.empty(len(rows.order), np.int64)
    place[rows.order] = np.arange(len(rows.order))
    one, other = found["row"].to_numpy(), found["other"].to_numpy()
    ends = np.sort(np.stack([place[one], place[other]]), axis=0)
    order = np.lexsort((ends[1], ends[0]))
    first, second = (rows.order[each[order]] for each in ends)
    across = nearest[first] != nearest[second]
    table = pa.table(
        {
            "id": _plain(rows.ids.take(pa.array(first))),
            "other_id": _plain(rows.ids.take(pa.array(second))),
            "cosine": found["cosine"].take(pa.array(order)),
            "across_clusters": across,
        }
    )
    path = f"{EXTRACTED}/near_pairs.parquet"
    _write(output, path, _parquet(table))
    return PairsFound(least, len(across), int(across.sum()), pivots.recall)


def _plain(ids: pa.Array) -> pa.Array:
    """Texts as other programs have them."""
    return ids.cast(pa.string()) if pa.types.is_large_string(ids.type) else ids


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
