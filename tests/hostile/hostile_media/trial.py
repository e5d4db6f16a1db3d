"""Hostile files through the product: added, probed, scanned, split, embedded, selected, cut; and what came of each."""

import gc
import re
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curate_assets.settings.resolve import CurationConfig, validated
from curate_assets.video.assets.clip_files import CLIP_FILES
from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS, group_duplicates
from curate_assets.video.graph import VIDEO
from curate_assets.video.video_files import VIDEO_FILES
from curate_resources.engines.in_process import InProcessEngine
from curate_resources.pipeline.commit import EXACT_COPY
from curate_resources.pipeline.plan import Plan
from curate_resources.pipeline.run import materialize
from curate_resources.pipeline.unit import Unit
from curate_resources.sources.adding import add_units
from curate_resources.sources.manifests import MANIFEST, Manifests
from curate_resources.storage.content import content_of
from curate_resources.storage.root import Storage
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.media.storyboards import decoded
from hostile_media.meter import Meter, Usage, descendants
from hostile_media.mutations import HostileFile, hostile_files
from hostile_media.sources import sources
from hostile_media.traps import MARKER, Traps, shows_canary

CONFIG: dict[str, Any] = {
    "limits": {"memory_mib": 1024, "cpu_seconds": 30, "stall_seconds": 60, "output_mib": 64, "max_pixels": 4096 * 2304},
    "shot_signals": {"network": "none"},
    "clips": {"splitter": "fixed_stride", "min_seconds": 0},
    "storyboards": {"frames_per_second": 1.0, "short_side": 128},
    "clip_selection": {"motion_peak_min": None},
    "clip_files": {"preset": "ultrafast"},
}

_CURATION = frozenset(table.name for stage in VIDEO.phases[0].stages for table in stage.writes)
_CUTTING = frozenset({CLIP_FILES.name})
_PER_VIDEO = ("shot_signals", "motion_signals")
_PER_CLIP = ("motion_scores", "clip_embeddings", "clip_selection")

_OVERHEAD_SECONDS = 30
"""On top of the limits of every process that a file may need: starting a nursery, on a busy machine."""


@dataclass
class Outcome:
    """What became of a file: `ok`, `empty` or `failed`, in which stage, and what it took."""

    file: HostileFile
    status: str = ""
    stage: str = ""
    message: str = ""
    seconds: float = 0.0
    usage: Usage = field(default_factory=Usage)
    clips: int = 0


@dataclass
class Verdict:
    """The outcomes, and every breach of what is promised."""

    outcomes: list[Outcome]
    violations: list[str]
    connections: int
    canary_events: list[str]
    config: CurationConfig
    worker_mib: int
    """The most memory that this process had while it curated."""


class _Observed:
    """The in-process engine, with what each unit took."""

    def __init__(self, outcomes: dict[str, Outcome], meter: Meter) -> None:
        self._outcomes, self._meter = outcomes, meter

    def holds(self, plan: Plan) -> bool:
        return True

    def run(self, plan: Plan, units: Sequence[Unit]) -> Iterator[Unit]:
        self._meter.take()
        started = time.perf_counter()
        for unit in InProcessEngine().run(plan, units):
            outcome, usage = self._outcomes[unit.source], self._meter.take()
            outcome.seconds += time.perf_counter() - started
            outcome.usage.peak_mib = max(outcome.usage.peak_mib, usage.peak_mib)
            outcome.usage.cpu_seconds = max(outcome.usage.cpu_seconds, usage.cpu_seconds)
            yield unit
            started = time.perf_counter()


