"""Labelling for one threshold: which clips to ask about, and what follows from what was said."""

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate_assets.graph.contact_sheet import spread
from curate_assets.graph.platform import PlatformConfig
from curate_assets.video.assets.clip_selection import ClipSelectionConfig
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.calibration import SECTION, not_measured, scored_by, where_values_are_told, within_bounds
from curate_assets.video.clip_lists import OnlyListed, is_listed, listed_clips
from curate_assets.video.clip_scores import stored_scores
from curate_assets.video.labelling.kept_labels import Labels, LabelsSoFar, Said
from curate_assets.video.storyboard_frames import Storyboard
from curate_assets.video.verdicts import THRESHOLDS, thresholds_that_count
from curate_resources.pipeline.plan import MissingInput
from curate_resources.suggestions import did_you_mean
from curate_resources.tables.lance_tables import Tables, quoted
from gpu_kernels.errors import UserError
from gpu_kernels.scores.labelled_threshold import Found, Goals, LabelledScores
from gpu_kernels.scores.thresholds import Threshold
from gpu_kernels.shots.splitting import SECOND

ON_PAGE, IN_FILE = 600.0, 86400.0
"""Seconds for which a clip is left to whoever was shown it, or was given it in a list."""
PICTURES = 9
EXPORTED = ("clip_id", "label", "score", "weight", "by", "at")

_COLUMNS = ("shard", "video_id", "clip_id", "start_frame", "end_frame", "start_ns", "end_ns")


@dataclass(frozen=True)
class AskedClip:
    """A clip that somebody is to label."""

    clip_id: str
    uri: str
    start_seconds: float
    end_seconds: float
    pictures: tuple[bytes, ...]


@dataclass(frozen=True)
class LabelledThreshold:
    """What the labels say so far.

    Attributes:
        setting: the threshold; `current` is its value, None where it is off.
        clips: those with the score.
        found: None until something is said of a clip that was asked about.
        unsure: clips of which nobody could say.
        not_drawn: labels of clips that nobody was asked about: they are kept, and count for nothing.
        unknown: labels of clips that are not there, or not any more.
        disputed: clips of which several people said different things; what was said last counts.
    """

    setting: str
    current: float | None
    clips: int
    found: Found | None
    unsure: int
    not_drawn: int
    unknown: int
    disputed: int


class Labelling:
    """The clips that have a score, and what people say of them; of a list, where `clip_selection.only` names one.

    Args:
        name: of the score, or of the setting of the threshold.
        by: who labels.
        shards: whose clips; None: all.

    Raises:
        UserError: there is no such score, or it is not measured.
        MissingInput: no clip has it.
    """

    def __init__(
        self,
        tables: Tables,
        config: PlatformConfig,
        name: str,
        by: str,
        goals: Goals,
        shards: Collection[str] | None = None,
    ) -> None:
        limits = config.section(SECTION, ClipSelectionConfig)
        self.threshold = threshold = _threshold(name, limits)
        if threshold not in thresholds_that_count(config):
            raise UserError(not_measured(threshold))
        self.goals, self._tables = goals, tables
        self._current: float | None = getattr(limits, threshold.setting)
        listed = listed_clips(tables.storage, config.section(SECTION, OnlyListed).only)
        self._clips, scores = _population(tables, threshold, shards, listed)
        if within_bounds(threshold, float(scores[0]), scores) is None:
            raise UserError(f"every {threshold.score} is outside of what {threshold.setting} takes")
        ids: list[str] = self._clips["clip_id"].to_pylist()
        self._place = {clip: place for place, clip in enumerate(ids)}
        self._scores = scores
        self._labelled = LabelledScores(
            scores, threshold.rejects, _chances(threshold.setting, ids), _limits(threshold, scores)
        )
        self._labels = Labels(tables.storage, threshold.setting, by)

    def result(self) -> LabelledThreshold:
        """What follows from the labels so far."""
        so_far = self._labels.so_far()
        labels = self._numbers(so_far)
        known = so_far.said.keys() & self._place.keys()
        return LabelledThreshold(
            setting=self.threshold.setting,
            current=self._current,
            clips=len(labels),
            found=None if np.isnan(labels).all() else self._labelled.found(labels, self.goals),
            unsure=sum(so_far.said[clip].said == "unsure" for clip in known),
            not_drawn=len(known - so_far.asked),
            unknown=len(so_far.said) - len(known),
            disputed=len(so_far.disputed & known),
        )

    def ask(self, count: int, seconds: float) -> list[str]:
        """The clips that decide most, at most `count`; others are not asked about them for so many seconds."""
        so_far = self._labels.so_far()
        passed = np.zeros(len(self._scores), bool)
        out = (so_far.with_others | (so_far.said.keys() & so_far.asked)) & self._place.keys()
        passed[[self._place[clip] for clip in out]] = True
        asked = self._labelled.asked_next(self._numbers(so_far), passed, count, self.goals)
        clips = [self._clips["clip_id"][place].as_py() for place in asked]
        if clips:
            self._labels.ask(clips, seconds)
        return clips

    def say(self, said: Mapping[str, Said]) -> None:
        """Keep what somebody says of some clips."""
        self._labels.say(said)

    def knows(self, clip_id: str) -> bool:
        """Whether it is one of the clips."""
        return clip_id in self._place

    def clip(self, clip_id: str, pictures: bool = True) -> AskedClip:
        """What there is to be seen of a clip."""
        (row,) = self._clips.slice(self._place[clip_id], 1).to_pylist()
        video = f"video_id = {quoted(row['video_id'])}"
        sources = self._tables.read(SOURCE_VIDEOS, row["shard"], ["uri"], video)["uri"].to_pylist()
        return AskedClip(
            clip_id=clip_id,
            uri=next(iter(sources), row["video_id"]),
            start_seconds=row["start_ns"] / SECOND,
            end_seconds=row["end_ns"] / SECOND,
            pictures=self._pictures(row, video) if pictures else (),
        )

    def exported(self) -> list[dict[str, Any]]:
        """What was said of each clip, its score, and how many clips the label stands for: 0 where it does not count."""
        so_far = self._labels.so_far()
        weights = self._labelled.weights(self._numbers(so_far))
        rows: list[dict[str, Any]] = []
        for clip, line in sorted(so_far.said.items()):
            place = self._place.get(clip)
            score, weight = (None, 0.0) if place is None else (float(self._scores[place]), float(weights[place]))
            values = (clip, line.said, score, weight, line.by, line.at)
            rows.append(dict(zip(EXPORTED, values, strict=True)))
        return rows

    def _numbers(self, so_far: LabelsSoFar) -> NDArray[np.float64]:
        labels = np.full(len(self._scores), np.nan)
        for clip, line in so_far.said.items():
            if clip in self._place and clip in so_far.asked and line.said != "unsure":
                labels[self._place[clip]] = line.said == "keep"
        return labels

    def _pictures(self, row: Mapping[str, Any], video: str) -> tuple[bytes, ...]:
        boards = self._tables.read(STORYBOARDS, row["shard"], where=f"status = 'ok' AND {video}")
        try:
            board = Storyboard(self._tables.storage, boards, row["video_id"])
            return tuple(board.jpegs(spread(board.within(row["start_frame"], row["end_frame"]), PICTURES)))
        except (OSError, ValueError):
            return ()  # it can be labelled by its source still


