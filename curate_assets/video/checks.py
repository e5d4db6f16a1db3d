"""Asset checks: what must hold of a table's rows of one shard, whoever wrote them."""

from collections.abc import Callable, Iterable
from itertools import pairwise

import numpy as np

from curate_assets.video.captions import CAPTIONS
from curate_assets.video.clip_files import CLIP_FILES
from curate_assets.video.clips import CLIPS
from curate_assets.video.drift import drift_checks
from curate_assets.video.duplicates import DUPLICATE_PAIRS
from curate_assets.video.embeddings import CLIP_EMBEDDINGS
from curate_assets.video.motion import MOTION_SCORES
from curate_assets.video.selection import CLIP_SELECTION
from curate_assets.video.shard_checks import Check, Finding, Problems, Shard, nothing_wrong
from curate_assets.video.signals import MOTION_SIGNALS, SHOT_SIGNALS, STORYBOARDS
from curate_assets.video.source_videos import SOURCE_VIDEOS
from curate_resources.manifests import Manifests, place_of
from curate_resources.stage import STATUSES, Table


def _terminal(table: Table) -> Callable[[Shard], Problems]:
    def problems(shard: Shard) -> Problems:
        return [
            f"{shard.named(row)}: status {row['status']!r}, error {row['error']}"
            for row in shard.rows(table)
            if row["status"] not in STATUSES or (row["status"] == "failed" and row["error"] is None)
        ]

    return problems


def _failures(table: Table) -> Callable[[Shard], Finding]:
    """More failed rows than checks.max_failed_share; of fewer than checks.min_rows rows it is a warning only."""

    def judge(shard: Shard) -> Finding:
        rows, checks = shard.rows(table), shard.config.checks
        failed = [row for row in rows if row["status"] == "failed"]
        share = len(failed) / max(1, len(rows))
        if share <= checks.max_failed_share:
            return Finding([], {"failed_share": share})
        said = (
            f"{len(failed)} of {len(rows)} rows failed, more than {checks.max_failed_share:.0%} "
            "(checks.max_failed_share): mend or remove what is named here, then `curate retry-failed`; "
            "or raise the limit"
        )
        each = [f"{shard.named(row)}: {(row['error'] or {}).get('message')}" for row in failed]
        return Finding([said, *each], {"failed_share": share}, warns=len(rows) < checks.min_rows)

    return judge


def _file(table: Table) -> str:
    """In SQL, the file that a row `t` comes from; nothing where its keys say that, or no single file does."""
    if "video_id" not in table.keys:
        return ""
    return f"(select min(uri) from {SOURCE_VIDEOS.name} v where v.shard = t.shard and v.video_id = t.video_id) as uri, "


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
    rows = {place_of(row["uri"]) for row in shard.rows(SOURCE_VIDEOS)}
    entries = {entry.place for entry in Manifests(shard.tables.storage).load(shard.key).entries}
    return [f"no row for {uri}" for uri in sorted(entries - rows)] + [
        f"{uri} is not in the manifest" for uri in sorted(rows - entries)
    ]


def _incomplete(shard: Shard) -> Problems:
    return [f"{row['uri']} is incomplete: fetch it again" for row in shard.good(SOURCE_VIDEOS) if row["incomplete"]]


def _curves(shard: Shard) -> Problems:
    found: Problems = []
    for row in shard.good(SHOT_SIGNALS):
        curve, pts = np.array(row["transition"], np.float32), np.array(row["pts_ns"], np.int64)
        if len(pts) != row["frames"] or len(curve) not in (0, row["frames"]):
            found.append(f"{shard.named(row)}: {row['frames']} frames, {len(pts)} times, {len(curve)} probabilities")
        elif not (np.isfinite(curve).all() and (curve >= 0).all() and (curve <= 1).all()):
            found.append(f"{shard.named(row)}: probabilities outside 0 to 1")
        elif (np.diff(pts) <= 0).any():
            found.append(f"{shard.named(row)}: presentation times go back")
    return found


