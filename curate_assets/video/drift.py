"""Checks of a shard against limits, and against what the shards before it were like."""

from collections.abc import Iterable

import numpy as np

from curate_assets.video.captions import CAPTIONS
from curate_assets.video.clips import CLIPS
from curate_assets.video.embeddings import CLIP_EMBEDDINGS
from curate_assets.video.measures import REJECTED, Measures
from curate_assets.video.selection import CLIP_SELECTION
from curate_assets.video.shard_checks import Check, Finding, Shard
from curate_assets.video.signals import SHOT_SIGNALS
from curate_resources.stage import Table

_REJECTED_CLIPS = "select clip_id, reasons from clip_selection where shard = $shard and not selected order by clip_id"

_SHORTEST = 1e-3
"""Seconds: shorter shots are all alike."""


def _damage(shard: Shard) -> Finding:
    measured = {name: values[0] for name, values in shard.measures(SHOT_SIGNALS).items()}
    damaged = measured["decode_errors"] + measured["damaged_frames"]
    share = damaged / max(1.0, measured["frames"] + measured["decode_errors"])
    limit = shard.config.checks.max_damaged_share
    said = f"{damaged:,.0f} frames are damaged or missing: {share:.1%} of all, more than {limit:.1%}"
    return Finding([said] if share > limit else [], {"damaged_share": share})


def _rejected(shard: Shard) -> Finding:
    measured = shard.measures(CLIP_SELECTION)
    if note := _too_few(shard, measured["clips"][0], "clips"):
        return Finding([], note=note)
    share, limit = measured[REJECTED][0], shard.config.checks.max_rejected_share
    if share <= limit:
        return Finding([], {REJECTED: share})
    reasons = [f"{reason}: {value:.1%}" for reason, value in _by_reason(measured).items()]
    return Finding([f"{share:.1%} of the clips are rejected, more than {limit:.1%}", *reasons], {REJECTED: share})


def _rejections_changed(shard: Shard) -> Finding:
    measured, others = shard.measures(CLIP_SELECTION), _others(shard, CLIP_SELECTION, "clips")
    if note := _too_few(shard, measured["clips"][0], "clips") or _too_short_history(shard, others):
        return Finding([], note=note)
    limit = shard.config.checks.max_rejection_change
    own, elsewhere = _by_reason(measured), [_by_reason(other) for other in others]
    problems: list[str] = []
    greatest = 0.0
    for reason in sorted({reason for shares in (own, *elsewhere) for reason in shares}):
        share, usual = own.get(reason, 0.0), float(np.mean([shares.get(reason, 0.0) for shares in elsewhere]))
        greatest = max(greatest, abs(share - usual))
        if abs(share - usual) > limit:
            problems.append(f"{reason} rejects {share:.1%} of the clips, elsewhere {usual:.1%}")
    return Finding(problems, {"greatest_change": greatest, "shards_compared": len(others)})


def _shots_changed(shard: Shard) -> Finding:
    """Wasserstein's distance between the distributions of the logarithms of lengths, told as a factor."""
    measured, others = shard.measures(CLIPS), _others(shard, CLIPS, "shots")
    if note := _too_few(shard, measured["shots"][0], "shots") or _too_short_history(shard, others):
        return Finding([], note=note)
    own, *elsewhere = [np.log(np.maximum(each["shot_seconds"], _SHORTEST)) for each in (measured, *others)]
    usual = np.mean(elsewhere, axis=0)  # of quantiles: Wasserstein's mean of the distributions
    factor, limit = float(np.exp(np.abs(own - usual).mean())), shard.config.checks.max_shot_length_factor
    middle = len(usual) // 2
    said = (
        f"shots are {factor:.1f} times as long or as short as elsewhere, more than {limit:g}: "
        f"the median is {np.exp(own[middle]):.2f} s, elsewhere {np.exp(usual[middle]):.2f} s"
    )
    return Finding([said] if factor > limit else [], {"length_factor": factor, "shards_compared": len(others)})


