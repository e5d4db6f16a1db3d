"""`clip_selection`: the verdict on every clip, and every reason against it. The only asset with score thresholds."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curate_assets.graph.drift import Measures, measures_of_others, too_few, too_short_history
from curate_assets.graph.graph import Asset
from curate_assets.graph.platform import CheckLimits
from curate_assets.graph.shard_checks import Check, Finding, Shard
from curate_assets.video.assets.clips import CLIP_ID, CLIPS
from curate_assets.video.assets.source_videos import VIDEO_ID
from curate_assets.video.clip_lists import NOT_LISTED, OnlyListed, listed_clips
from curate_assets.video.clip_scores import clip_scores
from curate_assets.video.measuring import is_measured, switch_of
from curate_assets.video.verdicts import LAST, SCORED, THRESHOLDS, judged, names_column, thresholds_of, verdict_columns
from curate_resources.declarations.stage import Made, Stage, Work, Worker
from curate_resources.declarations.table import Column, Table
from curate_resources.storage.root import Storage
from gpu_kernels.scores.thresholds import selection_config
from gpu_kernels.strict import StrictModel

_REJECTED = "rejected_share"
_REJECTED_CLIPS = "select clip_id, reasons from clip_selection where shard = $shard and not selected order by clip_id"


def _measures(rows: pa.Table) -> Measures:
    """The shares of clips that are rejected, and that each reason rejects. Those that a list leaves out are left out on
    purpose, and do not count."""
    found = rows.filter(pc.field("status") == "ok")
    found = found.filter(pa.array([NOT_LISTED not in reasons for reasons in found["reasons"].to_pylist()], pa.bool_()))
    if (clips := found.num_rows) == 0:
        return {"clips": [0.0]}
    reasons = pa.chunked_array([each.flatten() for each in found["reasons"].chunks], pa.string()).value_counts()
    shares = {f"{_REJECTED}_{each['values']}": [each["counts"] / clips] for each in reasons.to_pylist()}
    rejected = clips - np.count_nonzero(found["selected"].to_numpy())
    return {"clips": [float(clips)], _REJECTED: [rejected / clips], **dict(sorted(shares.items()))}


CLIP_SELECTION = Table(
    name="clip_selection",
    grain="clip",
    keys=("video_id", "clip_id"),
    sections=("clip_selection",),
    measures=_measures,
    identity=("selected",),
    columns=(
        VIDEO_ID,
        CLIP_ID,
        Column("selected", pa.bool_(), "the verdict"),
        Column(
            "reasons",
            pa.list_(pa.string()),
            "every reason against the clip: a score's name with `_low`, `_high` or `_unmeasured`, or `not_listed`",
        ),
        Column(
            "not_measured",
            pa.list_(pa.string()),
            "the measurements that have no result of the clip, which others reject without them (`when`)",
            derived=lambda rows: pa.array([[]] * rows.num_rows, pa.list_(pa.string())),
        ),
    ),
    description=(
        "The verdict on every clip and every reason against it, from thresholds on scores that were measured before. "
        "Changing a threshold recomputes this table and nothing that was measured."
    ),
)


_FIRST = (
    "frame_rate_min",
    "motion_global_mean_min",
    "motion_peak_min",
    "motion_per_patch_min",
    "seconds_max",
    "seconds_min",
    "short_side_min",
)
"""Thresholds that stored verdicts name, though they have their defaults."""

ClipSelectionConfig = selection_config("ClipSelectionConfig", __name__, THRESHOLDS, _FIRST, OnlyListed)


def _measures_what_it_limits(config: Any) -> None:
    limits: StrictModel = config.clip_selection
    for asset in SCORED:
        wanted = [  # not as by default, which a whole configuration names, too
            each.setting for each in thresholds_of(asset) if getattr(limits, each.setting) not in (None, each.default)
        ]
        if wanted and not is_measured(asset, config):
            switch = switch_of(asset)
            remedy = f"set {switch} to true" if switch else "see its settings"
            raise ValueError(f"clip_selection.{wanted[0]} needs {asset.name}, which is off: {remedy}")
        for least, most in _both_ends(asset):
            low, high = (getattr(limits, each) for each in (least, most))
            if low is not None and high is not None and low > high:
                raise ValueError(
                    f"clip_selection.{least} ({low:g}) is more than {most} ({high:g}): no clip would be selected"
                )


def _both_ends(asset: Asset) -> list[tuple[str, str]]:
    """The settings of the scores with a threshold at either end: the least and the greatest that they may be."""
    ends = [{each.rejects: each.setting for each in score.named()} for score in asset.scores]
    return [(both["low"], both["high"]) for both in ends if len(both) == 2]


def open_selector(config: Any, storage: Storage) -> Worker:
    """A worker that compares scores with thresholds."""
    listed = listed_clips(storage, config.clip_selection.only)

    def select(work: Work) -> Made:
        clips = work.items
        ids = clips["clip_id"].to_pylist()
        found = judged(config, ids, lambda names: clip_scores(SCORED, names, clips, work.inputs), listed)
        not_measured = names_column(found.not_measured, lambda score: LAST[score])
        return {CLIP_SELECTION.name: pa.table({**verdict_columns(found, clips), "not_measured": not_measured})}

    return select


SELECT = Stage(
    name="select",
    item=CLIPS.name,
    reads=tuple(asset.name for asset in SCORED if asset.table is not CLIPS),
    writes=(CLIP_SELECTION,),
    open=open_selector,
    of_shards=True,
)


class ClipSelectionLimits(CheckLimits):
    """What the checks of `clip_selection` accept."""

    max_rejected_share: float = Field(default=0.95, ge=0, le=1)
    """Greatest share of rejected clips of a shard."""
    max_rejection_change: float = Field(default=0.3, ge=0, le=1)
    """Greatest difference between the share of clips that a reason rejects in a shard, and in other shards."""


def _rejected(shard: Shard) -> Finding:
    measured = shard.measures(CLIP_SELECTION)
    if note := too_few(shard, measured["clips"][0], "clips"):
        return Finding([], note=note)
    share, limit = measured[_REJECTED][0], shard.limits(ClipSelectionLimits).max_rejected_share
    if share <= limit:
        return Finding([], {_REJECTED: share})
    reasons = [f"{reason}: {value:.1%}" for reason, value in _by_reason(measured).items()]
    return Finding([f"{share:.1%} of the clips are rejected, more than {limit:.1%}", *reasons], {_REJECTED: share})


def _rejections_changed(shard: Shard) -> Finding:
    measured, others = shard.measures(CLIP_SELECTION), measures_of_others(shard, CLIP_SELECTION, "clips")
    if note := too_few(shard, measured["clips"][0], "clips") or too_short_history(shard, len(others)):
        return Finding([], note=note)
    limit = shard.limits(ClipSelectionLimits).max_rejection_change
    own, elsewhere = _by_reason(measured), [_by_reason(other) for other in others]
    problems: list[str] = []
    greatest = 0.0
    for reason in sorted({reason for shares in (own, *elsewhere) for reason in shares}):
        share, usual = own.get(reason, 0.0), float(np.mean([shares.get(reason, 0.0) for shares in elsewhere]))
        greatest = max(greatest, abs(share - usual))
        if abs(share - usual) > limit:
            problems.append(f"{reason} rejects {share:.1%} of the clips, elsewhere {usual:.1%}")
    return Finding(problems, {"greatest_change": greatest, "shards_compared": len(others)})


def _by_reason(measures: Measures) -> dict[str, float]:
    each = f"{_REJECTED}_"
    return {name.removeprefix(each): values[0] for name, values in measures.items() if name.startswith(each)}


CHECKS = (
    Check(
        CLIP_SELECTION,
        "rejections_few",
        "Rejected clips are within checks.max_rejected_share; those that are not listed do not count.",
        _rejected,
        _REJECTED_CLIPS,
    ),
    Check(
        CLIP_SELECTION,
        "rejections_steady",
        "Every reason rejects about as many clips as in other shards, to checks.max_rejection_change.",
        _rejections_changed,
        _REJECTED_CLIPS,
        warns=True,
    ),
)


ASSET = Asset(
    CLIP_SELECTION,
    SELECT,
    "clips",
    CHECKS,
    section=ClipSelectionConfig,
    agrees=_measures_what_it_limits,
    limits=ClipSelectionLimits,
    exported=True,
)
