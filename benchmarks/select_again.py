"""What it costs to select clips again by another threshold, from stored scores.

    python benchmarks/select_again.py [--clips 1000000] [--run 6000]

The scores are made up (six clips to a video, a thousand videos to a shard); no pixel is involved. Prints CPU seconds of
the verdicts on all clips with the ledger of reasons, by part, and of a run of `clip_selection` on some of them, which
also computes fingerprints and commits rows.
"""

# pyright: basic

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from floors import write_figures

from curate_assets.settings.resolve import validated
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.clip_scores import stored_scores
from curate_assets.video.graph import VIDEO
from curate_assets.video.verdicts import SCORED, judged
from curate_resources.engines.in_process import InProcessEngine
from curate_resources.pipeline.run import materialize
from curate_resources.storage.root import Storage
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.scores.thresholds import loss_ledger

CLIPS_PER_VIDEO, VIDEOS_PER_SHARD = 6, 1000
SECOND = 10**9
THRESHOLDS = {
    "motion_peak_min": 0.004,
    "motion_global_mean_min": 0.001,
    "short_side_min": 480,
    "seconds_min": 2.5,
    "seconds_max": 9.0,
}


def made_up(root: str, clips: int) -> list[str]:
    """Shards of clips with scores; a hundredth of the clips was not measured."""
    tables, chance = Tables(Storage(root)), np.random.default_rng(0)
    shards: list[str] = []
    for first in range(0, clips, CLIPS_PER_VIDEO * VIDEOS_PER_SHARD):
        count = min(clips - first, CLIPS_PER_VIDEO * VIDEOS_PER_SHARD)
        shards.append(f"videos-{len(shards):06d}")
        videos = -(-count // CLIPS_PER_VIDEO)
        uris = [f"/videos/{len(shards):05d}/{i:05d}.mp4" for i in range(videos)]
        ids = np.array([f"{len(shards):016x}{i:016x}" for i in range(videos)])
        entries = [{"uri": uri, "bytes": 1, "version": "1"} for uri in uris]
        manifest = {"shard": shards[-1], "entries": entries}
        tables.storage.write(f"manifests/{shards[-1]}.json", json.dumps(manifest).encode())
        place = np.arange(count)
        of_video, in_video = ids[place // CLIPS_PER_VIDEO], place % CLIPS_PER_VIDEO
        start, seconds = in_video * 10 * SECOND, chance.uniform(2, 10, count)
        key = {"video_id": of_video, "clip_id": np.array([f"{len(shards):016x}c{i:015x}" for i in place])}
        _put(
            tables,
            "source_videos",
            shards[-1],
            videos,
            uri=uris,
            video_id=ids,
            width=np.full(videos, 1280),
            height=chance.choice([360, 480, 720], videos),
            average_rate=np.full(videos, 25.0),
            bytes=np.ones(videos),
        )
        _put(
            tables,
            "clips",
            shards[-1],
            count,
            **key,
            shot=in_video,
            start_frame=in_video * 250,
            end_frame=in_video * 250 + 200,
            start_ns=start,
            end_ns=start + (seconds * SECOND).astype(np.int64),
        )
        motion = {name: chance.exponential(0.01, count) for name in ("global_mean", "per_patch_min_256", "peak")}
        status = np.where(chance.random(count) < 0.01, "failed", "ok")
        _put(tables, "motion_scores", shards[-1], count, **key, **motion, status=status)
    return shards


def _put(tables: Tables, name: str, shard: str, rows: int, **columns) -> None:
    schema = VIDEO.tables[name].rows_schema
    common = {"shard": [shard] * rows, "status": ["ok"] * rows, "fingerprint": ["0" * 32] * rows}
    given = {**common, **columns}
    arrays = [
        pa.array(given[field.name]).cast(field.type) if field.name in given else pa.nulls(rows, field.type)
        for field in schema
    ]
    tables.swap(VIDEO.tables[name], shard, pa.table(arrays, schema=schema))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=1_000_000)
    parser.add_argument("--run", type=int, default=6000, help="clips of the run that commits")
    parser.add_argument("--json", type=Path, help="write the figures to this file: benchmarks/floors.py")
    options = parser.parse_args()
    config = validated({"clip_selection": THRESHOLDS})
    spent: dict[str, float] = {}

    def timed(part: str, began: float) -> None:
        spent[part] = time.process_time() - began

    with tempfile.TemporaryDirectory() as root:
        made_up(root, options.clips)
        tables = Tables(Storage(root))
        began = time.process_time()
        columns = ["shard", *CLIPS.links, "start_ns", "end_ns"]
        clips = tables.read(CLIPS, columns=columns, where="status = 'ok'")
        timed("reading the clips", began)
        began = time.process_time()
        scores = {}

        def read(names):
            nonlocal began
            scores.update(stored_scores(SCORED, names, clips, tables, None))
            timed("reading their scores", began)
            began = time.process_time()
            return scores

        found = judged(config, clips["clip_id"].to_pylist(), read, None)
        timed("verdicts", began)
        began = time.process_time()
        ledger = loss_ledger(found.reasons.counts)
        timed("ledger", began)
    total = sum(spent.values())
    print(f"| {clips.num_rows} clips, {len(ledger)} lines of ledger | CPU-s |\n|---|---:|")
    for part, seconds in (*spent.items(), ("together", total)):
        print(f"| {part} | {seconds:.2f} |")
    with tempfile.TemporaryDirectory() as root:
        shards = made_up(root, options.run)
        plan = VIDEO.plan(frozenset({"clip_selection"}), config, root)
        began = time.process_time()
        done = list(materialize(plan, shards, InProcessEngine()))
        each = (time.process_time() - began) / options.run
    worker = sum(table.cpu_seconds for table in done) / options.run
    print(
        f"\nA run of clip_selection: {each * 1e6:.0f} us of CPU a clip, of which {worker * 1e6:.0f} us are the worker's"
    )
    figures = {"cpu_seconds_per_million_clips": total / clips.num_rows * 1e6, "run_cpu_us_per_clip": each * 1e6}
    write_figures(options.json, __file__, figures)


if __name__ == "__main__":
    main()
