"""Thresholds from what was measured: percentiles of the scores of a sample of clips, and what they would reject."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate_assets.graph.graph import Asset
from curate_assets.graph.platform import PlatformConfig
from curate_assets.video.assets.clip_selection import CLIP_SELECTION, ClipSelectionConfig
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.clip_scores import by_clip, stored_scores
from curate_assets.video.measuring import switch_of
from curate_assets.video.verdicts import SCORED, SCORES, THRESHOLDS, judged, thresholds_that_count
from curate_resources.declarations.table import Table
from curate_resources.pipeline.plan import MissingInput
from curate_resources.suggestions import did_you_mean
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.errors import UserError
from gpu_kernels.scores.thresholds import Measured, Scores, Threshold, Verdicts
from gpu_kernels.strict import StrictModel

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
    counting = thresholds_that_count(config)
    chosen = _chosen(scores, limits, counting)
    if off := [each for each in chosen if each not in counting]:
        (asset,) = _scored_by(off[:1])
        remedy = f": set {switch}" if (switch := switch_of(asset)) else ""
        raise UserError(f"{off[0].score} is not measured, because {asset.name} are not made{remedy}")
    scored = _scored_by(chosen)
    clips = _measured_clips(tables, shards, scored)
    drawn = sorted(clips, key=lambda key: hashlib.sha256(f"{seed}/{'/'.join(key)}".encode()).digest())[:sample]
    found = _sampled(tables, sorted(drawn))
    values = {each.setting: _proposed(each, [clip.scores[each.score] for clip in found], percentile) for each in chosen}
    proposed = type(config).model_validate(_with(config, values))
    now, then = (sample_verdicts(each, found).reasons.each for each in (config, proposed))
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
                rejected_alone=sum(reasons == (each.reason,) for reasons in then),
            )
            for each in chosen
        ),
        rejected_now=sum(map(bool, now)),
        rejected=sum(map(bool, then)),
        config=proposed,
    )


def sample_verdicts(config: PlatformConfig, sample: Sequence[SampledClip]) -> Verdicts:
    """The verdicts on the clips of a sample with a configuration."""

    def scores(names: frozenset[str]) -> Scores:
        return {name: np.array([clip.scores[name] for clip in sample], np.float64) for name in names}

    return judged(config, len(sample), scores)


def _chosen(scores: Sequence[str], config: StrictModel, counting: Sequence[Threshold]) -> list[Threshold]:
    known = list(dict.fromkeys(each.score for each in THRESHOLDS))
    if unknown := sorted(set(scores) - set(known)):
        hint = did_you_mean(unknown[0], known) or f": choose from {', '.join(known)}"
        raise UserError(f"there is no score {unknown[0]!r} with a threshold{hint}")
    on = {each.score for each in counting if getattr(config, each.setting) is not None}
    if not scores and not on:
        raise UserError(f"no threshold is on: name a score with --score: {', '.join(known)}")
    wanted = set(scores) or on
    # Of a score with two bounds, those that are on; both where none is.
    return [
        each
        for each in THRESHOLDS
        if each.score in wanted and (getattr(config, each.setting) is not None or each.score not in on)
    ]


def _scored_by(thresholds: Sequence[Threshold]) -> list[Asset]:
    """The assets whose scores some thresholds are on."""
    wanted = {each.score for each in thresholds}
    return [asset for asset in SCORED if any(score.name in wanted for score in asset.scores)]


def _measured_clips(tables: Tables, shards: Collection[str] | None, scored: Sequence[Asset]) -> list[tuple[str, str]]:
    """Shard and id of every clip that has scores, or has failed to get them."""
    own = [asset for asset in scored if asset.table.has("clip_id") and asset.table is not CLIPS]
    for name in (SOURCE_VIDEOS.name, CLIPS.name, *(asset.name for asset in own)):
        if not tables.exists(name):
            raise MissingInput(f"{name} is not there: `curate materialize --select {(own or scored)[-1].name}` first")
    found = [_keys(tables, CLIPS, "status = 'ok'", shards), *(_keys(tables, each.table, None, shards) for each in own)]
    if not (clips := set[tuple[str, str]].intersection(*found)):
        raise MissingInput("there are no clips with scores: see what became of the videos with `curate status`")
    return sorted(clips)


def _keys(tables: Tables, table: Table, where: str | None, shards: Collection[str] | None) -> set[tuple[str, str]]:
    return {
        (row["shard"], row["clip_id"])
        for row in tables.read(table, columns=["shard", "clip_id"], where=where).to_pylist()
        if shards is None or row["shard"] in shards
    }


def _sampled(tables: Tables, keys: Sequence[tuple[str, str]]) -> list[SampledClip]:
    """The clips of these keys, as far as their source is there still: else clips was not made again since it went."""
    columns = ["shard", "video_id", "clip_id", "start_frame", "end_frame", "start_ns", "end_ns"]
    names = [score.name for score in SCORES]
    found: list[SampledClip] = []
    for shard in sorted({shard for shard, _ in keys}):
        wanted = pa.array([clip_id for own, clip_id in keys if own == shard])
        clips = tables.read(CLIPS, shard, columns, "status = 'ok'")
        clips = clips.filter(pc.field("clip_id").isin(wanted))
        sources = tables.read(SOURCE_VIDEOS, shard, ["video_id", "uri"], "status = 'ok'").to_pylist()
        uris = {row["video_id"]: row["uri"] for row in sources}
        measured = by_clip(stored_scores(SCORED, names, clips, tables, [shard]))
        found += [
            SampledClip(uri=uris[clip["video_id"]], scores=scores, **clip)
            for clip, scores in zip(clips.to_pylist(), measured, strict=True)
            if clip["video_id"] in uris
        ]
    return sorted(found, key=lambda clip: (clip.shard, clip.clip_id))


def _proposed(threshold: Threshold, scores: Iterable[float | None], percentile: float) -> float:
    values = [score for score in scores if score is not None]
    if not values:
        (asset,) = _scored_by([threshold])
        raise UserError(f"no clip of the sample has a {threshold.score}: see the errors in {asset.name}")
    value = float(np.percentile(values, percentile if threshold.rejects == "low" else 100 - percentile))
    return round(value) if threshold.whole else float(f"{value:.{_DIGITS}g}")


def _with(config: PlatformConfig, values: Mapping[str, float]) -> dict[str, Any]:
    whole = config.model_dump()
    return {**whole, SECTION: {**whole[SECTION], **values}}
