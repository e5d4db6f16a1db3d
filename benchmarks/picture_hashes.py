"""What perceptual hashes cost in the scan, and searching them, against their floors.

    python benchmarks/picture_hashes.py FOLDER

For every video of FOLDER: CPU seconds of its scan without the shot network (decode, motion, storyboard), and of what
`picture_hashes` adds: overviews in the child, hashes and windows in its parent. Then pairs of hashes per CPU second,
for several radii: by numpy, as the project searches where faiss is installed (the extra `faiss`), and by faiss alone.
One thread. Prints Markdown.
"""

# pyright: basic, reportMissingImports=false, reportPrivateUsage=false

import argparse
import importlib.util
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from scan import cpu_seconds, videos_of

QUERIES, STORED = 512, 1 << 18
ROUNDS = 3


def scans(folder: Path) -> None:
    """A line for each film."""
    from curate_assets.video.assets.picture_hashes import PicturesOfVideo
    from gpu_kernels.media.segments import WHOLE
    from gpu_kernels.media.storyboards import StoryboardsConfig
    from gpu_kernels.sandbox import DecodingLimits, Nursery
    from gpu_kernels.scan.scan import ScanChunk, read_scan
    from gpu_kernels.scores.motion import MotionSignalsConfig

    print("| film | frames | scan, CPU s | overviews | hashes | windows | us a frame | share | KiB a minute |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for path in videos_of(folder):
        scanned, chunks = {True: float("inf"), False: float("inf")}, []
        for overviews in [False, True] * ROUNDS:
            with Nursery(DecodingLimits()) as nursery:
                before = cpu_seconds()
                board = [StoryboardsConfig()]
                chunks = list(read_scan(nursery, str(path), MotionSignalsConfig(), board, overviews=overviews))
                scanned[overviews] = min(scanned[overviews], cpu_seconds() - before)
        hashed, row = {True: float("inf"), False: float("inf")}, {}
        for windows in [False, True] * ROUNDS:
            pictures = PicturesOfVideo("", WHOLE)
            given = [
                each if windows or not isinstance(each, ScanChunk) else replace(each, overviews=[]) for each in chunks
            ]
            began = time.process_time()
            for chunk in given:
                pictures.add(chunk)
            (row,) = pictures.rows(None)
            hashed[windows] = min(hashed[windows], time.process_time() - began)
        added = scanned[True] - scanned[False], hashed[False], hashed[True] - hashed[False]
        times = np.concatenate([chunk.pts_ns for chunk in chunks if isinstance(chunk, ScanChunk)])
        blobs = ("hashes", "greys", "picture_shares", "window_hashes", "window_greys", "frame_digests")
        size = sum(len(row[name]) for name in blobs) + 12 * len(row["frames"]) + 4 * len(row["window_frames"])
        cells = [path.stem, len(times), f"{scanned[False]:.2f}", *(f"{each:.3f}" for each in added)]
        cells += [f"{sum(added) / len(times) * 1e6:.0f}", f"{sum(added) / scanned[False]:.1%}"]
        cells += [f"{size / 1024 / max(times[-1] - times[0], 1) * 60e9:.0f}"]
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def searches() -> None:
    """A line for each radius."""
    from gpu_kernels.dedup import hamming
    from gpu_kernels.dedup.hamming import near_hashes

    random = np.random.default_rng(1)
    queries, stored = (random.integers(0, 1 << 64, (count, 4), np.uint64) for count in (QUERIES, STORED))
    stored[:QUERIES] = queries
    words = np.ascontiguousarray(stored[:4096, 0])
    floor = rate(lambda: [np.bitwise_count(words) for _ in range(1000)], 1000 * len(words))
    print(f"\nCounting the bits of one word for every pair: {floor:.0f} million a CPU second.\n")
    print("| radius | by numpy | `near_hashes` | faiss alone |\n|---:|---:|---:|---:|")
    worth = hamming._WORTH_FAISS
    for radius in (16, 41, 64, 80):
        search = partial(near_hashes, queries, stored, radius)
        hamming._WORTH_FAISS = 1 << 62
        by_numpy = rate(search, QUERIES * STORED)
        hamming._WORTH_FAISS = worth
        ours = rate(search, QUERIES * STORED)
        print(f"| {radius} | {by_numpy:.0f} | {ours:.0f} | {faiss_rate(queries, stored, radius)} |", flush=True)


def faiss_rate(queries: np.ndarray, stored: np.ndarray, radius: int) -> str:
    """Of its exact binary index."""
    if importlib.util.find_spec("faiss") is None:
        return "not installed"
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.IndexBinaryFlat(256)
    index.add(stored.view(np.uint8))
    return f"{rate(lambda: index.range_search(queries.view(np.uint8), radius + 1), QUERIES * STORED):.0f}"


def rate(work: Callable[[], object], items: int) -> float:
    """Millions a CPU second, of the best of three rounds."""
    seconds = []
    for _ in range(3):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return items / min(seconds) / 1e6


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    scans(parser.parse_args().folder)
    searches()


if __name__ == "__main__":
    main()
