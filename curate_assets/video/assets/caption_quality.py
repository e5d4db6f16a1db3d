"""`caption_quality`: what is suspicious about the captions of a clip's windows. It rejects nothing."""

from collections import Counter
from collections.abc import Mapping
from itertools import groupby
from typing import Any

import pyarrow as pa
from pydantic import Field

from curate_assets.graph.drift import too_few
from curate_assets.graph.graph import Asset
from curate_assets.graph.platform import CheckLimits
from curate_assets.graph.shard_checks import Check, Finding, Shard
from curate_assets.video.asked_windows import without_backend
from curate_assets.video.assets.captions import CAPTIONS
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.duplicate_groups import GROUPED, kept_clips
from curate_assets.video.caption_rows import WINDOW_COLUMNS, WINDOW_KEYS
from curate_assets.video.caption_texts import CAPTION_STAGES, WindowCaption, window_captions
from curate_resources.declarations.stage import Stage, Work, Worker
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.storage.root import Storage
from gpu_kernels.captioners.caption_quality import (
    NEAR_DUPLICATE,
    REPETITIVE,
    SAYS_NOTHING,
    TOO_LONG,
    TOO_SHORT,
    CaptionQualityConfig,
    caption_qualities,
)

CAPTION_QUALITY = Table(
    name="caption_quality",
    grain="window",
    keys=WINDOW_KEYS,
    sections=("caption_quality", *(table.name for table in CAPTION_STAGES)),  # for their prompts
    columns=(
        *WINDOW_COLUMNS,
        Column("stage", pa.string(), "the table whose text was looked at: the last that has one for the window"),
        Column("text_digest", pa.string(), "digest of that text"),
        Column("words", pa.int32(), "its words"),
        Column("distinct_share", pa.float32(), "share of different words among them; null without words"),
        Column(
            "neighbour_similarity",
            pa.float32(),
            "words that it shares with the caption of the window before or after, among all different words of both, "
            "whichever is more; null without one",
        ),
        Column(
            "flags",
            pa.list_(pa.string()),
            "what is suspicious: `too_short`, `too_long`, `repetitive`, `near_duplicate` of a neighbouring window, "
            "`says_nothing` (a refusal, a placeholder, the prompt, or no words)",
        ),
    ),
    description=(
        "What is suspicious about the caption of every window, by its words. It rejects nothing: the records of "
        "samples carry the flags. A window without a caption is an empty row; with no captioner configured, there are "
        "no rows."
    ),
)


def open_quality(config: Any, storage: Storage) -> Worker:
    """A worker that looks at captions."""
    settings: CaptionQualityConfig = config.caption_quality
    prompts = {table.name: getattr(config, table.name).prompt for table in CAPTION_STAGES}

    def judge(work: Work) -> Mapping[str, list[Row]]:
        clips = set(work.items["clip_id"].to_pylist())
        rows = {
            table.name: [row for row in work.inputs[table.name].to_pylist() if row["clip_id"] in clips]
            for table in CAPTION_STAGES
        }
        windows = sorted(window_captions(rows), key=lambda each: (each.window["clip_id"], each.window["window"] or 0))
        found = (list(group) for _, group in groupby(windows, key=lambda each: each.window["clip_id"]))
        return {CAPTION_QUALITY.name: [row for group in found for row in _rows(group, prompts, settings)]}

    return judge


def _rows(windows: list[WindowCaption], prompts: Mapping[str, str], settings: CaptionQualityConfig) -> list[Row]:
    texts = [each.caption["text"] if each.caption is not None else None for each in windows]
    asked = [prompts[each.stage] if each.stage is not None else "" for each in windows]
    rows: list[Row] = []
    for each, quality in zip(windows, caption_qualities(texts, asked, settings), strict=True):
        row = {name: each.window[name] for name in ("video_id", "clip_id", "window", "start_frame", "end_frame")}
        if each.caption is None or quality is None:
            rows.append(row | {"status": "empty"})
        else:
            rows.append(row | {"stage": each.stage, "text_digest": each.caption["text_digest"], **vars(quality)})
    return rows


JUDGE = Stage(
    name="judge_captions",
    item=CLIPS.name,
    reads=tuple(table.name for table in CAPTION_STAGES),
    gates=GROUPED,
    writes=(CAPTION_QUALITY,),
    open=open_quality,
    eligible=kept_clips,
    idle=without_backend(CAPTIONS.name),
)


class CaptionQualityLimits(CheckLimits):
    """What the checks of `caption_quality` accept."""

    max_odd_length_captions: float = Field(default=0.1, ge=0, le=1)
    """Greatest share of a shard's captions that are too short or too long."""
    max_repetitive_captions: float = Field(default=0.1, ge=0, le=1)
    """Greatest share of a shard's captions that are repetitive."""
    max_near_duplicate_captions: float = Field(default=0.3, ge=0, le=1)
    """Greatest share of a shard's captions that say what the window before or after says."""
    max_captions_saying_nothing: float = Field(default=0.02, ge=0, le=1)
    """Greatest share of a shard's captions that are refusals, placeholders or the prompt."""


def _flagged(shard: Shard) -> Finding:
    rows = shard.good(CAPTION_QUALITY)
    if note := too_few(shard, len(rows), "captions"):
        return Finding([], note=note)
    count = Counter(flag for row in rows for flag in row["flags"])
    limits = shard.limits(CaptionQualityLimits)
    judged = {
        "odd_length": (count[TOO_SHORT] + count[TOO_LONG], limits.max_odd_length_captions),
        REPETITIVE: (count[REPETITIVE], limits.max_repetitive_captions),
        NEAR_DUPLICATE: (count[NEAR_DUPLICATE], limits.max_near_duplicate_captions),
        SAYS_NOTHING: (count[SAYS_NOTHING], limits.max_captions_saying_nothing),
    }
    problems = [
        f"{name}: {found} of {len(rows)} captions, {found / len(rows):.1%}, more than {limit:.1%}"
        for name, (found, limit) in judged.items()
        if found / len(rows) > limit
    ]
    shares = {f"{name}_share": found / len(rows) for name, (found, _) in judged.items()}
    return Finding(problems, shares | {"mean_words": sum(row["words"] for row in rows) / len(rows)})


CHECKS = (
    Check(
        CAPTION_QUALITY,
        "captions_sound",
        "Captions that are too short or too long, repetitive, near duplicates of a neighbour's, or that say nothing "
        "are within the limits of checks.",
        _flagged,
        'select clip_id, "window", flags, words from caption_quality '
        "where shard = $shard and status = 'ok' and len(flags) > 0 order by clip_id, \"window\"",
        warns=True,
    ),
)

ASSET = Asset(
    CAPTION_QUALITY,
    JUDGE,
    "delivery",
    CHECKS,
    section=CaptionQualityConfig,
    limits=CaptionQualityLimits,
    exported=True,
)
