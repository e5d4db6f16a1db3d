"""All near-duplicates in a large set of vectors: ours against faiss-cpu and scikit-learn, which get environments.

    python benchmarks/dedup.py --work build/dedup                                   # 200,000 x 512
    python benchmarks/dedup.py --work build/dedup --rows 1000000 --width 768
    python benchmarks/dedup.py --work build/dedup --sides ours --rows 10000000 --width 128 --kinds badly

Two sets: in `well` rows lie around 2,000 middles, in `badly` there are no clusters at all, so that 1,000 are more than
the data has. A tenth of the rows are planted copies at cosines of 0.992, 0.995 and 0.999; wanted are all pairs of 0.99
and more. Each side runs alone in a process, on one thread, with the OPENBLAS variables that it is quickest with: those
of this process for faiss, whose own OpenBLAS is twice as slow without OPENBLAS_CORETYPE=Haswell on AVX-512, and none
for numpy, which is twice as slow with it. Recall is of the planted pairs, precision is checked in float64.
"""

# pyright: basic

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from floors import write_figures
from peers.environments import python_of

SIDES = ("ours", "faiss_within", "faiss_ivf_1", "faiss_ivf_8", "sklearn")
FLOOR = 0.99
PART = 1 << 16


def unit(vectors: np.ndarray) -> np.ndarray:
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def made(folder: Path, kind: str, rows: int, width: int) -> tuple[Path, np.ndarray]:
    """A file of float32 rows, and the planted pairs, int64 [2, m]; made in parts, so that 10 million fit."""
    path = folder / f"{kind}_{rows}_{width}.f32"
    planted = path.with_suffix(".npy")
    if planted.exists():
        return path, np.load(planted)
    random = np.random.default_rng(7)
    if kind == "well":
        middles = unit(random.standard_normal((2000, width), np.float32))
    else:
        middles = unit(random.standard_normal((64, width), np.float32))
        middles *= (np.arange(1, 65) ** -0.5)[:, None].astype(np.float32)
    pairs: list[np.ndarray] = []
    with path.open("wb") as file:
        for first in range(0, rows, PART):
            count = min(PART, rows - first)
            copies = count // 11
            fresh = count - copies
            noise = unit(random.standard_normal((fresh, width), np.float32))
            if kind == "well":
                vectors = unit(middles[random.integers(0, 2000, fresh)] + 0.7 * noise)
            else:
                vectors = unit(random.standard_normal((fresh, 64), np.float32) @ middles + 1.1 * noise)
            source = random.choice(fresh, copies, replace=False)
            away = random.standard_normal((copies, width), np.float32)
            away = unit(away - (away * vectors[source]).sum(1, keepdims=True) * vectors[source])
            cosine = random.choice(np.array([0.992, 0.995, 0.999], np.float32), copies)[:, None]
            all_rows = np.concatenate([vectors, cosine * vectors[source] + np.sqrt(1 - cosine**2) * away])
            order = random.permutation(count)
            place = np.argsort(order) + first
            all_rows[order].astype(np.float32).tofile(file)
            pairs.append(np.sort(np.stack([place[source], place[fresh:]]), axis=0))
    found = np.concatenate(pairs, axis=1)
    np.save(planted, found)
    return path, found


def run(side: str, path: Path, width: int, folder: Path) -> dict:
    """What a side printed, and the pairs that it found."""
    one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS")} | one
    if side.startswith("faiss"):
        environment["OPENBLAS_CORETYPE"] = os.environ.get("OPENBLAS_CORETYPE", "Haswell")
    python = sys.executable if side == "ours" else str(python_of(folder, "dedup"))
    script, out = Path(__file__).resolve().parent / "peers" / "near_pairs.py", folder / "found.npy"
    command = [python, str(script), side, str(path), str(width), str(FLOOR), str(out)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return {**json.loads(done.stdout.splitlines()[-1]), "found": np.load(out)}


def judged(found: np.ndarray, planted: np.ndarray, path: Path, width: int) -> tuple[float, float]:
    """Recall of the planted pairs, and the share of what was found that is near in float64, less a float32's rounding
    at the floor."""
    rows = path.stat().st_size // (4 * width)
    recall = float(np.isin(planted[0] * rows + planted[1], found[0] * rows + found[1]).mean())
    vectors = np.memmap(path, np.float32, "r", shape=(rows, width))
    near = 0
    for start in range(0, found.shape[1], 4096):
        one, other = (vectors[each[start : start + 4096]].astype(np.float64) for each in found)
        near += int((np.einsum("ij,ij->i", one, other) >= FLOOR - 1e-6).sum())
    return recall, near / max(1, found.shape[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="a folder for data and environments")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--kinds", nargs="+", default=["well", "badly"], choices=["well", "badly"])
    parser.add_argument("--sides", nargs="+", default=list(SIDES))
    parser.add_argument("--json", type=Path, help="write the figures there, for floors.py")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    print(
        "| data | side | CPU s | peak MiB | recall | precision | steps |", "|---|---|---:|---:|---:|---:|---|", sep="\n"
    )
    ours_by_kind: dict[str, tuple[float, float]] = {}
    faiss_per_ours: dict[str, float] = {}
    for kind in options.kinds:
        path, planted = made(options.work, kind, options.rows, options.width)
        quickest, ours = np.inf, np.nan
        for side in options.sides:
            result = run(side, path, options.width, options.work)
            recall, precision = judged(result["found"], planted, path, options.width)
            steps = ", ".join(f"{name} {seconds}" for name, seconds in result["steps"].items())
            shown = f"{result['cpu_s']:.1f} | {result['peak_mib']:,} | {recall:.5f} | {precision:.5f}"
            print(f"| {kind} | {side} | {shown} | {steps} |", flush=True)
            if side == "ours":
                ours, ours_by_kind[kind] = result["cpu_s"], (recall, precision)
            elif side.startswith("faiss") and recall >= 0.999:
                quickest = min(quickest, result["cpu_s"])
        if "ours" in options.sides and np.isfinite(quickest):
            faiss_per_ours[kind] = quickest / ours
    figures = {
        "recall_least": min((recall for recall, _ in ours_by_kind.values()), default=np.nan),
        "precision_least": min((precision for _, precision in ours_by_kind.values()), default=np.nan),
        "faiss_per_ours_where_clusters_are_clear": faiss_per_ours.get("well", np.nan),
        "faiss_per_ours_where_there_are_none": faiss_per_ours.get("badly", np.nan),
    }
    write_figures(options.json, __file__, figures)


if __name__ == "__main__":
    main()
