"""`captions`: text for every window of the clips that are kept, from their storyboard frames."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pyarrow as pa
from pydantic import Field

from curate_assets.graph.drift import too_few
from curate_assets.graph.graph import Asset
from curate_assets.graph.platform import CheckLimits
from curate_assets.graph.shard_checks import Check, Finding, Shard
from curate_assets.video.asked_windows import (
    AskedWindow,
    AskingWorker,
    asker_of,
    asking_needs,
    fetching,
    not_asked,
    shown,
)
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.duplicate_groups import GROUPED, kept_clips
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.caption_preview import caption_preview
from curate_assets.video.caption_rows import (
    COST_COLUMNS,
    TEXT_COLUMNS,
    TEXT_IDENTITY,
    WINDOW_COLUMNS,
    WINDOW_KEYS,
)
from curate_assets.video.comparison.regressions import regressions_few
from curate_assets.video.shown_frames import holds_what_is_shown
from curate_assets.video.storyboard_frames import Storyboards
from curate_resources.declarations.stage import LiveWorker, Stage, Work, Worker
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.storage.root import Storage
from gpu_kernels.captioners.captioner import CAPTIONERS
from gpu_kernels.captioners.types import CaptionsConfig
from gpu_kernels.captioners.windows import MINIMUM_CLIP_FRAMES, caption_windows, window_frames

CAPTIONS = Table(
    name="captions",
    grain="window",
    keys=WINDOW_KEYS,
    identity=TEXT_IDENTITY,
    sections=("captions",),
    model=lambda config: config.captions.identity(),
    columns=(
        *WINDOW_COLUMNS,
        *TEXT_COLUMNS,
        Column("frames", pa.int32(), "storyboard frames that were shown"),
        *COST_COLUMNS,
    ),
    description=(
        "Text for every window (256 frames) of the clips that are selected and not duplicates, with its status, "
        "prompt, model, revision and tokens. With no captioner configured, every window is an empty row."
    ),
)


def open_captioner(config: Any, storage: Storage) -> Worker | LiveWorker:
    """A worker that asks a vision-language model about windows."""
    settings: CaptionsConfig = config.captions
    asker, windows_of = asker_of(settings), _windows(settings, storage)
    if asker is None:
        return lambda work: {CAPTIONS.name: [window.row for window in windows_of(work)]}
    return AskingWorker(CAPTIONS, asker, windows_of)


def _windows(settings: CaptionsConfig, storage: Storage) -> Callable[[Work], list[AskedWindow]]:
    """What gives the windows of all clips."""
    before = not_asked(settings)

    def windows_of(work: Work) -> list[AskedWindow]:
        boards = Storyboards(storage, work.inputs[STORYBOARDS.name], settings.frames_per_second)
        windows: list[AskedWindow] = []
        for clip in work.items.select(["video_id", "clip_id", "start_frame", "end_frame"]).to_pylist():
            board = boards.of(clip["video_id"])
            spans = caption_windows(
                clip["start_frame"], clip["end_frame"], settings.window_frames, settings.remainder_frames
            )
            for index, (start, end) in enumerate(spans):
                positions = window_frames(board.frames, start, end, settings.max_frames)
                row: Row = {
                    **before,
                    "video_id": clip["video_id"],
                    "clip_id": clip["clip_id"],
                    "window": index,
                    "start_frame": start,
                    "end_frame": end,
                    "frames": len(positions),
                }
                windows.append(AskedWindow(row, board.size(positions), partial(shown, board, positions)))
        return windows

    return windows_of


def _clips_with_windows(config: Any, clips: pa.Table, inputs: Any) -> list[bool]:
    """Those that are kept and long enough for a window. Without rows, the others would seem to lack them for ever."""
    starts, ends = (clips[name].to_pylist() for name in ("start_frame", "end_frame"))
    long_enough = (end - start >= MINIMUM_CLIP_FRAMES for start, end in zip(starts, ends, strict=True))
    return [a and b for a, b in zip(kept_clips(config, clips, inputs), long_enough, strict=True)]


CAPTION = Stage(
    name="caption",
    item=CLIPS.name,
    reads=(STORYBOARDS.name,),
    gates=GROUPED,
    writes=(CAPTIONS,),
    open=open_captioner,
    prepare=fetching(CAPTIONS.name),
    heavy=True,
    needs_of=asking_needs(CAPTIONS.name),
    eligible=_clips_with_windows,
)


class CaptionsLimits(CheckLimits):
    """What the checks of `captions` accept."""

    max_uncaptioned_share: float = Field(default=0.1, ge=0, le=1)
    """Greatest share of a shard's windows that a captioner was asked about without success."""


def _captions(shard: Shard) -> Finding:
    asked = [row for row in shard.rows(CAPTIONS) if row["caption_status"] != "skipped"]
    if note := too_few(shard, len(asked), "windows"):
        return Finding([], note=note)
    failed = [row for row in asked if row["status"] == "failed" or row["caption_status"] == "blocked"]
    share, limit = len(failed) / len(asked), shard.limits(CaptionsLimits).max_uncaptioned_share
    said = f"{len(failed)} of {len(asked)} windows have no caption: {share:.1%}, more than {limit:.1%}"
    return Finding([said] if share > limit else [], {"uncaptioned_share": share})


CHECKS = (
    Check(
        CAPTIONS,
        "captions_there",
        "Windows that were refused a caption, or failed to get one, are within checks.max_uncaptioned_share.",
        _captions,
        'select clip_id, "window", caption_status, error.message as message from captions '
        "where shard = $shard and (status = 'failed' or caption_status = 'blocked') order by clip_id",
    ),
    regressions_few(CAPTIONS),
)

ASSET = Asset(
    CAPTIONS,
    CAPTION,
    "delivery",
    CHECKS,
    preview=caption_preview(CAPTIONS),
    section=CAPTIONERS,
    agrees=holds_what_is_shown(CAPTIONS.name),
    limits=CaptionsLimits,
    exported=True,
    several=True,
)
