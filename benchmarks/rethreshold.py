"""What another threshold costs: clips, motion scores and the selection of a thousand videos, from stored signals.

    python benchmarks/rethreshold.py [--videos 1000]

The signals are made up (one minute at 25 frames per second, about eight transitions a video); no pixel is involved.
Prints CPU seconds for the first run, for a threshold that gives the same clips, and for one that gives other clips.
"""

# pyright: basic

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from floors import write_figures

from curate_assets.settings.resolve import validated
from curate_assets.video.graph import VIDEO
from curate_resources.engines.in_process import InProcessEngine
from curate_resources.pipeline.run import materialize
from curate_resources.storage.root import Storage
from curate_resources.tables.lance_tables import Tables

FRAMES = 1500
SHARD = "videos-000000"


def made_up(root: str, videos: int) -> None:
    """A shard with signals, as if its videos had been scanned."""
    storage, chance = Storage(root), np.random.default_rng(0)
    tables = Tables(storage)
    entries = [{"uri": f"/videos/{i:05d}.mp4", "bytes": 1, "version": "1"} for i in range(videos)]
    storage.write(f"manifests/{SHARD}.json", json.dumps({"shard": SHARD, "entries": entries}).encode())

    def put(name: str, rows: list[dict[str, Any]]) -> None:
        common = {"shard": SHARD, "status": "ok", "fingerprint": "0" * 32}
        filled = [{**common, "video_id": f"{i:032d}", **row} for i, row in enumerate(rows)]
        tables.swap(VIDEO.tables[name], SHARD, pa.Table.from_pylist(filled, schema=VIDEO.tables[name].rows_schema))

    def curve() -> np.ndarray:
        transitions = chance.random(FRAMES).astype(np.float32) * 0.3
        transitions[chance.integers(0, FRAMES, 8)] = 0.9
        return transitions

    size = {"width": 640, "height": 360, "average_rate": 25.0, "first_pts_ns": 0, "duration_ns": FRAMES * 40_000_000}
    put("source_videos", [{"uri": entry["uri"], **size} for entry in entries])
    pts = np.arange(FRAMES) * 40_000_000
    put("shot_signals", [{"frames": FRAMES, "pts_ns": pts, "transition": curve()} for _ in range(videos)])
    sampled = list(range(0, FRAMES, 12))
    motion = {"patch_rows": 1, "patch_columns": 2, "sample_frames": sampled, "patches": [0.01] * 2 * len(sampled)}
    motion |= {"sample_distances": [1] * len(sampled)}
    motion |= {name: [] for name in ("reference_frames", "reference_means", "reference_centres")}
    put("motion_signals", [motion for _ in range(videos)])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=1000)
    parser.add_argument("--json", type=Path, help="write the figures to this file: benchmarks/floors.py")
    options = parser.parse_args()
    measured: dict[float, tuple[int, int]] = {}
    with tempfile.TemporaryDirectory() as root:
        made_up(root, options.videos)
        print("| threshold | clips | computed | CPU-s |\n|---|---:|---:|---:|")
        for threshold in (0.4, 0.5, 0.95):
            config = validated({"clips": {"transition_threshold": threshold}})
            plan = VIDEO.plan(frozenset({"clips", "motion_scores", "clip_selection"}), config, root)
            started = time.process_time()
            done = {each.table: each for each in materialize(plan, [SHARD], InProcessEngine())}
            seconds = time.process_time() - started
            clips = done["clips"].statuses.get("ok", 0)
            measured[threshold] = (clips, done["motion_scores"].computed)
            print(f"| {threshold} | {clips} | {done['motion_scores'].computed} | {seconds:.1f} |")
    others, computed = measured[0.95]
    figures = {"measured_where_clips_are_the_same": measured[0.5][1], "measured_per_other_clip": computed / others}
    write_figures(options.json, __file__, figures)


if __name__ == "__main__":
    main()
