"""SemDeDup and samples: ours against faiss-cpu and scikit-learn, which get an environment; and memory by rows.

    python benchmarks/semdedup.py --work build/dedup

Vectors are those of dedup.py, `well`: around 2,000 middles, a tenth being planted copies at cosines of 0.992, 0.995 and
0.999. SemDeDup gets them as Parquet, and has 200 clusters, 10 iterations and an eps of 0.01. `found` is the share of
planted copies of which one goes. Samples are 500 rows by greedy k-centre, and the 500 that are farthest from their
five nearest others; `found` is how many of a side's are among ours. k-means alone has 1,000 clusters; `found` is the
mean cosine of vectors with their centroids. One side is one process, on one thread of BLAS.
"""

# pyright: basic

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from dedup import made
from floors import write_figures
from peers.environments import python_of

CLUSTERS, ITERATIONS, COUNT, WIDTH, EPS = 200, 10, 500, 512, "0.01"
TRAINED = 1000
PART = 20_000


def run(task: str, side: str, folder: Path, *arguments: object) -> dict:
    """What a side printed."""
    one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS")} | one
    if side == "faiss":
        environment["OPENBLAS_CORETYPE"] = os.environ.get("OPENBLAS_CORETYPE", "Haswell")
    python = sys.executable if side.startswith("ours") else str(python_of(folder, "semdedup"))
    script = Path(__file__).resolve().parent / "peers" / "semdedup.py"
    command = [python, str(script), task, side, *map(str, arguments)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def as_parquet(path: Path, rows: int) -> Path:
    """The vectors in files with an id for each, which is the number of its row."""
    folder = path.with_suffix(".parquet")
    if not folder.exists():
        vectors = np.memmap(path, np.float32, "r", shape=(rows, WIDTH))
        making = folder.with_suffix(".making")
        making.mkdir(exist_ok=True)
        for start in range(0, rows, PART):
            part = np.array(vectors[start : start + PART])
            starts = pa.array(np.arange(len(part) + 1, dtype=np.int32) * WIDTH)
            column = pa.ListArray.from_arrays(starts, pa.array(part.reshape(-1)))
            ids = [f"{row:09d}" for row in range(start, start + len(part))]
            pq.write_table(pa.table({"id": ids, "embedding": column}), making / f"{start:09d}.parquet")
        making.rename(folder)
    return folder


def found_of(planted: np.ndarray, out: Path) -> float:
    """The share of planted pairs of which a row goes."""
    removed = pq.read_table(out / "extraction" / f"unique_ids_{EPS}.parquet")["id"].to_pylist()
    gone = np.array([int(each) for each in removed], np.int64)
    return float((np.isin(planted[0], gone) | np.isin(planted[1], gone)).mean())


def semdedup(side: str, rows: int, folder: Path) -> tuple[dict, float]:
    path, planted = made(folder, "well", rows, WIDTH)
    out = folder / "semdedup-out"
    shutil.rmtree(out, ignore_errors=True)
    result = run("semdedup", side, folder, as_parquet(path, rows), out, CLUSTERS, ITERATIONS)
    found = found_of(planted, out)
    shutil.rmtree(out)
    return result, found


def clustered(side: str, rows: int, folder: Path) -> tuple[dict, float]:
    """k-means alone, and the mean cosine of the vectors with their centroids."""
    path, _ = made(folder, "badly", rows, WIDTH)
    out = folder / "centroids.npy"
    result = run("clusters", side, folder, path, WIDTH, TRAINED, out)
    vectors, centroids = np.memmap(path, np.float32, "r", shape=(rows, WIDTH)), np.load(out)
    best = [(vectors[start : start + PART] @ centroids.T).max(axis=1) for start in range(0, rows, PART)]
    return result, float(np.concatenate(best).mean(dtype=np.float64))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="a folder for data and environments")
    parser.add_argument("--rows", type=int, default=100_000, help="of SemDeDup and k-centre; a fifth for isolated ones")
    parser.add_argument("--more", type=int, default=400_000, help="rows of SemDeDup by ours alone, for its memory")
    parser.add_argument("--json", type=Path, help="write the figures there, for floors.py")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    print("| task | side | CPU s | peak MiB | found | steps |", "|---|---|---:|---:|---:|---|", sep="\n")

    def show(task: str, side: str, result: dict, found: float) -> None:
        steps = ", ".join(f"{name} {seconds}" for name, seconds in result["steps"].items())
        cpu, peak = f"{result['cpu_s']:.1f}", f"{result['peak_mib']:,}"
        print(f"| {task} | {side} | {cpu} | {peak} | {found:.4f} | {steps} |", flush=True)

    figures: dict[str, float] = {}
    costs: dict[tuple[str, str], dict] = {}
    for side in ("ours", "faiss", "sklearn"):
        costs["semdedup", side], found = semdedup(side, options.rows, options.work)
        figures["semdedup_found"] = found if side == "ours" else figures["semdedup_found"]
        show(f"SemDeDup, {options.rows:,}", side, costs["semdedup", side], found)
    result, found = semdedup("ours", options.more, options.work)
    show(f"SemDeDup, {options.more:,}", "ours", result, found)
    growth = (result["peak_mib"] - costs["semdedup", "ours"]["peak_mib"]) * (1 << 20)
    cosines: dict[str, float] = {}
    for side in ("ours", "ours_mini_batch", "faiss", "sklearn"):
        costs["clusters", side], cosines[side] = clustered(side, options.rows, options.work)
        show(f"k-means, {options.rows:,}", side, costs["clusters", side], cosines[side])
    figures["semdedup_peak_growth_per_vectors"] = growth / ((options.more - options.rows) * WIDTH * 4)
    alike: dict[str, float] = {}
    for task, rows, sides in (
        ("diverse", options.rows, ("ours", "sklearn")),
        ("isolated", options.rows // 5, ("ours", "faiss", "sklearn")),
    ):
        path, _ = made(options.work, "well", rows, WIDTH)
        chosen: dict[str, np.ndarray] = {}
        for side in sides:
            out = options.work / "chosen.npy"
            costs[task, side] = run(task, side, options.work, path, WIDTH, COUNT, out)
            chosen[side] = np.load(out)
            show(f"{task}, {rows:,}", side, costs[task, side], np.isin(chosen[side], chosen["ours"]).mean())
        alike[task] = min(float(np.isin(each, chosen["ours"]).mean()) for each in chosen.values())

    def quickest_peer(task: str) -> float:
        """CPU seconds of it for one of ours."""
        peers = [each["cpu_s"] for (of, side), each in costs.items() if of == task and side != "ours"]
        return min(peers) / costs[task, "ours"]["cpu_s"]

    figures["diverse_as_peers"], figures["isolated_as_peers"] = alike["diverse"], alike["isolated"]
    figures["semdedup_quickest_peer_per_ours"] = quickest_peer("semdedup")
    figures["diverse_quickest_peer_per_ours"] = quickest_peer("diverse")
    figures["isolated_quickest_peer_per_ours"] = quickest_peer("isolated")
    figures["semdedup_peak_per_least_peer"] = costs["semdedup", "ours"]["peak_mib"] / min(
        costs["semdedup", side]["peak_mib"] for side in ("faiss", "sklearn")
    )
    whole, batches = costs["clusters", "ours"]["cpu_s"], costs["clusters", "ours_mini_batch"]["cpu_s"]
    figures["clusters_cpu_per_mini_batch"] = whole / batches
    figures["clusters_mini_batch_cosine_per_least_peer"] = cosines["ours_mini_batch"] / min(
        cosines["faiss"], cosines["sklearn"]
    )
    figures["clusters_cosine_per_faiss"] = cosines["ours"] / cosines["faiss"]
    figures["clusters_faiss_per_ours"] = costs["clusters", "faiss"]["cpu_s"] / whole
    write_figures(options.json, __file__, figures)


if __name__ == "__main__":
    main()
