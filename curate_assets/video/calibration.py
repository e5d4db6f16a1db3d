"""Thresholds from what was measured: percentiles of the scores of a sample of clips, and what they would reject."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from curate_assets.config import PlatformConfig
from curate_assets.configuration import validated
from curate_assets.video.assets.clip_selection import CLIP_SELECTION, measured
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.motion_scores import MOTION_SCORES
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_resources.plan import MissingInput
from curate_resources.stage import Table
from curate_resources.suggestions import did_you_mean
from curate_resources.tables import Tables
from gpu_kernels.errors import UserError
from gpu_kernels.selection import THRESHOLDS, ClipSelectionConfig, Measured, Threshold, rejection_reasons

SECTION = CLIP_SELECTION.name
"""The section of the configuration that the thresholds stand in."""

_DIGITS = 4


@dataclass(frozen=True)
class SampledClip:
    """A clip of the sample, with all that it was measured by."""

    shard: str
    video_id: str
    clip_id: str
    uri: str
    start_frame: int
    end_frame: int
    start_ns: int
    end_ns: int
    scores: Measured = field(hash=False)


@dataclass(frozen=True)
class Proposal:
    """A value for one threshold, and clips of the sample that it rejects.

    Attributes:
        setting, score, rejects: as in `Threshold`.
        current: what is set now; None where the threshold is off.
        proposed: the percentile, to four digits.
        measured: clips that have the score.
        rejected_now: clips that the current value rejects.
        rejected: clips that the proposed value rejects.
        rejected_alone: those of them that no other threshold rejects, with all proposals in force.
    """

    setting: str
    score: str
    rejects: str
    current: float | None
    proposed: float
    measured: int
    rejected_now: int
    rejected: int
    rejected_alone: int


@dataclass(frozen=True)
class Calibration:
    """Proposals for some thresholds.

    Attributes:
        clips: all clips that are measured; `sample` are some of them.
        percentile: the share of the sample, in percent, that each threshold is to reject.
        rejected_now, rejected: clips of the sample that anything rejects, now and with all proposals in force.
        config: the configuration with all proposals in force.
    """

    root: str
    clips: int
    percentile: float
    sample: tuple[SampledClip, ...]
    proposals: tuple[Proposal, ...]
    rejected_now: int
    rejected: int
    config: PlatformConfig

    @property
    def settings(self) -> dict[str, float]:
        """The proposed values by setting."""
        return {each.setting: each.proposed for each in self.proposals}


def calibrate(
    tables: Tables,
    config: PlatformConfig,
    scores: Sequence[str],
    sample: int,
    percentile: float,
    seed: int = 0,
    shards: Collection[str] | None = None,
) -> Calibration:
    """Propose the thresholds of some scores: those that reject `percentile` percent of a sample of clips each.

    The sample is drawn by the clips' ids, so that the same clips and seed give the same sample, and more clips change
    little of it.

    Args:
        scores: of which scores; all that have a threshold now where none is named.
        shards: whose clips the sample is drawn from; None: those of all.

    Raises:
        MissingInput: nothing was measured yet.
        UserError: there is no such score, or no clip that has it.
    """
    limits = config.section(SECTION, ClipSelectionConfig)
    chosen = _chosen(scores, limits)
    clips = _measured_clips(tables, shards)
    drawn = sorted(clips, key=lambda key: hashlib.sha256(f"{seed}/{'/'.join(key)}".encode()).digest())[:sample]
    found = _sampled(tables, sorted(drawn))
    values = {each.setting: _proposed(each, [clip.scores[each.score] for clip in found], percentile) for each in chosen}
    proposed = validated(_with(config, values))
    now = [rejection_reasons(clip.scores, limits) for clip in found]
    then = [rejection_reasons(clip.scores, proposed.section(SECTION, ClipSelectionConfig)) for clip in found]
    return Calibration(
        root=tables.storage.root,
        clips=len(clips),
        percentile=percentile,
        sample=tuple(found),
        proposals=tuple(
            Proposal(
                setting=each.setting,
                score=each.score,
                rejects=each.rejects,
                current=getattr(limits, each.setting),
                proposed=values[each.setting],
                measured=sum(clip.scores[each.score] is not None for clip in found),
                rejected_now=sum(each.reason in reasons for reasons in now),
                rejected=sum(each.reason in reasons for reasons in then),
                rejected_alone=sum(reasons == [each.reason] for reasons in then),
            )
            for each in chosen
        ),
        rejected_now=sum(map(bool, now)),
        rejected=sum(map(bool, then)),
        config=proposed,
    )


def _chosen(scores: Sequence[str], config: ClipSelectionConfig) -> list[Threshold]:
    known = list(dict.fromkeys(each.score for each in THRESHOLDS))
    if unknown := sorted(set(scores) - set(known)):
        hint = did_you_mean(unknown[0], known) or f": choose from {', '.join(known)}"
        raise UserError(f"there is no score {unknown[0]!r} with a threshold{hint}")
    on = {each.score for each in THRESHOLDS if getattr(config, each.setting) is not None}
    if not scores and not on:
        raise UserError(f"no threshold is on: name a score with --score: {', '.join(known)}")
    wanted = set(scores) or on
    # Of a score with two bounds, those that are on; both where none is.
    return [
        each
        for each in THRESHOLDS
        if each.score in wanted and (getattr(config, each.setting) is not None or each.score not in on)
    ]


def _measured_clips(tables: Tables, shards: Collection[str] | None) -> list[tuple[str, str]]:
    """Shard and id of every clip that has motion scores, or has failed to get them."""
    for table in (SOURCE_VIDEOS, CLIPS, MOTION_SCORES):
        if not tables.exists(table.name):
            raise MissingInput(f"{table.name} is not there: `curate materialize --select {MOTION_SCORES.name}` first")
    clips, scored = (
        {
            (row["shard"], row["clip_id"])
            for row in tables.read(table, columns=["shard", "clip_id"], where=where).to_pylist()
            if shards is None or row["shard"] in shards
        }
        for table, where in ((CLIPS, "status = 'ok'"), (MOTION_SCORES, None))
    )
    if not clips & scored:
        raise MissingInput("there are no clips with scores: see what became of the videos with `curate status`")
    return sorted(clips & scored)


def _sampled(tables: Tables, keys: Sequence[tuple[str, str]]) -> list[SampledClip]:
    columns = ["shard", "video_id", "clip_id", "start_frame", "end_frame", "start_ns", "end_ns"]
    clips = _rows(tables, CLIPS, columns, keys)
    motion = _rows(tables, MOTION_SCORES, ["shard", "clip_id", "global_mean", "per_patch_min_256", "peak"], keys)
    about = ["shard", "video_id", "uri", "width", "height", "average_rate"]
    videos = {
        (row["shard"], row["video_id"]): row
        for row in tables.read(SOURCE_VIDEOS, columns=about, where="status = 'ok'").to_pylist()
    }
    found: list[SampledClip] = []
    for key in keys:
        clip = clips[key]
        video = videos.get((clip["shard"], clip["video_id"]))
        if video is not None:  # else clips was not made again since the file went
            scores = measured(clip, video, motion.get(key))
            found.append(SampledClip(uri=video["uri"], scores=scores, **clip))
    return found


def _rows(
    tables: Tables, table: Table, columns: list[str], keys: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], dict[str, Any]]:
    """Good rows of some clips, by shard and clip."""
    wanted = set(keys)
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for shard in sorted({shard for shard, _ in keys}):
        for row in tables.read(table, shard, columns, "status = 'ok'").to_pylist():
            if (shard, row["clip_id"]) in wanted:
                found[shard, row["clip_id"]] = row
    return found


def _proposed(threshold: Threshold, scores: Iterable[float | None], percentile: float) -> float:
    values = [score for score in scores if score is not None]
    if not values:
        raise UserError(f"no clip of the sample has a {threshold.score}: see the errors in {MOTION_SCORES.name}")
    value = float(np.percentile(values, percentile if threshold.rejects == "low" else 100 - percentile))
    return round(value) if threshold.whole else float(f"{value:.{_DIGITS}g}")


def _with(config: PlatformConfig, values: Mapping[str, float]) -> dict[str, Any]:
    whole = config.model_dump()
    return {**whole, SECTION: {**whole[SECTION], **values}}
