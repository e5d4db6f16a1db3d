"""A root with many shards, made at once: no video exists, but every table has the rows that runs would leave.

The rows pass the project's own stages, which give them their fingerprints: light stages work, and heavy ones are
replaced by functions that make rows up. So `curate plan` finds of them what it would find of real ones.
"""

# pyright: basic

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate_assets.graph.platform import PlatformConfig
from curate_assets.settings.resolve import validated
from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS
from curate_assets.video.assets.duplicate_groups import GATHER as GROUPS
from curate_assets.video.assets.duplicate_pairs import DUPLICATE_PAIRS
from curate_assets.video.assets.duplicate_pairs import GATHER as PAIRS
from curate_assets.video.graph import VIDEO
from curate_resources.declarations.stage import Stage, Work
from curate_resources.declarations.table import Row, Table
from curate_resources.engines.in_process import StageRunner
from curate_resources.pipeline.computation import Treatment
from curate_resources.pipeline.unit import Unit
from curate_resources.sources.manifests import MANIFEST, Entry, Manifest, Manifests, rows_of
from curate_resources.storage.root import Storage
from curate_resources.tables.evolution import created_schema
from curate_resources.tables.history import ALL_SHARDS, History, Record, identity_digest
from curate_resources.tables.lance_tables import Tables

SETTINGS: dict[str, Any] = {"clips": {"min_seconds": 0.6, "min_frames": 6, "crop_seconds": 0.1}}
"""Of `curate.yaml`: the videos that are made up are short."""

_OLD_SETTINGS = {**SETTINGS, "clip_selection": {"motion_global_mean_min": 0.0005}}
_FRAMES, _PICTURES, _NUMBERS = 40, 4, 64
_PTS = np.arange(_FRAMES) * 100_000_000
_CURVE = np.where(np.arange(_FRAMES) == 20, 0.9, 0.05).astype(np.float32)
_PART = 50
"""How many shards pass the stages together. One item that fails makes the others of its part be tried one by one."""
_ROWS_AT_ONCE = 250_000
_TABLES = {MANIFEST.name: MANIFEST, **VIDEO.tables}


@dataclass(frozen=True)
class Kind:
    """What is different about some shards: which part of them is `delivered`, and the settings they were made with."""

    delivered: bool
    settings: dict[str, Any]


WHOLE = Kind(True, SETTINGS)
KINDS = (*[WHOLE] * 17, Kind(False, SETTINGS), Kind(False, SETTINGS), Kind(True, _OLD_SETTINGS))
"""Of twenty parts of the shards, two have no captions and files yet, and one was made with another threshold."""


def shard_name(number: int) -> str:
    """The key of a shard."""
    return f"takes-{number:06d}"