def trial(folder: Path, seed: int, count: int, shared: Path) -> Verdict:
    """Make `count` files by `seed` in `folder`, curate them, and say what became of each."""
    library, made = folder / "library", folder / "sources"
    library.mkdir()
    made.mkdir()
    traps = Traps.set(folder / "canaries", library)
    canaries = {content_of(str(path)).id for path in [*traps.folder.iterdir(), traps.beside]}
    traps.watch.events()
    before = set(descendants())  # such as a cluster that other tests share
    meter = Meter()
    try:
        outcomes: dict[str, Outcome] = {}
        for file in hostile_files(seed, count, sources(made, shared), traps):
            path = library / file.path
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(file.data)
            outcomes[str(path.resolve())] = Outcome(file)
        storage, config = Storage(str(folder / "root")), validated(CONFIG)
        added = add_units(Manifests(storage), str(library), "hostile", 100, 1 << 40, VIDEO_FILES)
        wanted = sum(bool(outcome.file.data) for outcome in outcomes.values())  # empty ones are left out
        violations = [] if added.new_files == wanted else [f"{added.new_files} of {wanted} files were added"]
        _curate(storage, config, _Observed(outcomes, meter))
        worker_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        violations += _judged(Tables(storage), outcomes, config)
        violations += _leaked(storage, Path(storage.root), canaries)
        violations += _left_behind(before)
        events = traps.watch.events()
        violations += [f"{name} was opened or read" for name in sorted(set(events))]
        if traps.listener.connections:
            violations.append(f"{traps.listener.connections} connections were opened")
        return Verdict(list(outcomes.values()), violations, traps.listener.connections, events, config, worker_mib)
    finally:
        meter.close()
        traps.close()


def _left_behind(before: set[int]) -> list[str]:
    """Processes below this one that were not there before and do not end."""
    gc.collect()  # workers that were dropped take their processes with them
    deadline = time.monotonic() + _OVERHEAD_SECONDS
    while (left := set(descendants()) - before) and time.monotonic() < deadline:
        time.sleep(0.1)
    return [f"process {pid} was left behind" for pid in left]


def _curate(storage: Storage, config: CurationConfig, engine: _Observed) -> None:
    """Everything up to the clip files. No pairs are measured: mutants are near-duplicates, and each is to be cut."""
    shards, tables = Manifests(storage).shards(), Tables(storage)
    list(materialize(VIDEO.plan(_CURATION, config, storage.root), shards, engine))
    tables.replace(DUPLICATE_GROUPS, group_duplicates(tables, config.duplicate_groups))
    list(materialize(VIDEO.plan(_CUTTING, config, storage.root), shards, engine))


def _judged(tables: Tables, outcomes: dict[str, Outcome], config: CurationConfig) -> list[str]:
    """Fill in what became of each file, and say where that is not as promised."""
    rows = {name: tables.read(table).to_pylist() for name, table in VIDEO.tables.items() if name != MANIFEST.name}
    of_video: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = {}  # shards may hold the same file
    for name, table in rows.items():
        for row in table:
            if name != "source_videos" and "video_id" in row:
                of_video.setdefault((row["shard"], row["video_id"]), {}).setdefault(name, []).append(row)
    source_rows: dict[str, list[dict[str, Any]]] = {}
    for row in rows["source_videos"]:
        source_rows.setdefault(row["uri"], []).append(row)

    found: list[str] = []
    for uri, outcome in outcomes.items():
        own = source_rows.get(uri, [])
        if not outcome.file.data:  # empty files are no sources
            outcome.status = "empty"
            found += [f"{outcome.file.path!r} is empty and has a row"] if own else []
            continue
        if len(own) != 1:
            found.append(f"{outcome.file.path!r} has {len(own)} rows in source_videos")
            continue
        video = of_video.get((own[0]["shard"], own[0]["video_id"]), {}) if own[0]["status"] == "ok" else {}
        _conclude(outcome, own[0], video)
        found += [f"{outcome.file.path!r}: {breach}" for breach in _breaches(outcome, own[0], video, config)]
    return found


