"""Asset checks: what must hold of a table's rows of one shard, whoever wrote them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from curate_assets.config import CurationConfig
from curate_assets.video.captions import CAPTIONS
from curate_assets.video.clip_files import CLIP_FILES
from curate_assets.video.clips import CLIPS
from curate_assets.video.duplicates import DUPLICATE_PAIRS
from curate_assets.video.embeddings import CLIP_EMBEDDINGS
from curate_assets.video.motion import MOTION_SCORES
from curate_assets.video.selection import CLIP_SELECTION
from curate_assets.video.signals import MOTION_SIGNALS, SHOT_SIGNALS, STORYBOARDS
from curate_assets.video.source_videos import SOURCE_VIDEOS
from curate_resources.manifests import Manifests
from curate_resources.stage import STATUSES, Table
from curate_resources.tables import Tables

Rows = list[dict[str, Any]]
Problems = list[str]


@dataclass(frozen=True)
class Shard:
    """The stored rows of one shard, as checks read them."""

    key: str
    tables: Tables
    config: CurationConfig
    _read: dict[str, Rows] = field(default_factory=dict, repr=False, compare=False)

    def rows(self, table: Table) -> Rows:
        """All rows of a table, read once."""
        if table.name not in self._read:
            self._read[table.name] = self.tables.read(table, self.key).to_pylist()
        return self._read[table.name]

    def good(self, table: Table) -> Rows:
        """Rows with status ok."""
        return [row for row in self.rows(table) if row["status"] == "ok"]

    @cached_property
    def clips(self) -> dict[str, dict[str, Any]]:
        """Clips by id."""
        return {row["clip_id"]: row for row in self.good(CLIPS)}


@dataclass(frozen=True)
class Check:
    """One check of one table: `problems` names what is wrong, nothing when all is well."""

    table: Table
    name: str
    description: str
    problems: Callable[[Shard], Problems]


def _terminal(table: Table) -> Callable[[Shard], Problems]:
    def problems(shard: Shard) -> Problems:
        return [
            f"row {row['slot']}: status {row['status']!r}, error {row['error']}"
            for row in shard.rows(table)
            if row["status"] not in STATUSES or (row["status"] == "failed" and row["error"] is None)
        ]

    return problems


def _failures(table: Table) -> Callable[[Shard], Problems]:
    def problems(shard: Shard) -> Problems:
        rows = shard.rows(table)
        failed = [row for row in rows if row["status"] == "failed"]
        if not rows or len(failed) / len(rows) <= shard.config.checks.max_failed_share:
            return []
        messages = sorted({row["error"]["message"] for row in failed})
        return [f"{len(failed)} of {len(rows)} rows failed: {'; '.join(messages[:5])}"]

    return problems


def _unique(table: Table) -> Callable[[Shard], Problems]:
    def problems(shard: Shard) -> Problems:
        keys = [tuple(row[name] for name in table.keys) for row in shard.rows(table)]
        return [f"{len(keys) - len(set(keys))} keys occur more than once"] if len(set(keys)) < len(keys) else []

    return problems


def _not_empty(table: Table, upstream: Table) -> Callable[[Shard], Problems]:
    def problems(shard: Shard) -> Problems:
        made_from = len(shard.good(upstream))
        if made_from and not shard.rows(table):
            return [f"no rows, though {upstream.name} has {made_from}"]
        return []

    return problems


def _every_entry(shard: Shard) -> Problems:
    rows = {row["uri"] for row in shard.rows(SOURCE_VIDEOS)}
    entries = {entry.uri for entry in Manifests(shard.tables.storage).load(shard.key).entries}
    return [f"no row for {uri}" for uri in sorted(entries - rows)] + [
        f"{uri} is not in the manifest" for uri in sorted(rows - entries)
    ]


def _curves(shard: Shard) -> Problems:
    found: Problems = []
    for row in shard.good(SHOT_SIGNALS):
        curve, pts = np.array(row["transition"], np.float32), np.array(row["pts_ns"], np.int64)
        if len(pts) != row["frames"] or len(curve) not in (0, row["frames"]):
            found.append(f"{row['video_id']}: {row['frames']} frames, {len(pts)} times, {len(curve)} probabilities")
        elif not (np.isfinite(curve).all() and (curve >= 0).all() and (curve <= 1).all()):
            found.append(f"{row['video_id']}: probabilities outside 0 to 1")
        elif (np.diff(pts) <= 0).any():
            found.append(f"{row['video_id']}: presentation times go back")
    return found


def _motion_finite(shard: Shard) -> Problems:
    return [
        f"{row['video_id']}: {name} is not finite"
        for row in shard.good(MOTION_SIGNALS)
        for name in ("patches", "luma", "black")
        if not np.isfinite(np.array(row[name], np.float32)).all()
    ]


def _storyboard_order(shard: Shard) -> Problems:
    rows = shard.good(STORYBOARDS)
    return [
        f"{later['video_id']}: frame {later['frame']} is not after frame {earlier['frame']}"
        for earlier, later in pairwise(rows)
        if earlier["video_id"] == later["video_id"] and later["pts_ns"] <= earlier["pts_ns"]
    ]


def _spans_inside(shard: Shard) -> Problems:
    videos = {row["video_id"]: row for row in shard.good(SHOT_SIGNALS)}
    found: Problems = []
    for row in shard.rows(CLIPS):
        if row["status"] == "failed":
            continue
        frames = videos[row["video_id"]]["frames"] if row["video_id"] in videos else None
        if (
            frames is None
            or not 0 <= row["start_frame"] < row["end_frame"] <= frames
            or row["start_ns"] >= row["end_ns"]
        ):
            found.append(f"{row['video_id']}: span [{row['start_frame']}, {row['end_frame']}) of {frames} frames")
    return found


def _spans_apart(shard: Shard) -> Problems:
    rows = sorted(shard.good(CLIPS), key=lambda row: (row["video_id"], row["start_frame"]))
    return [
        f"{later['clip_id']} begins before {earlier['clip_id']} ends"
        for earlier, later in pairwise(rows)
        if earlier["video_id"] == later["video_id"] and later["start_frame"] < earlier["end_frame"]
    ]


def _scores(shard: Shard) -> Problems:
    return [
        f"{row['clip_id']}: {name} is {row[name]}"
        for row in shard.good(MOTION_SCORES)
        for name in ("global_mean", "per_patch_min_256")
        if not (np.isfinite(row[name]) and 0 <= row[name] <= 1)
    ]


def _unit_length(shard: Shard) -> Problems:
    lengths = {
        row["clip_id"]: np.linalg.norm(np.array(row["vector"], np.float64)) for row in shard.good(CLIP_EMBEDDINGS)
    }
    return [f"{clip}: length {length:.6f}" for clip, length in lengths.items() if not abs(length - 1) < 1e-3]


def _every_clip(table: Table) -> Callable[[Shard], Problems]:
    def problems(shard: Shard) -> Problems:
        found = {row["clip_id"] for row in shard.rows(table)}
        return [f"no row for clip {clip}" for clip in sorted(set(shard.clips) - found)]

    return problems


def _similarities(shard: Shard) -> Problems:
    return [
        f"{row['clip_a']} and {row['clip_b']}: similarity {row['similarity']}"
        for row in shard.good(DUPLICATE_PAIRS)
        if not (np.isfinite(row["similarity"]) and -1.001 <= row["similarity"] <= 1.001)
    ]


def _files(shard: Shard) -> Problems:
    found: Problems = []
    for row in shard.good(CLIP_FILES):
        clip = shard.clips.get(row["clip_id"])
        if clip is None:
            found.append(f"{row['clip_id']}: there is no such clip any more: materialize clip_files again")
        elif row["frames"] != clip["end_frame"] - clip["start_frame"]:
            found.append(f"{row['clip_id']}: {row['frames']} frames, its span has another number")
        elif shard.tables.storage.size(row["path"]) != row["bytes"]:
            found.append(f"{row['path']}: the file is gone or has another size")
    return found


_UPSTREAM = (
    (SHOT_SIGNALS, SOURCE_VIDEOS),
    (MOTION_SIGNALS, SOURCE_VIDEOS),
    (STORYBOARDS, SOURCE_VIDEOS),
    (CLIPS, SOURCE_VIDEOS),
    (MOTION_SCORES, CLIPS),
    (CLIP_EMBEDDINGS, CLIPS),
    (CLIP_SELECTION, CLIPS),
)


def _checks() -> Iterable[Check]:
    every = (
        SOURCE_VIDEOS,
        *(table for table, _ in _UPSTREAM),
        DUPLICATE_PAIRS,
        CAPTIONS,
        CLIP_FILES,
    )
    for table in every:
        yield Check(table, "statuses_terminal", "Every row is ok, empty, or failed with a reason.", _terminal(table))
        yield Check(table, "keys_unique", "No key occurs twice in the shard.", _unique(table))
        yield Check(table, "failures_few", "Failed rows are within checks.max_failed_share.", _failures(table))
    for table, upstream in _UPSTREAM:
        yield Check(
            table, "not_silently_empty", f"There are rows where {upstream.name} has any.", _not_empty(table, upstream)
        )
    for table in (MOTION_SCORES, CLIP_EMBEDDINGS, CLIP_SELECTION):
        yield Check(table, "every_clip_has_a_row", "No clip was lost on the way.", _every_clip(table))
    yield Check(SOURCE_VIDEOS, "every_entry_has_a_row", "The manifest and the table name the same files.", _every_entry)
    yield Check(SHOT_SIGNALS, "curves_valid", "One probability and one increasing time per frame.", _curves)
    yield Check(MOTION_SIGNALS, "signals_finite", "All measurements are finite.", _motion_finite)
    yield Check(STORYBOARDS, "times_increase", "Presentation times increase within a video.", _storyboard_order)
    yield Check(CLIPS, "spans_inside_video", "Every span lies inside its video.", _spans_inside)
    yield Check(CLIPS, "spans_apart", "Clips of a video do not overlap.", _spans_apart)
    yield Check(MOTION_SCORES, "scores_in_range", "Scores are finite and between 0 and 1.", _scores)
    yield Check(CLIP_EMBEDDINGS, "vectors_unit_length", "Every vector has length 1.", _unit_length)
    yield Check(DUPLICATE_PAIRS, "similarities_in_range", "Cosine similarities are within -1 and 1.", _similarities)
    yield Check(CLIP_FILES, "files_match_spans", "Files are there, with as many frames as their spans.", _files)


CHECKS = tuple(_checks())