def _embeddings_changed(shard: Shard) -> Finding:
    """Cosine between the mean vector of the shard and that of the others."""
    measured, others = shard.measures(CLIP_EMBEDDINGS), _others(shard, CLIP_EMBEDDINGS, "clips")
    if note := _too_few(shard, measured["clips"][0], "clips") or _too_short_history(shard, others):
        return Finding([], note=note)
    own, usual = np.array(measured["centroid"]), np.mean([other["centroid"] for other in others], axis=0)
    similarity = float(own @ usual / max(1e-12, np.linalg.norm(own) * np.linalg.norm(usual)))
    limit = shard.config.checks.min_embedding_similarity
    said = f"the mean embedding has a cosine of {similarity:.2f} with that of other shards, less than {limit:g}"
    problems = [] if similarity >= limit else [said]
    return Finding(problems, {"similarity": similarity, "shards_compared": len(others)})


def _captions(shard: Shard) -> Finding:
    asked = [row for row in shard.rows(CAPTIONS) if row["caption_status"] != "skipped"]
    if note := _too_few(shard, len(asked), "windows"):
        return Finding([], note=note)
    failed = [row for row in asked if row["status"] == "failed" or row["caption_status"] == "blocked"]
    share, limit = len(failed) / len(asked), shard.config.checks.max_uncaptioned_share
    said = f"{len(failed)} of {len(asked)} windows have no caption: {share:.1%}, more than {limit:.1%}"
    return Finding([said] if share > limit else [], {"uncaptioned_share": share})


def _by_reason(measures: Measures) -> dict[str, float]:
    each = f"{REJECTED}_"
    return {name.removeprefix(each): values[0] for name, values in measures.items() if name.startswith(each)}


def _others(shard: Shard, table: Table, counted: str) -> list[Measures]:
    """The measures of other shards that are not too small for it."""
    least = shard.config.checks.min_rows
    return [each.measures for each in shard.others(table) if each.measures.get(counted, [0.0])[0] >= least]


def _too_few(shard: Shard, count: float, what: str) -> str:
    least = shard.config.checks.min_rows
    return f"not judged: {count:.0f} {what}, fewer than {least} (checks.min_rows)" if count < least else ""


def _too_short_history(shard: Shard, others: list[Measures]) -> str:
    least = shard.config.checks.min_history
    said = f"not judged: {len(others)} other shards were made with the same settings, fewer than {least}"
    return f"{said} (checks.min_history)" if len(others) < least else ""


def drift_checks() -> Iterable[Check]:
    """All of them."""
    yield Check(
        SHOT_SIGNALS,
        "damage_small",
        "Frames that are damaged, or could not be decoded, are within checks.max_damaged_share.",
        _damage,
        "select v.uri, s.frames, s.decode_errors, s.damaged_frames from shot_signals s "
        "join source_videos v using (shard, video_id) "
        "where s.shard = $shard and s.decode_errors + s.damaged_frames > 0 "
        "order by s.decode_errors + s.damaged_frames desc",
    )
    yield Check(
        CLIPS,
        "shot_lengths_steady",
        "Shots are as long as those of other shards, to a factor of checks.max_shot_length_factor.",
        _shots_changed,
        "select video_id, shot, sum(end_ns - start_ns) / 1e9 as seconds from clips "
        "where shard = $shard and shot is not null group by video_id, shot order by seconds",
        warns=True,
    )
    yield Check(
        CLIP_EMBEDDINGS,
        "embeddings_steady",
        "The mean embedding is like that of other shards: a cosine of at least checks.min_embedding_similarity.",
        _embeddings_changed,
        # The clips that are least like some of the others.
        "select a.clip_id, avg(list_cosine_similarity(a.vector, b.vector)) as similarity from clip_embeddings a, "
        "(select vector from clip_embeddings where shard <> $shard and status = 'ok' order by fingerprint limit 100) b "
        "where a.shard = $shard and a.status = 'ok' group by a.clip_id order by similarity",
        warns=True,
    )
    yield Check(
        CLIP_SELECTION,
        "rejections_few",
        "Rejected clips are within checks.max_rejected_share.",
        _rejected,
        _REJECTED_CLIPS,
    )
    yield Check(
        CLIP_SELECTION,
        "rejections_steady",
        "Every reason rejects about as many clips as in other shards, to checks.max_rejection_change.",
        _rejections_changed,
        _REJECTED_CLIPS,
        warns=True,
    )
    yield Check(
        CAPTIONS,
        "captions_there",
        "Windows that were refused a caption, or failed to get one, are within checks.max_uncaptioned_share.",
        _captions,
        'select clip_id, "window", caption_status, error.message as message from captions '
        "where shard = $shard and (status = 'failed' or caption_status = 'blocked') order by clip_id",
    )
