"""The way from files to training samples, counted: what arrived at each step and what was lost before it."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from curate_assets.video.clip_files import CLIP_FILES
from curate_assets.video.clips import CLIPS
from curate_assets.video.duplicates import DUPLICATE_GROUPS
from curate_assets.video.selection import CLIP_SELECTION
from curate_assets.video.source_videos import SOURCE_VIDEOS
from curate_resources.plan import EXACT_COPY
from curate_resources.stage import Table
from curate_resources.tables import Tables

Key = tuple[str, str]
"""A shard, and an id within it: two shards may hold the same file."""

WAITING = "waiting"
"""The reason of what is not lost: the next table has no row for it yet."""


@dataclass(frozen=True)
class FunnelStep:
    """One step.

    Attributes:
        name: what is counted.
        count: how many there are; None when the table was never written.
        lost: what did not arrive here, by reason, counted in what the step before counts; for `clips`, in pieces of
            shots. A clip that was rejected for several reasons is counted under each of them.
    """

    name: str
    count: int | None
    lost: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Passage:
    """The funnel's steps, and which clips stand at each of them.

    Attributes:
        steps: all steps, in order.
        clips: clip keys by the name of a step, for the steps from `clips` to `clip files` whose tables are there.
    """

    steps: tuple[FunnelStep, ...]
    clips: dict[str, frozenset[Key]]


def funnel(tables: Tables, samples: int | None = None, shard: str | None = None) -> list[FunnelStep]:
    """Count the steps files, readable videos, shots, clips, selected, kept, clip files and samples.

    Rows about things that are no longer there, left by a shard that was made again in part, do not count. Reads a few
    short columns.

    Args:
        samples: samples in the training set; None when there is none.
        shard: of this one only.
    """
    return list(passage(tables, samples, shard).steps)


def passage(tables: Tables, samples: int | None = None, shard: str | None = None) -> Passage:
    """As `funnel`, with the clips at each step."""
    steps, videos = _sources(tables, shard)
    clips: dict[str, frozenset[Key]] = {}

    def arrive(name: str, keys: frozenset[Key] | None, lost: dict[str, int]) -> None:
        steps.append(FunnelStep(name, None if keys is None else len(keys), lost))
        if keys is not None:
            clips[name] = keys

    spans = _read(tables, shard, CLIPS, ["shard", "video_id", "clip_id", "shot", "dropped", "status"])
    if spans is None:
        steps.append(FunnelStep("shots", None))
        arrive("clips", None, {})
    else:
        found = [row for row in spans if videos is None or (row["shard"], row["video_id"]) in videos]
        failed = sum(row["status"] == "failed" for row in found)
        seen = {(row["shard"], row["video_id"]) for row in found}
        found = [row for row in found if row["status"] != "failed"]
        shots = {(row["shard"], row["video_id"], row["shot"]) for row in found}
        steps.append(
            FunnelStep("shots", len(shots), _counted({"failed": failed, WAITING: len((videos or set()) - seen)}))
        )
        dropped = Counter(str(row["dropped"] or "empty") for row in found if row["status"] == "empty")
        arrive("clips", _keys(row for row in found if row["status"] == "ok"), _counted(dropped))

    verdicts = _read(tables, shard, CLIP_SELECTION, ["shard", "clip_id", "selected", "reasons", "status"])
    rows, lost = _of(clips.get("clips"), verdicts)
    lost.update(reason for row in rows for reason in row["reasons"] or ())
    arrive("selected", None if verdicts is None else _keys(row for row in rows if row["selected"]), _counted(lost))

    groups = _read(tables, shard, DUPLICATE_GROUPS, ["shard", "clip_id", "keeper", "status"])
    rows, lost = _of(clips.get("selected"), groups)
    lost["duplicate"] = sum(row["keeper"] is False for row in rows)
    arrive("kept", None if groups is None else _keys(row for row in rows if row["keeper"]), _counted(lost))

    files = _read(tables, shard, CLIP_FILES, ["shard", "clip_id", "status"])
    rows, lost = _of(clips.get("kept"), files)
    arrive("clip files", None if files is None else _keys(row for row in rows if row["status"] == "ok"), _counted(lost))

    delivered = clips.get("clip files")
    left_out = len(delivered) - samples if delivered is not None and samples is not None else 0
    steps.append(FunnelStep("samples", samples, _counted({"left_out": left_out})))
    return Passage(tuple(steps), clips)


def _sources(tables: Tables, shard: str | None) -> tuple[list[FunnelStep], set[Key] | None]:
    rows = _read(tables, shard, SOURCE_VIDEOS, ["shard", "video_id", "status", "error"])
    if rows is None:
        return [FunnelStep("files", None), FunnelStep("readable videos", None)], None
    lost: Counter[str] = Counter()
    for row in rows:
        copy = row["status"] == "empty" and (row["error"] or {}).get("type") == EXACT_COPY
        lost[row["status"] if not copy else "exact_copy"] += row["status"] != "ok"
    videos = {(row["shard"], row["video_id"]) for row in rows if row["status"] == "ok"}
    return [FunnelStep("files", len(rows)), FunnelStep("readable videos", len(videos), _counted(lost))], videos


def _read(tables: Tables, shard: str | None, table: Table, columns: list[str]) -> list[dict[str, Any]] | None:
    return tables.read(table, shard, columns).to_pylist() if tables.exists(table.name) else None


def _of(
    arrived: Collection[Key] | None, rows: list[dict[str, Any]] | None
) -> tuple[list[dict[str, Any]], Counter[str]]:
    """The rows about clips that arrived, and how many of those have failed or no rows."""
    if rows is None:
        return [], Counter()
    if arrived is not None:
        rows = [row for row in rows if (row["shard"], row["clip_id"]) in arrived]
    missing = len(arrived) - len(_keys(rows)) if arrived is not None else 0
    return rows, Counter({**Counter(row["status"] for row in rows if row["status"] != "ok"), WAITING: missing})


def _keys(rows: Iterable[dict[str, Any]]) -> frozenset[Key]:
    return frozenset((row["shard"], row["clip_id"]) for row in rows)


def _counted(lost: dict[str, int]) -> dict[str, int]:
    """The reasons that occur, most frequent first, what is only waiting last."""
    reasons = [reason for reason, count in lost.items() if count > 0]
    return {reason: lost[reason] for reason in sorted(reasons, key=lambda r: (r == WAITING, -lost[r], r))}