def make_root(root: str, shards: int, videos: int) -> None:
    """Fill a root: manifests, tables and history."""
    storage = Storage(root)
    storage.write("curate.yaml", b"clips: {min_seconds: 0.6, min_frames: 6, crop_seconds: 0.1}\n")
    writers = {name: _Appended(Tables(storage).uri(name), table) for name, table in VIDEO.tables.items()}
    records: list[Record] = []
    numbers = iter(range(shards))
    size = min(_PART, max(1, shards // len(KINDS)))
    for part, chosen in enumerate(iter(lambda: list(islice(numbers, size)), [])):
        kind = KINDS[part % len(KINDS)]
        made = _made(storage, [shard_name(number) for number in chosen], videos, kind)
        for name, rows in made.items():
            if name != MANIFEST.name:
                writers[name].add(_slotted(_TABLES[name], rows))
        records += _history(made, validated(kind.settings))
        if len(records) > _ROWS_AT_ONCE or chosen[-1] + 1 == shards:
            History(storage).append(*records)
            records.clear()
        print(f"{chosen[-1] + 1} of {shards} shards", end="\r", flush=True)
    for writer in writers.values():
        writer.flush()
    History(storage).append(_record(GROUPS.table, ALL_SHARDS, validated(SETTINGS), GROUPS.inputs(Tables(storage)), 0))


def _made(storage: Storage, shards: Sequence[str], videos: int, kind: Kind) -> dict[str, pa.Table]:
    """The rows of some shards, by table, in the order of shards."""
    manifests = Manifests(storage)
    shard_of: dict[str, str] = {}
    written: list[Manifest] = []
    for shard in shards:
        uris = [f"/takes/{shard}/{number:03d}.mp4" for number in range(videos)]
        entries = tuple(Entry(uri=uri, bytes=1 << 20, version="1") for uri in uris)
        written.append(Manifest(shard=shard, entries=entries))
        manifests.write(written[-1])
        shard_of |= dict.fromkeys(uris, shard) | {_video_id(uri): shard for uri in uris}
    config = validated(kind.settings)
    unit = Unit("", "", {MANIFEST.name: rows_of(written)})
    _pass(unit, config, storage.root, VIDEO.phases[0].stages)
    unit.rows[DUPLICATE_GROUPS.name] = _groups(unit.rows["clip_selection"])
    if kind.delivered:
        _pass(unit, config, storage.root, VIDEO.phases[1].stages)
    made = {name: _sharded(_TABLES[name], rows, shard_of) for name, rows in unit.rows.items()}
    return {**made, DUPLICATE_PAIRS.name: _pairs(made["clip_embeddings"])}


def _pass(unit: Unit, config: PlatformConfig, root: str, stages: Sequence[Stage]) -> None:
    plan = VIDEO.plan(frozenset(table.name for stage in stages for table in stage.writes), config, root, stages=stages)
    light = StageRunner(plan)
    for number, stage in enumerate(plan.stages):
        computation = Treatment(stage, plan).of(unit)
        worker = _MADE_UP[stage.name] if stage.heavy else light.worker(number)
        computation.finish([(part, computation.compute(worker, part)) for part in computation.batches()], worker)


# -------------------------------------------------------------------- rows that are made up


def _video_id(uri: str) -> str:
    return hashlib.sha256(uri.encode()).hexdigest()[:32]


def _failed(stage: str) -> Row:
    return {"status": "failed", "error": {"stage": stage, "type": "MediaError", "message": "damaged", "attempt": 1}}


def _probe(work: Work) -> Mapping[str, list[Row]]:
    facts = {"container": "mp4", "codec": "h264", "pixel_format": "yuv420p", "width": 1280, "height": 720}
    facts |= {"average_rate": 10.0, "frames": _FRAMES, "first_pts_ns": 0, "duration_ns": 4_000_000_000}
    facts |= {"video_streams": 1}
    rows: list[Row] = []
    for uri in work.items["uri"].to_pylist():
        video_id = _video_id(uri)
        one_in_256 = video_id.startswith("00")
        known = _failed("probe") if one_in_256 else {"video_id": video_id, "bytes": 1 << 20, **facts}
        rows.append({"uri": uri, **known})
    return {"source_videos": rows}


def _scan(work: Work) -> Mapping[str, list[Row]]:
    names = ("shot_signals", "motion_signals", "picture_hashes", "storyboards")
    rows: dict[str, list[Row]] = {name: [] for name in names}
    shots = {"frames": _FRAMES, "pts_ns": _PTS, "transition": _CURVE, "decode_errors": 0, "damaged_frames": 0}
    motion = {"patch_rows": 1, "patch_columns": 2, "sample_frames": [5, 15, 25, 35], "patches": [0.01] * 8}
    motion |= {"sample_distances": [1] * 4, "reference_frames": [], "reference_means": [], "reference_centres": []}
    pictures = {"pts_ns": _PTS, "frames": np.arange(_FRAMES), "hashes": bytes(96 * _FRAMES)}
    pictures |= {"greys": bytes(144 * _FRAMES), "frame_digests": bytes(8 * _FRAMES)}
    for video_id in work.items["video_id"].to_pylist():
        broken = _failed("scan") if video_id.startswith("f0") else {}
        rows["shot_signals"].append({"video_id": video_id, **(broken or shots)})
        rows["motion_signals"].append({"video_id": video_id, **(broken or motion)})
        rows["picture_hashes"].append({"video_id": video_id, **(broken or pictures)})
        for picture in range(1 if broken else _PICTURES):
            place = {"frame": None} if broken else {"frame": 10 * picture, "path": f"media/{video_id}", "bytes": 1}
            rows["storyboards"].append({"video_id": video_id, **place, **broken})
    return rows


def _clip_rows(name: str, facts: Mapping[str, Any]) -> Callable[[Work], Mapping[str, list[Row]]]:
    def work(work: Work) -> Mapping[str, list[Row]]:
        clips = work.items.select(["video_id", "clip_id"]).to_pylist()
        return {name: [{**clip, **facts} for clip in clips]}

    return work


_MADE_UP: dict[str, Callable[[Work], Mapping[str, list[Row]]]] = {
    "probe": _probe,
    "scan": _scan,
    "embed": _clip_rows("clip_embeddings", {"vector": np.ones(_NUMBERS, np.float32), "frames": 2, "model": "made up"}),
    "caption": _clip_rows("captions", {"window": 0, "start_frame": 0, "end_frame": 20, "status": "empty"}),
    "cut": _clip_rows("clip_files", {"path": "media/clips/one.mp4", "bytes": 1, "frames": 20, "thumbnail": b"0" * 64}),
}


def _groups(selection: pa.Table) -> pa.Table:
    """Every selected clip is alone in its group."""
    chosen = selection.filter(pc.field("selected"))
    rows = [
        {"shard": "", "status": "ok", "fingerprint": "", "group_size": 1, "keeper": True, "group_id": clip["clip_id"]}
        | {**clip, "keeper_clip_id": clip["clip_id"], "alike_size": 1}
        for clip in chosen.select(["video_id", "clip_id"]).to_pylist()
    ]
    return pa.Table.from_pylist(rows, schema=DUPLICATE_GROUPS.rows_schema)


def _pairs(embeddings: pa.Table) -> pa.Table:
    """One pair for every shard, below any threshold."""
    rows: list[Row] = []
    clips = embeddings.select(["shard", "clip_id"]).to_pylist()
    for one, other in pairwise(clips):
        if one["shard"] == other["shard"] and (not rows or rows[-1]["shard"] != one["shard"]):
            pair = {"shard_a": one["shard"], "clip_a": one["clip_id"], "shard_b": one["shard"], "similarity": 0.81}
            pair |= {"tier": "meaning", "span": 0, "share_a": 1.0, "share_b": 1.0}
            rows.append(pair | {"clip_b": other["clip_id"], "shard": one["shard"], "status": "ok", "fingerprint": "0"})
    return pa.Table.from_pylist(rows, schema=DUPLICATE_PAIRS.rows_schema)


# -------------------------------------------------------------------- written in bulk


class _Appended:
    """Rows that are gathered, and appended to a table in pieces of some size."""

    def __init__(self, uri: str, table: Table) -> None:
        self._uri, self._table = uri, table
        self._parts: list[pa.Table] = []

    def add(self, rows: pa.Table) -> None:
        self._parts.append(rows)
        if sum(part.num_rows for part in self._parts) > _ROWS_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        import lance

        if self._parts:
            os.makedirs(os.path.dirname(self._uri), exist_ok=True)
            mode = "append" if os.path.exists(self._uri) else "create"
            rows = pa.concat_tables(self._parts)
            lance.write_dataset(rows.cast(created_schema(self._table, rows)), self._uri, mode=mode)
            self._parts.clear()


def _sharded(table: Table, rows: pa.Table, shard_of: Mapping[str, str]) -> pa.Table:
    key = "uri" if table.has("uri") else "video_id"
    shards = pa.array([shard_of[value] for value in rows[key].to_pylist()], pa.string())
    rows = rows.set_column(rows.schema.get_field_index("shard"), "shard", shards)
    return rows.sort_by([("shard", "ascending"), *((name, "ascending") for name in table.keys)])


def _slotted(table: Table, rows: pa.Table) -> pa.Table:
    slots: list[str] = []
    before, place = None, 0
    for shard in rows["shard"].to_pylist():
        before, place = shard, place + 1 if shard == before else 0
        slots.append(f"{shard}/{place:08d}")
    columns = {"slot": pa.array(slots, pa.string()), **{name: rows[name] for name in table.rows_schema.names}}
    return pa.table([columns[name] for name in table.schema.names], names=table.schema.names).cast(table.schema)


def _history(made: Mapping[str, pa.Table], config: PlatformConfig) -> list[Record]:
    """A record for every table and shard, as commits would have left them."""
    parts = {name: dict(_by_shard(rows)) for name, rows in made.items()}
    digests = {
        name: {shard: identity_digest(_TABLES[name], [rows]) for shard, rows in shards.items()}
        for name, shards in parts.items()
    }
    stages = (*VIDEO.phases[0].stages, *VIDEO.phases[1].stages)
    reads: dict[str, tuple[str, ...]] = {
        table.name: (stage.item, *stage.reads) for stage in stages for table in stage.writes
    }
    reads[DUPLICATE_PAIRS.name] = tuple(table.name for table in PAIRS.reads)
    records: list[Record] = []
    for name, read in reads.items():
        for shard, rows in parts.get(name, {}).items():
            inputs = {other: digests[other][shard] for other in read if shard in digests.get(other, {})}
            records.append(_record(_TABLES[name], shard, config, inputs, rows.num_rows))
    return records


def _by_shard(rows: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    rows = rows.combine_chunks()
    ends = rows.group_by("shard", use_threads=False).aggregate([([], "count_all")])
    start = 0
    for shard, count in zip(ends["shard"].to_pylist(), ends["count_all"].to_pylist(), strict=True):
        yield shard, rows.slice(start, count)
        start += count


def _record(table: Table, shard: str, config: PlatformConfig, inputs: Mapping[str, str], rows: int) -> Record:
    return Record(
        table=table.name,
        shard=shard,
        at=time.time_ns(),
        recipe=table.recipe(config),
        inputs=inputs,
        rows=rows,
        statuses={"ok": rows},
        computed=3,
        reused=0,
        seconds=1.0,
        bytes=0,
        table_version=1,
        digest="",
        measures={},
    )
