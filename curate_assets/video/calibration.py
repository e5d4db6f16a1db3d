"""Thresholds from what was measured: percentiles of the scores of a sample of clips, and what they would reject."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate_assets.graph.graph import Asset
from curate_assets.graph.platform import PlatformConfig
from curate_assets.video.assets.clip_selection import CLIP_SELECTION, ClipSelectionConfig
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.clip_lists import OnlyListed, listed_clips
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

CANDIDATES = (1.0, 5.0, 10.0, 25.0)
"""Percent of the sample that the candidates for a threshold reject; the one that is asked for comes on top."""

PERCENTILES = (1.0, 5.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0)
"""Those of each score that are shown."""

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
class Candidate:
    """A value that a threshold could have: it was to reject `percentile` percent of the sample, and rejects `rejected`
    clips of it."""

    percentile: float
    value: float
    rejected: int


@dataclass(frozen=True)
class Proposal:
    """A value for one threshold, and clips of the sample that it rejects.

    Attributes:
        setting, score, rejects: as in `Threshold`.
        current: what is set now; None where the threshold is off.
        proposed: the percentile, to four digits, within the bounds of the setting.
        percentiles: those of the score, by percent.
        candidates: values to choose from, the one that rejects least first; `proposed` is one of them.
        measured: clips that have the score.
        rejected_now: clips that the current value rejects.
        rejected: clips that the proposed value rejects.
        rejected_alone: those of them that no other threshold rejects, with all proposals in force.
    """

    setting: str
    score: str
    rejects: Literal["low", "high"]
    current: float | None
    proposed: float
    percentiles: Mapping[float, float]
    candidates: tuple[Candidate, ...]
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
        left_out: by setting, why nothing is proposed for it.
        rejected_now, rejected: clips of the sample that anything rejects, now and with all proposals in force.
        config: the configuration with all proposals in force.
    """

    root: str
    clips: int
    percentile: float
    sample: tuple[SampledClip, ...]
    proposals: tuple[Proposal, ...]
    left_out: Mapping[str, str]
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
    every: bool = False,
) -> Calibration:
    """Propose the thresholds of some scores: those that reject `percentile` percent of a sample of clips each.

    The sample is drawn by the clips' ids, so that the same clips and seed give the same sample, and more clips change
    little of it. Where `clip_selection.only` names a list, it is a sample of the clips on it.

    Args:
        scores: of which scores; all that have a threshold now where none is named.
        shards: whose clips the sample is drawn from; None: those of all.
        every: of every score that is measured, whether it has a threshold now or not.

    Raises:
        MissingInput: nothing was measured yet.
        UserError: there is no such score, or no clip that has it; or the list is not there or was changed.
    """
    limits = config.section(SECTION, ClipSelectionConfig)
    only = config.section(SECTION, OnlyListed).only
    listed = listed_clips(tables.storage, only)
    counting = thresholds_that_count(config)
    chosen = counting if every else _chosen(scores, limits, counting)
    if off := [each for each in chosen if each not in counting]:
        raise UserError(not_measured(off[0]))
    clips = _measured_clips(tables, shards, [] if every else scored_by(chosen))
    if listed is not None and not (clips := [key for key in clips if key[1] in listed]):
        raise MissingInput(f"no clip with scores is on the list clip_selection.only: {only}")
    drawn = sorted(clips, key=lambda key: hashlib.sha256(f"{seed}/{'/'.join(key)}".encode()).digest())[:sample]
    found = _sampled(tables, sorted(drawn))
    left_out: dict[str, str] = {}
    candidates: dict[str, tuple[Candidate, ...]] = {}
    values: dict[str, float] = {}
    for each in chosen:
        scored = np.array([clip.scores[each.score] for clip in found], np.float64)
        scored = scored[~np.isnan(scored)]
        (asset,) = scored_by([each])
        proposed = _at_percentile(each, scored, percentile)
        if not len(scored):
            left_out[each.setting] = (
                f"no clip of the sample has a value of {each.score}: {where_values_are_told(asset)}"
            )
        elif proposed is None:
            left_out[each.setting] = f"every {each.score} of the sample is outside of what the setting takes"
        else:
            values[each.setting] = proposed
            candidates[each.setting] = _candidates(each, scored, percentile)
    if not values:
        raise UserError(next(iter(left_out.values())))
    proposing = type(config).model_validate(_with(config, values))
    now, then = (sample_verdicts(each, found).reasons.each for each in (config, proposing))
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
                percentiles=_percentiles([clip.scores[each.score] for clip in found]),
                candidates=candidates[each.setting],
                measured=sum(clip.scores[each.score] is not None for clip in found),
                rejected_now=sum(each.reason in reasons for reasons in now),
                rejected=sum(each.reason in reasons for reasons in then),
                rejected_alone=sum(reasons == (each.reason,) for reasons in then),
            )
            for each in chosen
            if each.setting in values
        ),
        left_out=left_out,
        rejected_now=sum(map(bool, now)),
        rejected=sum(map(bool, then)),
        config=proposing,
    )


