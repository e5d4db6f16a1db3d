"""What other thresholds would select: from stored scores, without storing anything."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from curate_assets.graph.contact_sheet import spread
from curate_assets.graph.platform import PlatformConfig
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.clip_lists import OnlyListed, listed_clips
from curate_assets.video.clip_scores import stored_scores
from curate_assets.video.verdicts import SCORED, THRESHOLDS, judged
from curate_resources.pipeline.plan import MissingInput
from curate_resources.suggestions import did_you_mean
from curate_resources.tables.lance_tables import Tables, one_of
from gpu_kernels.errors import UserError
from gpu_kernels.shots.splitting import SECOND

_CLIP = ("shard", "video_id", "clip_id", "start_frame", "end_frame", "start_ns", "end_ns")

Reasons = tuple[str, ...]


@dataclass(frozen=True)
class ChangedClip:
    """A clip that is selected now or then, and not both; the reasons are those of when it is not."""

    shard: str
    video_id: str
    clip_id: str
    uri: str
    start_frame: int
    end_frame: int
    start_ns: int
    end_ns: int
    reasons: Reasons


@dataclass(frozen=True)
class Changed:
    """Clips that are gained, or lost; `shown` are some, evenly from all."""

    clips: int
    seconds: float
    shown: tuple[ChangedClip, ...]


@dataclass(frozen=True)
class WhatIf:
    """What some settings would change.

    Attributes:
        settings: those of `clip_selection` that were tried.
        clips: all of them; `selected` and `seconds` of the selected ones, now and then.
        reasons: by reason, the clips that have it now and then; the most frequent then first.
    """

    root: str
    settings: Mapping[str, Any]
    clips: int
    selected: tuple[int, int]
    seconds: tuple[float, float]
    gained: Changed
    lost: Changed
    reasons: Mapping[str, tuple[int, int]]


def tried(assignments: Sequence[str]) -> dict[str, Any]:
    """Settings from texts such as `motion_peak_min=0.001`; `null` switches a threshold off.

    Raises:
        UserError: one is no assignment, or there is no such threshold.
    """
    known = [each.setting for each in THRESHOLDS]
    found: dict[str, Any] = {}
    for text in assignments:
        key, between, value = text.partition("=")
        name = key.strip().removeprefix(f"{CLIP_SELECTION.name}.")
        if name not in known:
            hint = did_you_mean(name, known) or f": choose from {', '.join(known)}"
            raise UserError(f"--what-if {text}: there is no threshold {name!r}{hint}")
        if name in found:
            raise UserError(f"--what-if {text}: {name} is given twice")
        if not between or not value.strip():
            raise UserError(f"--what-if {text}: give it a value: {name}=0.5, or {name}=null to switch it off")
        try:
            found[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UserError(f"--what-if {text}: {value!r} is no value of {name}") from error
        if isinstance(found[name], str):  # YAML takes 1e-6 for a text
            try:
                found[name] = float(found[name])
            except ValueError:
                raise UserError(f"--what-if {text}: {value!r} is not a number") from None
    return found


def what_if(
    tables: Tables,
    settings: Mapping[str, Any],
    configs: Sequence[tuple[PlatformConfig, PlatformConfig, Collection[str]]],
    most: int,
) -> WhatIf:
    """Compare the selection by the settings that hold with that by others.

    Args:
        settings: of `clip_selection`, those that are tried.
        configs: the configuration now, the one with them, and the shards that have both.
        most: clips that are shown of those gained, and of those lost.

    Raises:
        MissingInput: there are no clips.
    """
    if not tables.exists(CLIPS.name):
        raise MissingInput(f"{CLIPS.name} is not there: `curate materialize --select {CLIP_SELECTION.name}` first")
    parts: list[tuple[pa.Table, list[Reasons], list[Reasons]]] = []
    for now, then, shards in configs:
        clips = tables.read(CLIPS, shards, _CLIP, "status = 'ok'")
        before, after = (_reasons(config, clips, tables, shards) for config in (now, then))
        parts.append((clips, before, after))
    return _compared(tables, settings, parts, most)


def _reasons(config: PlatformConfig, clips: pa.Table, tables: Tables, shards: Collection[str]) -> list[Reasons]:
    listed = listed_clips(tables.storage, config.section(CLIP_SELECTION.name, OnlyListed).only)
    ids = clips["clip_id"].to_pylist()
    found = judged(config, ids, lambda names: stored_scores(SCORED, names, clips, tables, shards), listed)
    return found.reasons.each


def _compared(
    tables: Tables,
    settings: Mapping[str, Any],
    parts: Sequence[tuple[pa.Table, list[Reasons], list[Reasons]]],
    most: int,
) -> WhatIf:
    clips = pa.concat_tables([part for part, _, _ in parts])
    if clips.num_rows == 0:
        raise MissingInput("there are no clips: see what became of the videos with `curate status`")
    before = [reasons for _, some, _ in parts for reasons in some]
    after = [reasons for _, _, some in parts for reasons in some]
    seconds = (clips["end_ns"].to_numpy() - clips["start_ns"].to_numpy()) / SECOND
    now, then = (np.array([not reasons for reasons in some], bool) for some in (before, after))
    counts = [Counter[str](), Counter[str]()]
    for some, counted in zip((before, after), counts, strict=True):
        for reasons, number in Counter(some).items():
            counted.update(dict.fromkeys(reasons, number))
    names = sorted(counts[0] | counts[1], key=lambda name: (-counts[1][name], -counts[0][name], name))

    def changed(which: np.ndarray, against: Sequence[Reasons]) -> Changed:
        places = spread(np.flatnonzero(which).tolist(), most)
        rows = clips.take(pa.array(places, pa.int64())).to_pylist()
        uris = _uris(tables, rows)
        shown = tuple(
            ChangedClip(**row, uri=uris.get(video := str(row["video_id"]), video), reasons=against[place])
            for row, place in zip(rows, places, strict=True)
        )
        return Changed(int(which.sum()), float(seconds[which].sum()), shown)

    return WhatIf(
        root=tables.storage.root,
        settings=settings,
        clips=clips.num_rows,
        selected=(int(now.sum()), int(then.sum())),
        seconds=(float(seconds[now].sum()), float(seconds[then].sum())),
        gained=changed(then & ~now, before),
        lost=changed(now & ~then, after),
        reasons={name: (counts[0][name], counts[1][name]) for name in names},
    )


def _uris(tables: Tables, clips: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The URIs of the videos of some clips, by the ids of the videos; of one that lies there twice, the last."""
    if not clips:
        return {}
    videos = one_of("video_id", (clip["video_id"] for clip in clips))
    rows = tables.read(SOURCE_VIDEOS, {clip["shard"] for clip in clips}, ["video_id", "uri"], videos)
    return {row["video_id"]: row["uri"] for row in rows.to_pylist()}
