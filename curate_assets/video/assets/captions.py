"""`captions`: text for every window of the clips that are kept, from their storyboard frames."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
from pydantic import Field

from curate_assets.graph.drift import too_few
from curate_assets.graph.graph import Asset
from curate_assets.graph.platform import CheckLimits
from curate_assets.graph.shard_checks import Check, Finding, Shard
from curate_assets.graph.stage_resources import model_needs
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.duplicate_groups import GROUPED, kept_clips
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.caption_rows import (
    COST_COLUMNS,
    TEXT_COLUMNS,
    TEXT_IDENTITY,
    WINDOW_COLUMNS,
    WINDOW_KEYS,
    answered,
)
from curate_assets.video.shown_frames import holds_what_is_shown
from curate_assets.video.storyboard_frames import Storyboard, Storyboards
from curate_resources.declarations.stage import LiveWorker, Made, Needs, Stage, Work, Worker
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.models.fetching import ensure
from curate_resources.storage.root import Storage
from gpu_kernels.captioners.asking import Asker
from gpu_kernels.captioners.captioner import CAPTIONERS
from gpu_kernels.captioners.types import (
    CaptionEngine,
    CaptionRequest,
    CaptionsConfig,
    ThreadedCaptioner,
    prompt_hash,
)
from gpu_kernels.captioners.windows import caption_windows, window_frames
from gpu_kernels.shots.splitting import SECOND

_MOST_BYTES = 256 << 20
"""Of the JPEGs of all windows that a model is asked about at a time."""

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
    captioner = settings.load()
    windows_of = _windows(settings, storage)
    if captioner is None:
        return lambda work: {CAPTIONS.name: [row for row, _ in windows_of(work)]}
    engine = captioner if isinstance(captioner, CaptionEngine) else ThreadedCaptioner(captioner, settings.at_once)
    return Captions(Asker(engine, _MOST_BYTES), windows_of)


class Captions(LiveWorker):
    """Asks about the windows of all works in the order of their coming, as many at a time as the model takes."""

    def __init__(self, asker: Asker, windows_of: "_WindowsOf") -> None:
        self._asker, self._windows_of = asker, windows_of

    async def rows(self, work: Work) -> Made:
        windows = await asyncio.to_thread(self._windows_of, work)
        asked = [asyncio.ensure_future(self._answered(*window)) for window in windows]
        try:
            return {CAPTIONS.name: await asyncio.gather(*asked)}
        finally:
            for each in asked:
                each.cancel()

    async def close(self) -> None:
        await self._asker.close()

    async def _answered(self, row: Row, shown: "_Shown") -> Row:
        answer = await self._asker.ask(
            lambda: asyncio.to_thread(shown.request), shown.size, key=f"{row['clip_id']}-{row['start_frame']}"
        )
        return answered(row, answer)


@dataclass(frozen=True)
class _Shown:
    """The pictures of a window, by their positions in the storyboard."""

    board: Storyboard
    positions: list[int]

    @property
    def size(self) -> int:
        return self.board.size(self.positions)

    def request(self) -> CaptionRequest:
        pts_ns = [self.board.pts_ns[position] for position in self.positions]
        return CaptionRequest(self.board.jpegs(self.positions), [(each - pts_ns[0]) / SECOND for each in pts_ns])


_WindowsOf = Callable[[Work], list[tuple[Row, _Shown]]]


def _windows(settings: CaptionsConfig, storage: Storage) -> _WindowsOf:
    """What gives the windows of all clips, each with its row before anybody was asked, and what is shown of it."""
    model, revision = settings.identity()
    asked = prompt_hash(settings)

    def windows_of(work: Work) -> list[tuple[Row, _Shown]]:
        boards = Storyboards(storage, work.inputs[STORYBOARDS.name], settings.frames_per_second)
        windows: list[tuple[Row, _Shown]] = []
        for clip in work.items.select(["video_id", "clip_id", "start_frame", "end_frame"]).to_pylist():
            board = boards.of(clip["video_id"])
            spans = caption_windows(
                clip["start_frame"], clip["end_frame"], settings.window_frames, settings.remainder_frames
            )
            for index, (start, end) in enumerate(spans):
                positions = window_frames(board.frames, start, end, settings.max_frames)
                row = {
                    "video_id": clip["video_id"],
                    "clip_id": clip["clip_id"],
                    "window": index,
                    "start_frame": start,
                    "end_frame": end,
                    "caption_status": "skipped",
                    "model": model,
                    "model_revision": revision,
                    "prompt_hash": asked,
                    "frames": len(positions),
                    "status": "empty",
                }
                windows.append((row, _Shown(board, positions)))
        return windows

    return windows_of


def caption_needs(config: Any) -> Needs:
    """A model of billions of weights has a GPU for itself, or several. A server has its own, wherever it is: one worker
    keeps it busy, and takes no CPU for waiting. There are so many videos under way that windows do not run out."""
    settings: CaptionsConfig = config.captions
    needs = Needs(cpus=0, max_workers=1) if settings.runs_on is None else model_needs(settings.runs_on, settings.gpus)
    return replace(needs, at_once=2 * settings.at_once) if settings.at_once > 1 else needs


def fetch_captioner(config: Any, _: Storage) -> None:
    """Once per machine."""
    ensure(config.captions.models(), config.models)


CAPTION = Stage(
    name="caption",
    item=CLIPS.name,
    reads=(STORYBOARDS.name,),
    gates=GROUPED,
    writes=(CAPTIONS,),
    open=open_captioner,
    prepare=fetch_captioner,
    heavy=True,
    needs_of=caption_needs,
    eligible=kept_clips,
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
)

ASSET = Asset(
    CAPTIONS,
    CAPTION,
    "delivery",
    CHECKS,
    section=CAPTIONERS,
    agrees=holds_what_is_shown(CAPTIONS.name),
    limits=CaptionsLimits,
    exported=True,
    several=True,
)