def sample_verdicts(config: PlatformConfig, sample: Sequence[SampledClip]) -> Verdicts:
    """The verdicts on the clips of a sample with a configuration."""

    def scores(names: frozenset[str]) -> Scores:
        return {name: np.array([clip.scores[name] for clip in sample], np.float64) for name in names}

    return judged(config, [clip.clip_id for clip in sample], scores, listed=None)


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


def not_measured(threshold: Threshold) -> str:
    """Why nothing is known of the score of a threshold whose asset is not made, and what to do."""
    (asset,) = scored_by([threshold])
    remedy = f": set {switch} to true" if (switch := switch_of(asset)) else ""
    return f"{threshold.score} is not measured, because {asset.name} is off{remedy}"


def where_values_are_told(asset: Asset) -> str:
    """What to look at where an asset that is made has no value of a score: it may have failed, or be set so."""
    return f"see {asset.name} in `curate status`, and its settings in `curate docs measurements`"


def scored_by(thresholds: Sequence[Threshold]) -> list[Asset]:
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


def _at_percentile(threshold: Threshold, scores: NDArray[np.float64], percentile: float) -> float | None:
    """The value of a threshold that rejects so many percent of some scores; None where there is none it could take."""
    if not len(scores):
        return None
    value = float(np.percentile(scores, percentile if threshold.rejects == "low" else 100 - percentile))
    return within_bounds(threshold, value, scores)


def within_bounds(threshold: Threshold, value: float, scores: NDArray[np.float64]) -> float | None:
    """A value as its setting takes it: whole or to four digits, and not beyond the bounds.

    Where a bound itself is not allowed (`gt`, `lt`), the nearest score that is takes its place; None where there is
    none.
    """
    above, least, below, most = (threshold.bounds.get(name) for name in ("gt", "ge", "lt", "le"))

    def rounded(number: float) -> float:
        return round(number) if threshold.whole else float(f"{number:.{_DIGITS}g}")

    def allowed(number: float) -> bool:
        return (above is None or number > above) and (below is None or number < below)

    value = rounded(value)
    value = max(value, least) if least is not None else value
    value = min(value, most) if most is not None else value
    if allowed(value):
        return value
    others = [each for each in map(rounded, np.unique(scores).tolist()) if allowed(each)]
    return min(others, key=lambda each: abs(each - value), default=None)


def _candidates(threshold: Threshold, scores: NDArray[np.float64], percentile: float) -> tuple[Candidate, ...]:
    found: dict[float, Candidate] = {}
    for percent in sorted({*CANDIDATES, percentile}, key=lambda each: (each != percentile, each)):
        value = _at_percentile(threshold, scores, percent)
        if value is not None and value not in found:
            limit, stored = np.float32(value), scores.astype(np.float32)
            beyond = stored < limit if threshold.rejects == "low" else stored > limit
            found[value] = Candidate(percent, value, int(beyond.sum()))
    return tuple(sorted(found.values(), key=lambda each: each.percentile))


def _percentiles(scores: Iterable[float | None]) -> dict[float, float]:
    found = np.percentile([score for score in scores if score is not None], PERCENTILES).tolist()
    return dict(zip(PERCENTILES, found, strict=True))


def _with(config: PlatformConfig, values: Mapping[str, float]) -> dict[str, Any]:
    whole = config.model_dump()
    return {**whole, SECTION: {**whole[SECTION], **values}}