def _threshold(name: str, limits: Any) -> Threshold:
    for each in THRESHOLDS:
        if each.setting == name:
            return each
    found = [each for each in THRESHOLDS if each.score == name]
    known = list(dict.fromkeys(each.score for each in THRESHOLDS))
    if not found:
        hint = did_you_mean(name, known) or f": choose from {', '.join(known)}"
        raise UserError(f"there is no score {name!r} with a threshold{hint}")
    on = [each for each in found if getattr(limits, each.setting) is not None] or found
    if len(on) > 1:
        raise UserError(f"{name} has two thresholds: say {' or '.join(each.setting for each in on)}")
    return on[0]


def _population(
    tables: Tables, threshold: Threshold, shards: Collection[str] | None, listed: frozenset[str] | None
) -> tuple[pa.Table, NDArray[np.float64]]:
    """The clips that have the score of a threshold and are listed, each once, and their scores."""
    (asset,) = scored_by([threshold])
    remedy = f"`curate materialize --select {asset.name}` first"
    if not tables.exists(CLIPS.name) or not tables.exists(asset.name):
        raise MissingInput(f"no clip has a value of {threshold.score}: {remedy}")
    columns = dict.fromkeys([*_COLUMNS, *(CLIPS.schema.names if asset.table is CLIPS else ())])
    clips = tables.read(CLIPS, shards, [*columns], "status = 'ok'")
    scores = stored_scores([asset], [threshold.score], clips, tables, shards)[threshold.score]
    measured = np.flatnonzero(~np.isnan(scores) & is_listed(clips["clip_id"].to_pylist(), listed))
    _, first = np.unique(pc.take(clips["clip_id"], pa.array(measured)).to_numpy(), return_index=True)
    places = measured[np.sort(first)]
    if not len(places):
        of_which = "" if listed is None else " on the list clip_selection.only"
        raise MissingInput(f"no clip{of_which} has a value of {threshold.score}: {where_values_are_told(asset)}")
    return clips.take(pa.array(places)), scores[places]


def _chances(setting: str, clips: list[str]) -> NDArray[np.float64]:
    """Numbers of clips between 0 and 1, as if drawn, which never change."""
    digests = b"".join(hashlib.sha256(f"{setting}/{clip}".encode()).digest()[:8] for clip in clips)
    return np.frombuffer(digests, ">u8") / 2.0**64


def _limits(threshold: Threshold, scores: NDArray[np.float64]) -> Callable[[float], float]:
    def nearest(score: float) -> float:
        found = within_bounds(threshold, score, scores)
        return score if found is None else found

    return nearest
