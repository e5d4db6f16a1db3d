"""The clips at the ends of every score, and those beside its thresholds, with pictures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate_assets.graph.contact_sheet import spread
from curate_assets.graph.platform import PlatformConfig
from curate_assets.graph.score import Score
from curate_assets.video.assets.clip_selection import CLIP_SELECTION, ClipSelectionConfig
from curate_assets.video.measuring import is_measured
from curate_assets.video.report.library import Library
from curate_assets.video.report.shown_clips import Clip, shown, storyboard_pictures
from curate_assets.video.verdicts import SCORED
from gpu_kernels.scores.thresholds import Threshold

SHOWN = 4
"""Clips at each end of a score, and on each side of a threshold."""


_Which = tuple[str, str | None, float | None]


@dataclass(frozen=True)
class Group:
    """Some clips with their scores: the title says which, of which threshold, if of one."""

    title: str
    setting: str | None
    limit: float | None
    clips: tuple[tuple[Clip, float], ...]


@dataclass(frozen=True)
class Extremes:
    """A score: its worst and best clips (lowest and highest, where no threshold says which is which), and for each
    threshold the clips on both sides that are nearest to it."""

    name: str
    title: str
    unit: str
    groups: tuple[Group, ...]


def score_extremes(library: Library, config: PlatformConfig) -> tuple[Extremes, ...]:
    """Of every score that is measured and differs between clips. Reads pictures of the chosen clips alone."""
    limits = config.section(CLIP_SELECTION.name, ClipSelectionConfig)
    keys = sorted(library.clips)
    order = np.array([library.places[key] for key in keys], np.intp)
    scores = [score for asset in SCORED if is_measured(asset, config) for score in asset.scores]
    chosen: list[tuple[Score, NDArray[np.float64], list[tuple[_Which, list[int]]]]] = []
    for score in scores:
        values = library.columns[score.name][order]
        found = values[~np.isnan(values)]
        if len(found) and found.min() < found.max():
            on = [(each, limit) for each in score.named() if (limit := getattr(limits, each.setting)) is not None]
            chosen.append((score, values, list(_groups(score, values, on))))
    places = {place for _, _, groups in chosen for _, group in groups for place in group}
    pictures = storyboard_pictures(library, [keys[place] for place in sorted(places)])
    clips = {place: shown(library, keys[place], pictures) for place in places}
    return tuple(
        Extremes(
            score.name,
            score.title,
            score.unit,
            tuple(
                Group(*which, tuple((clips[place], float(values[place])) for place in places))
                for which, places in groups
            ),
        )
        for score, values, groups in chosen
    )


def _groups(
    score: Score, values: NDArray[np.float64], on: Sequence[tuple[Threshold, float]]
) -> Iterator[tuple[_Which, list[int]]]:
    """Which clips, and their places; the end that is rejected first."""
    rejected = {each.rejects for each in score.thresholds}
    names = {"low": "worst", "high": "best"} if rejected == {"low"} else {"low": "best", "high": "worst"}
    if len(rejected) != 1:
        names = {"low": "lowest", "high": "highest"}
    ends = {  # none of which is at the other end, too
        names["low"]: [place for place in lowest(values, SHOWN) if values[place] < np.nanmax(values)],
        names["high"]: [place for place in lowest(-values, SHOWN) if values[place] > np.nanmin(values)],
    }
    first, last = sorted(ends, key=lambda name: name not in ("worst", "lowest"))
    yield (first, None, None), ends[first]
    for each, limit in on:
        beyond = _beyond(each, values, limit)
        for title, side in (("just rejected", beyond > 0), ("just kept", beyond <= 0)):
            if near := lowest(np.where(side, np.abs(beyond), np.nan), SHOWN):
                yield (title, each.setting, limit), near
    yield (last, None, None), ends[last]


def _beyond(threshold: Threshold, values: NDArray[np.float64], limit: float) -> NDArray[np.float64]:
    """By how much clips are rejected, as they are judged: in single precision."""
    single = values.astype(np.float32) - np.float32(limit)
    return (-single if threshold.rejects == "low" else single).astype(np.float64)


def lowest(values: NDArray[np.float64], count: int) -> list[int]:
    """Places of the lowest values, ascending; of equal ones, evenly from all. NaN is none."""
    there = np.flatnonzero(~np.isnan(values))
    if len(there) > count:
        last = np.partition(values[there], count - 1)[count - 1]
        below = there[values[there] < last]
        same = spread(there[values[there] == last].tolist(), count - len(below))
        there = np.concatenate([below, np.array(same, np.intp)])
    return there[np.argsort(values[there], kind="stable")].tolist()
