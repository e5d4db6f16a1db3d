"""The verdict on clips: every threshold on every score that an asset declares, against what was measured."""

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from curate_assets.graph.discovery import MEASUREMENTS_GROUP, assets_in, brought_assets
from curate_assets.graph.graph import Asset
from curate_assets.video.assets import clips, measurements, source_videos
from curate_assets.video.clip_lists import NOT_LISTED, is_listed
from curate_assets.video.measuring import is_costly, is_measured
from gpu_kernels.scores.thresholds import NameSets, Scores, Threshold, Verdicts, verdicts
from gpu_kernels.strict import StrictModel


def thresholds_of(asset: Asset) -> tuple[Threshold, ...]:
    """The thresholds on the scores of an asset."""
    return tuple(each for score in asset.scores for each in score.named())


_MEASUREMENTS = (*assets_in(measurements), *brought_assets(MEASUREMENTS_GROUP))
COSTLY = tuple(asset for asset in _MEASUREMENTS if is_costly(asset))
"""The measurements that can be left out for clips that cheaper scores reject."""

SCORED = tuple(asset for asset in (source_videos.ASSET, clips.ASSET, *_MEASUREMENTS) if asset.scores)
"""The assets whose rows clips are selected by."""

SCORES = tuple(score for asset in SCORED for score in asset.scores)
THRESHOLDS = tuple(threshold for asset in SCORED for threshold in thresholds_of(asset))
LAST = {score.name: asset.name for asset in COSTLY for score in asset.scores}
"""The scores that need not have been measured of clips which others reject, with the names of their assets."""


def thresholds_that_count(config: Any, assets: Sequence[Asset] = SCORED) -> list[Threshold]:
    """Those on scores that are measured with a configuration."""
    return [each for asset in assets if is_measured(asset, config) for each in thresholds_of(asset)]


def judged(
    config: Any,
    clips: Sequence[str],
    scores: Callable[[frozenset[str]], Scores],
    listed: frozenset[str] | None,
    assets: Sequence[Asset] = SCORED,
) -> Verdicts:
    """The verdicts on clips with a configuration.

    Args:
        clips: their ids.
        scores: gives those of some names; only scores with a threshold that is on are asked for.
        listed: the clips that may be selected; None: all.
        assets: whose scores count.
    """
    limits: StrictModel = config.clip_selection
    on = [each for each in thresholds_that_count(config, assets) if getattr(limits, each.setting) is not None]
    besides = {} if listed is None else {NOT_LISTED: ~is_listed(clips, listed)}
    return verdicts(scores(frozenset(each.score for each in on)), on, limits, len(clips), LAST, besides)


def verdict_columns(found: Verdicts, clips: pa.Table) -> dict[str, Any]:
    """The columns of rows with the verdicts on clips: whose they are, `selected` and `reasons`."""
    own = {"video_id": clips["video_id"], "clip_id": clips["clip_id"]}
    return {**own, "selected": found.selected, "reasons": names_column(found.reasons)}


def names_column(found: NameSets, called: Callable[[str], str] = str) -> pa.Array:
    """The names of each clip, each as it is called, as lists of texts."""
    each = [sorted({called(name) for name in names}) for names in found.combinations]
    return pa.array(each, pa.list_(pa.string())).take(pa.array(found.of))
