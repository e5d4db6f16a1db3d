"""What duplicates cost when shards come one after another, and what grouping a million clips costs.

    python benchmarks/incremental_duplicates.py [--clips 20000] [--shards 100] [--upkeep 0] [--group 1000000]

Clips are made up: random pictures that move and vectors around a thousand subjects, written as the tables that runs
leave: a file for each shard, until upkeep joins them. A twentieth are copies of earlier clips: their hashes differ in
12 bits on average, their vectors a little. Each shard is measured as it comes; then one shard of a hundredth more.
Everything is done twice: with segments of an index, and by comparing everything with everything.
"""

# pyright: basic

import argparse
import os
import tempfile
import time
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
from floors import write_figures

from curate_assets.video.assets.clip_embeddings import CLIP_EMBEDDINGS
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.duplicate_groups import group_duplicates
from curate_assets.video.assets.duplicate_pairs import DUPLICATE_PAIRS, measure_pairs
from curate_assets.video.assets.picture_hashes import PICTURE_HASHES
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.duplicates.selected_clips import SelectedClips
from curate_assets.video.duplicates.shard_index import LEAST_CLIPS
from curate_assets.video.duplicates.valid_pairs import valid_pairs
from curate_resources.declarations.table import Table
from curate_resources.storage.root import Storage
from curate_resources.tables.evolution import created_schema
from curate_resources.tables.lance_tables import Tables
from curate_resources.tables.segments import ENDING, INDEXES
from curate_resources.tables.upkeep import tended
from gpu_kernels.dedup.tiers import TIERS, DuplicateGroupsConfig, DuplicatePairsConfig

SAMPLES, DIMENSIONS, SUBJECTS = 50, 256, 1000
SECOND = 10**9
COPIES = 0.05
EVERYTHING = 1 << 40
"""Clips of a segment: none is ever made."""
READ = (CLIPS, CLIP_SELECTION, SOURCE_VIDEOS, CLIP_EMBEDDINGS, PICTURE_HASHES, DUPLICATE_PAIRS)


def append(tables: Tables, table: Table, shard: str, rows: dict) -> None:
    """Rows of a shard, as a commit would leave them."""
    count = len(next(iter(rows.values())))
    whole = {"shard": [shard] * count, "status": ["ok"] * count, "fingerprint": [shard] * count, **rows}
    whole["slot"] = [f"{shard}/{place:08d}" for place in range(count)]
    columns = [
        pa.array(whole[field.name], field.type) if field.name in whole else pa.nulls(count, field.type)
        for field in table.schema
    ]
    made = pa.table(columns, schema=table.schema)
    uri = tables.uri(table.name)
    os.makedirs(os.path.dirname(uri), exist_ok=True)
    lance.write_dataset(made.cast(created_schema(table, made)), uri, mode="append" if os.path.exists(uri) else "create")