def _conclude(outcome: Outcome, source: dict[str, Any], video: dict[str, list[dict[str, Any]]]) -> None:
    everything = [source, *(row for name in VIDEO.tables for row in video.get(name, []))]
    failed = [row["error"] for row in everything if row["status"] == "failed"]
    outcome.clips = sum(row["status"] == "ok" for row in video.get("clip_files", []))
    outcome.status = "failed" if failed else "ok" if outcome.clips else "empty"
    if error := failed[0] if failed else source["error"]:
        outcome.stage, outcome.message = error["stage"], f"{error['type']}: {error['message']}"


def _breaches(
    outcome: Outcome, source: dict[str, Any], video: dict[str, list[dict[str, Any]]], config: CurationConfig
) -> Iterator[str]:
    if outcome.status == "failed" and not (outcome.stage and outcome.message):
        yield "failed without a reason"
    if re.match(
        r"(MediaError: )?(Attribute|Index|Key|Type|Assertion|ZeroDivision|Overflow|StopIter)\w*:", outcome.message
    ):
        yield f"failed by a fault of our own: {outcome.stage}: {outcome.message}"
    clips = [row for row in video.get("clips", []) if row["status"] == "ok"]
    if source["status"] == "ok":
        for name in _PER_VIDEO:
            if len(video.get(name, [])) != 1:
                yield f"{len(video.get(name, []))} rows in {name}"
        for name in ("storyboards", "clips"):
            if not video.get(name):
                yield f"no row in {name}"
        for name in _PER_CLIP:
            if len(video.get(name, [])) != len(clips):
                yield f"{len(video.get(name, []))} rows in {name} for {len(clips)} clips"
        kept = sum(row["status"] == "ok" and row["keeper"] for row in video.get("duplicate_groups", []))
        if len(video.get("clip_files", [])) != kept:
            yield f"{len(video.get('clip_files', []))} rows in clip_files for {kept} clips that are kept"
    copy = bool(source["error"]) and source["error"]["type"] == EXACT_COPY
    if outcome.file.sound and outcome.status != "ok" and not copy:
        yield f"is sound and was {outcome.status}: {outcome.stage}: {outcome.message}"
    limits = config.limits
    processes = 2 + 2 * len(clips)  # probe and scan; cutting and reading back
    if outcome.seconds > processes * (limits.cpu_seconds + limits.stall_seconds) + _OVERHEAD_SECONDS:
        yield f"took {outcome.seconds:.0f} s"
    if outcome.usage.cpu_seconds > limits.cpu_seconds + 1:
        yield f"a process took {outcome.usage.cpu_seconds:.1f} CPU seconds"
    if outcome.usage.peak_mib > limits.memory_mib:
        yield f"a process took {outcome.usage.peak_mib:.0f} MiB"


def _leaked(storage: Storage, root: Path, canaries: set[str]) -> Iterator[str]:
    """Whatever of the canaries is in a row or a media file, and files that should not be there."""
    tables = Tables(storage)
    for name, table in VIDEO.tables.items():
        if name == MANIFEST.name:
            continue
        rows = tables.read(table).to_pylist()
        if MARKER in repr(rows):
            yield f"the text of a canary is in {name}"
        for row in rows:
            if row.get("video_id") in canaries:
                yield f"a canary has a row in {name}"
            if name == "clip_files" and row["status"] == "ok":
                if not (path := root / row["path"]).is_file() or path.stat().st_size != row["bytes"]:
                    yield f"the file of clip {row['clip_id']} is not there"
                if shows_canary(decoded(row["thumbnail"])):
                    yield f"clip {row['clip_id']} shows a canary"
            if name == "storyboards" and row["status"] == "ok":
                jpeg = storage.read(row["path"], row["offset"], row["bytes"])
                if shows_canary(decoded(jpeg)):
                    yield f"the storyboard of {row['video_id']} shows a canary"
    for path in root.rglob("*"):
        if path.suffix == ".partial":
            yield f"{path.name} was left behind"
        elif path.is_file() and MARKER.encode() in path.read_bytes():
            yield f"the text of a canary is in {path.name}"