def _motion_finite(shard: Shard) -> Problems:
    return [
        f"{shard.named(row)}: {name} is not finite"
        for row in shard.good(MOTION_SIGNALS)
        for name in ("patches", "luma", "black")
        if not np.isfinite(np.array(row[name], np.float32)).all()
    ]


def _storyboard_order(shard: Shard) -> Problems:
    rows = shard.good(STORYBOARDS)
    return [
        f"{shard.named(later)}: frame {later['frame']} is not after frame {earlier['frame']}"
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
            span = f"frames [{row['start_frame']}, {row['end_frame']}), [{row['start_ns']}, {row['end_ns']}) ns"
            found.append(f"{shard.named(row)}: {span}, of {frames} frames")
    return found


def _spans_apart(shard: Shard) -> Problems:
    rows = sorted(shard.good(CLIPS), key=lambda row: (row["video_id"], row["start_frame"]))
    return [
        f"{shard.named(later)} begins before {earlier['clip_id']} ends"
        for earlier, later in pairwise(rows)
        if earlier["video_id"] == later["video_id"] and later["start_frame"] < earlier["end_frame"]
    ]


def _scores(shard: Shard) -> Problems:
    return [
        f"{shard.named(row)}: {name} is {row[name]}"
        for row in shard.good(MOTION_SCORES)
        for name in ("global_mean", "per_patch_min_256", "peak")
        if not (np.isfinite(row[name]) and 0 <= row[name] <= 1)
    ]


def _unit_length(shard: Shard) -> Problems:
    lengths = [(row, float(np.linalg.norm(np.array(row["vector"], np.float64)))) for row in shard.good(CLIP_EMBEDDINGS)]
    return [f"{shard.named(row)}: length {length:.6f}" for row, length in lengths if not abs(length - 1) < 1e-3]


def _every_clip(table: Table) -> Callable[[Shard], Problems]:
    def problems(shard: Shard) -> Problems:
        found = {row["clip_id"] for row in shard.rows(table)}
        return [f"no row for {shard.named(row)}" for clip, row in sorted(shard.clips.items()) if clip not in found]

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
            found.append(f"{shard.named(row)}: there is no such clip any more: materialize clip_files again")
        elif row["frames"] != clip["end_frame"] - clip["start_frame"]:
            found.append(f"{shard.named(row)}: {row['frames']} frames, its span has another number")
        elif shard.tables.storage.size(row["path"]) != row["bytes"]:
            found.append(f"{shard.named(row)}: {row['path']} is gone or has another size: {_CUT_AGAIN}")
    return found


_CUT_AGAIN = "`curate materialize --select clip_files --force` for its shard makes it again"

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
        keys = ", ".join(table.keys)
        yield Check(
            table,
            "statuses_terminal",
            "Every row is ok, empty, or failed with a reason.",
            nothing_wrong(_terminal(table)),
            f"select slot, status, error from {table.name} where shard = $shard "
            f"and (status not in {STATUSES} or (status = 'failed' and error is null))",
        )
        yield Check(
            table,
            "keys_unique",
            "No key occurs twice in the shard.",
            nothing_wrong(_unique(table)),
            f"select {keys}, count(*) as rows from {table.name} where shard = $shard "
            f"group by {keys} having count(*) > 1",
        )
        yield Check(
            table,
            "failures_few",
            "Failed rows are within checks.max_failed_share; of fewer than checks.min_rows rows, this only warns.",
            _failures(table),
            f"select {_file(table)}{keys}, error.stage as stage, error.type as type, error.message as message "
            f"from {table.name} t where shard = $shard and status = 'failed'",
            blocking=table is SOURCE_VIDEOS,
        )
    for table, upstream in _UPSTREAM:
        yield Check(
            table,
            "not_silently_empty",
            f"There are rows where {upstream.name} has any.",
            nothing_wrong(_not_empty(table, upstream)),
            f"select * from {upstream.name} where shard = $shard and status = 'ok'",
        )
    for table in (MOTION_SCORES, CLIP_EMBEDDINGS, CLIP_SELECTION):
        yield Check(
            table,
            "every_clip_has_a_row",
            "No clip was lost on the way.",
            nothing_wrong(_every_clip(table)),
            f"select clip_id from clips anti join {table.name} using (shard, clip_id) "
            "where shard = $shard and status = 'ok'",
        )
    yield Check(
        SOURCE_VIDEOS,
        "every_entry_has_a_row",
        "The manifest and the table name the same files.",
        nothing_wrong(_every_entry),
        "select uri, status from source_videos where shard = $shard order by uri",
    )
    yield Check(
        SOURCE_VIDEOS,
        "files_complete",
        "No file ends before it says that it does.",
        nothing_wrong(_incomplete),
        "select uri, bytes, duration_ns / 1e9 as seconds from source_videos where shard = $shard and incomplete",
    )
    yield Check(
        SHOT_SIGNALS,
        "curves_valid",
        "One probability and one increasing time per frame.",
        nothing_wrong(_curves),
        "select video_id, frames, len(pts_ns) as times, len(transition) as probabilities, "
        "list_min(transition) as least, list_max(transition) as greatest from shot_signals where shard = $shard",
    )
    yield Check(
        MOTION_SIGNALS,
        "signals_finite",
        "All measurements are finite.",
        nothing_wrong(_motion_finite),
        "select video_id, list_sum(patches) as patches, list_sum(luma) as luma, list_sum(black) as black "
        "from motion_signals where shard = $shard",
    )
    yield Check(
        STORYBOARDS,
        "times_increase",
        "Presentation times increase within a video.",
        nothing_wrong(_storyboard_order),
        "select video_id, frame, pts_ns from storyboards where shard = $shard and status = 'ok' "
        "qualify pts_ns <= lag(pts_ns) over (partition by video_id order by frame)",
    )
    yield Check(
        CLIPS,
        "spans_inside_video",
        "Every span lies inside its video.",
        nothing_wrong(_spans_inside),
        "select c.video_id, c.clip_id, c.start_frame, c.end_frame, s.frames from clips c "
        "left join shot_signals s using (shard, video_id) where c.shard = $shard and c.status <> 'failed' "
        "and not coalesce(c.start_frame >= 0 and c.start_frame < c.end_frame and c.end_frame <= s.frames "
        "and c.start_ns < c.end_ns, false)",
    )
    yield Check(
        CLIPS,
        "spans_apart",
        "Clips of a video do not overlap.",
        nothing_wrong(_spans_apart),
        "select video_id, clip_id, start_frame, end_frame from clips where shard = $shard and status = 'ok' "
        "qualify start_frame < lag(end_frame) over (partition by video_id order by start_frame)",
    )
    yield Check(
        MOTION_SCORES,
        "scores_in_range",
        "Scores are finite and between 0 and 1.",
        nothing_wrong(_scores),
        "select clip_id, global_mean, per_patch_min_256, peak from motion_scores "
        "where shard = $shard and status = 'ok' and not "
        "(global_mean between 0 and 1 and per_patch_min_256 between 0 and 1 and peak between 0 and 1)",
    )
    yield Check(
        CLIP_EMBEDDINGS,
        "vectors_unit_length",
        "Every vector has length 1.",
        nothing_wrong(_unit_length),
        "select clip_id, sqrt(list_inner_product(vector, vector)) as length from clip_embeddings "
        "where shard = $shard and status = 'ok' and not abs(list_inner_product(vector, vector) - 1) < 0.002",
    )
    yield Check(
        DUPLICATE_PAIRS,
        "similarities_in_range",
        "Cosine similarities are within -1 and 1.",
        nothing_wrong(_similarities),
        "select clip_a, clip_b, similarity from duplicate_pairs where shard = $shard and status = 'ok' "
        "and not abs(similarity) < 1.001",
    )
    yield Check(
        CLIP_FILES,
        "files_match_spans",
        "Files are there, with as many frames as their spans.",
        nothing_wrong(_files),
        "select f.clip_id, f.path, f.bytes, f.frames, c.end_frame - c.start_frame as span from clip_files f "
        "left join clips c using (shard, clip_id) where f.shard = $shard and f.status = 'ok'",
    )
    yield from drift_checks()


CHECKS = tuple(_checks())