class Library:
    """Clips that are made up, and which are copies of which."""

    def __init__(self) -> None:
        self.dice = np.random.default_rng(0)
        self.subjects = self.dice.normal(size=(SUBJECTS, DIMENSIONS)).astype(np.float32)
        self.count = 0
        self.copies: list[tuple[str, str]] = []

    def shard(self, tables: Tables, shard: str, clips: int) -> None:
        """Add a shard."""
        ids = [f"{self.count + place:032x}" for place in range(clips)]
        films = np.arange(self.count, self.count + clips)
        if self.count:
            (again,) = np.nonzero(self.dice.random(clips) < COPIES)
            films[again] = self.dice.integers(0, self.count, len(again))
            self.copies += [(ids[place], f"{films[place]:032x}") for place in again.tolist()]
        self.count += clips
        seen = [self._pictures(film) for film in films.tolist()]
        key = {"video_id": ids, "clip_id": ids}
        spans = {"start_frame": [0] * clips, "end_frame": [SAMPLES] * clips}
        times = {"start_ns": [0] * clips, "end_ns": [SAMPLES * SECOND // 10] * clips}
        append(tables, CLIPS, shard, {**key, **spans, **times})
        append(tables, CLIP_SELECTION, shard, {**key, "selected": [True] * clips})
        videos = {"width": [640] * clips, "height": [360] * clips, "bytes": list(range(clips))}
        append(tables, SOURCE_VIDEOS, shard, {"video_id": ids, "uri": ids, **videos, "duration_ns": times["end_ns"]})
        model = {"model": ["made up"] * clips, "model_revision": ["1"] * clips}
        vectors = [each for _, _, each in seen]
        append(tables, CLIP_EMBEDDINGS, shard, {**key, **model, "vector": vectors})
        pictures = {
            "pts_ns": [np.arange(SAMPLES) * (SECOND // 10)] * clips,
            "frames": [np.arange(SAMPLES, dtype=np.int32)] * clips,
            "hashes": [hashes for hashes, _, _ in seen],
            "greys": [greys for _, greys, _ in seen],
            "frame_digests": [bytes.fromhex(each) * (SAMPLES // 2) for each in ids],
        }
        append(tables, PICTURE_HASHES, shard, {"video_id": ids, **pictures})

    def _pictures(self, film: int) -> tuple[bytes, bytes, np.ndarray]:
        """Hashes and grey pictures of five seconds, and a vector; all but a little of them is the film's."""
        own, dice = np.random.default_rng(film), self.dice
        walk = own.integers(0, 256, (SAMPLES // 5, 3, 32), dtype=np.uint8)  # half a second each, then another picture
        hashes = np.repeat(walk, 5, axis=0)
        noise = np.packbits(dice.random((SAMPLES, 3, 256)) < 12 / 256, axis=2)
        greys = own.integers(0, 256, (SAMPLES, 9, 16), dtype=np.uint8) // 2 + dice.integers(0, 16, (SAMPLES, 9, 16))
        vector = self.subjects[own.integers(SUBJECTS)] + 1.1 * own.normal(size=DIMENSIONS)
        vector = vector + 0.2 * dice.normal(size=DIMENSIONS)
        vector = (vector / np.linalg.norm(vector)).astype(np.float32)
        return (hashes ^ noise).tobytes(), greys.astype(np.uint8).tobytes(), vector


def measured(tables: Tables, shard: str, segment_clips: int) -> float:
    """CPU seconds of measuring a shard."""
    started = time.process_time()
    rows = measure_pairs(tables, shard, DuplicatePairsConfig(), segment_clips)
    spent = time.process_time() - started
    tables.swap(DUPLICATE_PAIRS, shard, rows)
    return spent


def arrival(clips: int, shards: int, segment_clips: int, upkeep: int) -> dict:
    """Shards that come one after another, and then a hundredth more.

    Args:
        upkeep: of so many shards the files of tables are joined, in time that does not count; 0: never.
    """
    with tempfile.TemporaryDirectory() as folder:
        tables, library = Tables(Storage(folder)), Library()
        each = clips // shards
        spent = []
        for number in range(shards):
            library.shard(tables, f"s-{number:06d}", each)
            spent.append(measured(tables, f"s-{number:06d}", segment_clips))
            if upkeep and (number + 1) % upkeep == 0:
                tended(tables.storage, {table.name: table for table in READ})
            print(f"{number + 1} of {shards} shards, {sum(spent):.1f} CPU-s", end="\r", flush=True)
        library.shard(tables, "t-000000", max(1, clips // 100))
        more = measured(tables, "t-000000", segment_clips)
        found = SelectedClips.of(tables)
        pairs = valid_pairs(tables, found)
        ids = found.rows["clip_id"].to_pylist()
        by_tier = {
            tier: {
                frozenset((ids[a], ids[b]))
                for a, b, on in zip(pairs.a.tolist(), pairs.b.tolist(), pairs.tier.tolist(), strict=True)
                if on == number
            }
            for number, tier in enumerate(TIERS)
        }
        copies = {frozenset(pair) for pair in library.copies}
        index = [path.stat().st_size for path in Path(folder, INDEXES).rglob(f"*{ENDING}")]
        return {
            "cpu_s": sum(spent),
            "cpu_ms_per_clip": 1000 * sum(spent) / (each * shards),
            "one_percent_cpu_s": more,
            "one_percent_of_whole": more / sum(spent),
            "copies": len(copies),
            "copies_by_picture": len(copies & by_tier["picture"]) / len(copies),
            "pairs_in_picture": len(by_tier["picture"]),
            "pairs_in_meaning": len(by_tier["meaning"]),
            "segments": len(index),
            "index_bytes_per_clip": sum(index) / library.count,
        }


def grouping(clips: int) -> dict:
    """A million clips, a twentieth of which have a pair."""
    with tempfile.TemporaryDirectory() as folder:
        tables, dice = Tables(Storage(folder)), np.random.default_rng(0)
        each = 10_000
        for first in range(0, clips, each):
            shard = f"s-{first:09d}"
            ids = [f"{place:032x}" for place in range(first, first + each)]
            key = {"video_id": ids, "clip_id": ids}
            append(tables, CLIP_SELECTION, shard, {**key, "selected": [True] * each})
            sizes = {"width": dice.integers(1, 4, each) * 640, "height": [360] * each, "duration_ns": [SECOND] * each}
            append(tables, SOURCE_VIDEOS, shard, {"video_id": ids, "uri": ids, **sizes, "bytes": [1000] * each})
            times = {
                "start_ns": [0] * each,
                "end_ns": [SECOND] * each,
                "start_frame": [0] * each,
                "end_frame": [9] * each,
            }
            append(tables, CLIPS, shard, {**key, **times})
            shown = {"frames": [list(range(50))] * each, "picture_shares": [bytes([255] * 50)] * each}
            append(tables, PICTURE_HASHES, shard, {"video_id": ids, **shown})
            copies = int(each * COPIES)
            a, b = np.sort(dice.integers(0, first + each, (2, copies)), axis=0)
            b += a == b
            ends = {
                f"{name}_{side}": [of(place) for place in places.tolist()]
                for side, places in (("a", a), ("b", b))
                for name, of in (
                    ("clip", lambda place: f"{place:032x}"),
                    *((name, lambda place: f"s-{place // each * each:09d}") for name in ("shard", "measured")),
                )
            }
            about = {"tier": ["picture"] * copies, "verdict": ["copy"] * copies, "similarity": dice.random(copies)}
            append(
                tables, DUPLICATE_PAIRS, shard, {**ends, **about, "share_a": [1.0] * copies, "share_b": [1.0] * copies}
            )
        started = time.process_time()
        rows = group_duplicates(tables, DuplicateGroupsConfig())
        spent = time.process_time() - started
        removed = sum(part.num_rows - sum(part["keeper"].to_pylist()) for part in rows.values())
        return {"clips": clips, "pairs": int(clips * COPIES), "cpu_s": spent, "removed": removed}


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=20_000)
    parser.add_argument("--shards", type=int, default=100)
    parser.add_argument("--upkeep", type=int, default=0, help="shards after which the files of tables are joined")
    parser.add_argument("--group", type=int, default=1_000_000)
    parser.add_argument("--directly", type=int, default=4_000, help="clips of the comparison without an index")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    figures = {
        "indexed": arrival(asked.clips, asked.shards, LEAST_CLIPS, asked.upkeep),
        "half": arrival(asked.clips // 2, asked.shards // 2, LEAST_CLIPS, asked.upkeep),
        "small_segments": arrival(asked.directly, 40, asked.directly // 8, asked.upkeep),
        "directly": arrival(asked.directly, 40, EVERYTHING, asked.upkeep),
        "groups": grouping(asked.group),
    }
    for name, each in figures.items():
        print(name, {key: round(value, 4) for key, value in each.items()}, flush=True)
    indexed = figures["indexed"]
    kept = {
        "indexed_one_percent_of_whole": indexed["one_percent_of_whole"],
        "indexed_cpu_of_half_the_clips": figures["half"]["cpu_s"] / indexed["cpu_s"],
        "indexed_copies_by_picture": indexed["copies_by_picture"],
        "directly_one_percent_of_whole": figures["directly"]["one_percent_of_whole"],
        "grouping_cpu_seconds": figures["groups"]["cpu_s"],
    }
    write_figures(asked.json, __file__, kept)


if __name__ == "__main__":
    main()
