"""Spherical k-means: unit vectors, and centroids at unit length, which are nearest by cosine.

Dhillon and Modha: "Concept decompositions for large sparse text data using clustering" (2001); begun as Arthur and
Vassilvitskii: "k-means++: the advantages of careful seeding" (2007) do.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from gpu_kernels.dedup.products import FLOAT32_ERROR, Precision, TileProduct, cosines_of

_BLOCK = 1024
_SEEDED_FROM = 16
"""Vectors per cluster that the first centroids are chosen from, at most."""
_PROJECTED = 64
Step = Callable[[Iterable[np.ndarray], np.ndarray], np.ndarray]
"""See `part_of_step`."""
GRID = np.float32(1 << 24)
"""Numbers are multiples of one of so many parts of 1, where sums have to be exact."""
_BATCHES = 8
"""How many are to come, about, when there is one."""


def assign(vectors: np.ndarray, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest centroid of each vector, as float64 has it; of several as near, the first.

    The products of a block of vectors live in the cache until their arg-max is known; there is no n-by-k matrix.

    Args:
        vectors: float32 [n, d], unit length.
        centroids: float32 [k, d], unit length.

    Returns:
        int32 [n] which one, and float32 [n] the cosine with it.
    """
    found, _ = _nearest(vectors, centroids, _product(vectors, centroids, "float32"))
    cosines = cosines_of(vectors, np.arange(len(vectors)), centroids, found.astype(np.int64))
    return found, np.clip(cosines, -1, 1)


def kmeans(
    vectors: np.ndarray,
    clusters: int,
    iterations: int = 100,
    seed: int = 42,
    rows_per_cluster: int | None = None,
    gain: float = 0.0,
) -> np.ndarray:
    """Centroids of `clusters` clusters by Lloyd's iterations, float32 [k, d] at unit length; deterministic by `seed`.

    Ends when no vector changes its cluster, or after `iterations`. A cluster that is left without vectors takes the
    vector that is farthest from its centroid; where there are fewer different vectors than clusters, some stay empty.
    On a CPU that has bfloat16 large inputs are assigned in it, so that another kind of CPU may give other centroids.

    Args:
        vectors: float32 [n, d], unit length.
        clusters: at least 1; with more clusters than vectors some are the same.
        rows_per_cluster: train on a random sample of so many vectors per cluster; `None` is all.
        gain: end, too, when the sum of all cosines gains less, as a share of it.
    """
    random = np.random.default_rng(seed)
    if rows_per_cluster is not None and len(vectors) > clusters * rows_per_cluster:
        vectors = vectors[np.sort(random.permutation(len(vectors))[: clusters * rows_per_cluster])]
    centroids = seeds(vectors, clusters, random)
    product, before, reached = _product(vectors, centroids, "fast"), None, -np.inf
    for _ in range(iterations):
        nearest, cosines = _nearest(vectors, centroids, product)
        total = float(cosines.sum(dtype=np.float64))
        if before is not None and (np.array_equal(nearest, before) or total - reached < gain * abs(total)):
            break
        before, reached = nearest, total
        totals, counts = sums(vectors, nearest, clusters)
        far = np.argsort(cosines, kind="stable")[: int((counts == 0).sum())]
        empty = np.flatnonzero(counts == 0)[: len(far)]
        centroids = moved(totals, centroids)
        centroids[empty] = vectors[far]
    return centroids


def seeds(vectors: np.ndarray, clusters: int, random: np.random.Generator) -> np.ndarray:
    """Vectors to begin with, float32 [clusters, d]: of a sample, each the best of a few drawn by their squared distance
    from those before it (greedy k-means++). Distances are those of random projections: five times as quick, and after
    a few of Lloyd's steps as good."""
    sample = vectors[np.sort(random.permutation(len(vectors))[: clusters * _SEEDED_FROM])]
    seen = sample
    if sample.shape[1] > _PROJECTED:
        seen = sample @ (random.standard_normal((sample.shape[1], _PROJECTED)) / _PROJECTED**0.5).astype(np.float32)
    squares, tries = np.einsum("ij,ij->i", seen, seen), 2 + int(np.log(clusters))

    def squared_distances(places: np.ndarray) -> np.ndarray:
        found = squares[:, None] - 2 * (seen @ seen[places].T) + squares[places]
        found[places, np.arange(len(places))] = 0
        return np.maximum(found, 0, out=found)

    chosen = [int(random.integers(len(sample)))]
    distance = squared_distances(np.array(chosen))[:, 0]
    for _ in range(1, clusters):
        reach = distance.cumsum(dtype=np.float64)
        drawn = np.searchsorted(reach, random.random(tries) * reach[-1], "right").clip(max=len(sample) - 1)
        left = squared_distances(drawn)
        np.minimum(left, distance[:, None], out=left)
        best = int(left.sum(axis=0, dtype=np.float64).argmin())
        chosen.append(int(drawn[best]))
        distance = left[:, best].copy()
    return sample[chosen].copy()


