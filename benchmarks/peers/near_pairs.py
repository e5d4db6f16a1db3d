"""One side of benchmarks/dedup.py, in a process of its own: all pairs of a set of vectors above a cosine.

    python near_pairs.py SIDE VECTORS.f32 WIDTH FLOOR FOUND.npy

SIDE: ours | faiss_within | faiss_ivf_N (looks into N cells) | sklearn. The peers train k-means with 5 iterations on
50 rows per cluster, 1,000 clusters, as they would for SemDeDup. Prints a JSON line of CPU seconds by step.
"""

# pyright: basic

import json
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

CLUSTERS = 1000
steps: dict[str, float] = {}


def step(name, work):
    began = time.process_time()
    found = work()
    steps[name] = round(time.process_time() - began, 2)
    return found


def peak_mib() -> float:
    """Of this process; `ru_maxrss` has its parent's in it, from before it became this one."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def ours(path: Path, width: int, floor: float) -> np.ndarray:
    """Reads the file in parts, and keeps sketches of its rows."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from gpu_kernels.dedup.pivot_pairs import Cells, choose_pivots, confirmed, looks
    from gpu_kernels.dedup.sketches import Sketcher

    rows, part, looking = path.stat().st_size // (4 * width), 1 << 13, 1 << 16
    file = path.open("rb", buffering=0)
    buffer = np.empty((part, width), np.float32)

    def read(first: int) -> np.ndarray:
        found = buffer[: rows - first]
        file.seek(first * width * 4)
        file.readinto(memoryview(found).cast("B"))
        return found

    def fetch(wanted: np.ndarray) -> np.ndarray:
        found = np.empty((len(wanted), width), np.float32)
        for place, row in enumerate(wanted.tolist()):
            file.seek(row * width * 4)
            file.readinto(memoryview(found[place]).cast("B"))
        return found

    sample = fetch(np.linspace(0, rows - 1, min(rows, 12288)).astype(np.int64))
    sketcher = step("basis", lambda: Sketcher.fitting(sample, floor, rows))
    sketches = np.empty((rows, len(sketcher.directions)), np.float16)

    def sketch() -> None:
        for first in range(0, rows, part):
            sketches[first : first + part] = sketcher(read(first))

    step("sketches", sketch)
    pivots = step("margin", lambda: choose_pivots(sketches, fetch, floor))
    looked = step(
        "cells", lambda: [looks(sketches[first : first + looking], first, pivots) for first in range(0, rows, looking)]
    )
    cells = Cells(looked, len(pivots.sketches))
    found = step("candidates", lambda: cells.candidates(sketches, floor, range(len(pivots.sketches))))
    one, other, _ = step("confirmed", lambda: confirmed(found, fetch, floor, 1 << 14))
    return np.stack([one, other])


def within(vectors: np.ndarray, label: np.ndarray, floor: float) -> np.ndarray:
    """All pairs inside each cluster, by numpy in blocks."""
    order, found = np.argsort(label, kind="stable"), []
    edges = np.searchsorted(label[order], np.arange(CLUSTERS + 1))
    for first, last in pairwise(edges):
        rows = order[first:last]
        mine = vectors[rows]
        for start in range(0, len(rows), 1024):
            one, other = np.divmod(np.flatnonzero(mine[start : start + 1024] @ mine.T >= floor), len(rows))
            found.append(np.stack([rows[one + start], rows[other]])[:, one + start < other])
    return np.sort(np.concatenate(found, axis=1), axis=0)


def faiss_side(vectors: np.ndarray, floor: float, cells: int | None) -> np.ndarray:
    import faiss

    faiss.omp_set_num_threads(1)
    width = vectors.shape[1]
    trained = faiss.Kmeans(width, CLUSTERS, niter=5, spherical=True, seed=0, max_points_per_centroid=50)
    step("k-means", lambda: trained.train(vectors))
    if cells is None:
        label = step("assigned", lambda: trained.index.search(vectors, 1)[1][:, 0])
        return step("pairs", lambda: within(vectors, label, floor))
    quantizer = faiss.IndexFlatIP(width)
    quantizer.add(trained.centroids)
    index = faiss.IndexIVFFlat(quantizer, width, CLUSTERS, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors[:CLUSTERS])
    step("assigned", lambda: index.add(vectors))
    index.nprobe = cells

    def search() -> np.ndarray:
        found = []
        for first in range(0, len(vectors), 8192):
            limits, _, columns = index.range_search(vectors[first : first + 8192], floor)
            rows = np.repeat(np.arange(len(limits) - 1), np.diff(limits.astype(np.int64))) + first
            found.append(np.stack([rows, columns])[:, rows < columns])
        return np.concatenate(found, axis=1)

    return step("pairs", search)


def sklearn_side(vectors: np.ndarray, floor: float) -> np.ndarray:
    from sklearn.cluster import MiniBatchKMeans

    model = MiniBatchKMeans(CLUSTERS, batch_size=10_000, n_init=1, max_iter=5, random_state=0, init="random")
    label = step("k-means", lambda: model.fit_predict(vectors))
    return step("pairs", lambda: within(vectors, label, floor))


def main() -> None:
    side, path, width, floor, out = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), sys.argv[5]
    began = time.process_time()
    if side == "ours":
        found = ours(path, width, floor)
    else:
        vectors = step("read", lambda: np.fromfile(path, np.float32).reshape(-1, width))
        if side == "sklearn":
            found = sklearn_side(vectors, floor)
        else:
            cells = None if side == "faiss_within" else int(side.removeprefix("faiss_ivf_"))
            found = faiss_side(vectors, floor, cells)
    total = time.process_time() - began
    np.save(out, found.astype(np.int64))
    print(json.dumps({"cpu_s": round(total, 2), "peak_mib": round(peak_mib()), "steps": steps}), flush=True)


if __name__ == "__main__":
    main()