def sums(
    vectors: np.ndarray, nearest: np.ndarray, clusters: int, exactly: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Sums, float64 [k, d], and numbers, int64 [k], of the vectors of each cluster; those of parts can be added up.

    Args:
        exactly: of each number add up 24 bits behind the point: in whichever order, up to 2^28 of them are exact.
    """
    from scipy.sparse import csc_array  # five times as quick as numpy's reduceat

    step, width = max(4 * _BLOCK, clusters), vectors.shape[1]
    rounded, block = (np.empty((min(step, len(vectors)), width), kind) for kind in (np.float32, np.float64))
    totals = np.zeros((clusters, width), np.float64)
    for start in range(0, len(vectors), step):
        part, some = nearest[start : start + step], vectors[start : start + step]
        if exactly:
            some = np.multiply(some, GRID, out=rounded[: len(some)])
            np.rint(some, out=some)
        np.copyto(block[: len(some)], some)
        member = csc_array((np.ones(len(part)), part, np.arange(len(part) + 1)), shape=(clusters, len(part)))
        totals += member @ block[: len(some)]
    return totals / GRID if exactly else totals, np.bincount(nearest, minlength=clusters)


def assigned(batches: Iterable[np.ndarray], centroids: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of vectors, float32 [n, d] each, with their nearest centroids, int32 [n], as `assign` has them."""
    product = None
    for batch in batches:
        product = product or _product(batch, centroids, "float32", _BATCHES)
        yield batch, _nearest(batch, centroids, product)[0]


def part_of_step(batches: Iterable[np.ndarray], centroids: np.ndarray) -> np.ndarray:
    """What some vectors add to one of Lloyd's steps, float64 [k, d]: of parts that are added up, `moved` makes the new
    centroids, so that workers can share a step.

    It is the same to the last bit however vectors are divided into batches and parts: they are assigned as float64 has
    it, and their sums are exact.
    """
    totals = np.zeros(centroids.shape, np.float64)
    for batch, label in assigned(batches, centroids):
        totals += sums(batch, label, len(centroids), exactly=True)[0]
    return totals


def mini_batches(batches: Iterable[np.ndarray], centroids: np.ndarray, step: Step | None = None) -> np.ndarray:
    """Centroids that go with each batch of random vectors towards those that are nearest to them, by the less, the more
    came before: each is the direction of all that ever came to it. Float32 [k, d].

    Sculley: "Web-scale k-means clustering" (2010).

    Args:
        batches: float32 [n, d] each, unit length.
        centroids: float32 [k, d] to begin with, unit length.
        step: that of the CPU, or of a GPU.
    """
    step, totals = step or part_of_step, np.zeros(centroids.shape, np.float64)
    for batch in batches:
        totals += step([batch], centroids)
        centroids = moved(totals, centroids)
    return centroids


def moved(totals: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """The directions of sums, float64 [k, d], as float32; what has none, because it is empty or lies all around, stays
    where it was."""
    lengths = np.linalg.norm(totals, axis=1, keepdims=True)
    return np.where(lengths > 1e-9, totals / np.maximum(lengths, 1e-9), centroids).astype(np.float32)


def _product(vectors: np.ndarray, centroids: np.ndarray, precision: Precision, batches: int = 1) -> TileProduct:
    return TileProduct(centroids.shape[1], float(batches) * len(vectors) * centroids.size, precision)


def _nearest(vectors: np.ndarray, centroids: np.ndarray, product: TileProduct) -> tuple[np.ndarray, np.ndarray]:
    """Which centroid is nearest, int32 [n], and float32 [n] the product with it; where that is in float32, as float64
    has it."""
    vectors, centroids = (np.ascontiguousarray(each, np.float32) for each in (vectors, centroids))
    nearest = np.zeros(len(vectors), np.int32)
    cosines = np.zeros(len(vectors), np.float32)
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK]
        scores = product(block, centroids)
        nearest[start : start + _BLOCK] = scores.argmax(axis=1)
        best = scores.max(axis=1)
        cosines[start : start + _BLOCK] = best
        if product.error > FLOAT32_ERROR:
            continue
        near = scores >= best[:, None] - 2 * product.error
        for row in np.flatnonzero(np.count_nonzero(near, axis=1) > 1).tolist():
            among = np.flatnonzero(near[row])
            exact = centroids[among].astype(np.float64) @ block[row].astype(np.float64)
            nearest[start + row] = among[exact.argmax()]
    return nearest, np.clip(cosines, -1, 1)
