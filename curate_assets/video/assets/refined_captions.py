"""`refined_captions`: a vision-language model looks at windows again, with the first caption beside their frames."""

from functools import partial
from typing import Any

import pyarrow as pa

from curate_assets.graph.graph import Asset
from curate_assets.video.asked_windows import (
    AskedWindow,
    AskingWorker,
    asker_of,
    asking_needs,
    fetching,
    not_asked,
    shown,
    without_backend,
)
from curate_assets.video.assets.captions import CAPTIONS
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.caption_preview import caption_preview
from curate_assets.video.caption_rows import (
    COST_COLUMNS,
    SOURCE_DIGEST,
    TEXT_COLUMNS,
    TEXT_IDENTITY,
    WINDOW_COLUMNS,
    WINDOW_KEYS,
    text_digest,
)
from curate_assets.video.comparison.regressions import RegressionLimits, regressions_few
from curate_assets.video.shown_frames import holds_what_is_shown
from curate_assets.video.storyboard_frames import Storyboards
from curate_resources.declarations.stage import LiveWorker, Stage, Work
from curate_resources.declarations.table import Column, Table
from curate_resources.storage.root import Storage
from gpu_kernels.captioners.refiner import REFINERS, RefinedCaptionsConfig
from gpu_kernels.captioners.windows import window_frames

REFINED_CAPTIONS = Table(
    name="refined_captions",
    grain="window",
    keys=WINDOW_KEYS,
    identity=TEXT_IDENTITY,
    sections=("refined_captions",),
    model=lambda config: config.refined_captions.identity(),
    columns=(
        *WINDOW_COLUMNS,
        *TEXT_COLUMNS,
        SOURCE_DIGEST,
        Column("frames", pa.int32(), "storyboard frames that were shown"),
        *COST_COLUMNS,
    ),
    description=(
        "A second caption of every window, by a vision-language model that sees its frames again and is given the "
        "first caption to correct and complete. With no backend configured, there are no rows."
    ),
)


def open_refiner(config: Any, storage: Storage) -> LiveWorker:
    """A worker that asks a vision-language model about windows with their captions."""
    settings: RefinedCaptionsConfig = config.refined_captions
    asker, before = asker_of(settings), not_asked(settings)
    assert asker is not None  # else the stage is idle

    def windows_of(work: Work) -> list[AskedWindow]:
        boards = Storyboards(storage, work.inputs[STORYBOARDS.name], settings.frames_per_second)
        windows: list[AskedWindow] = []
        for each in work.items.to_pylist():
            board = boards.of(each["video_id"])
            positions = window_frames(board.frames, each["start_frame"], each["end_frame"], settings.max_frames)
            row = {name: each[name] for name in ("video_id", "clip_id", "window", "start_frame", "end_frame")}
            asked = f"{settings.prompt}\n\n{each['text']}"
            request = partial(shown, board, positions, asked)
            row |= before | {"frames": len(positions), SOURCE_DIGEST.name: text_digest(each["text"])}
            windows.append(AskedWindow(row, board.size(positions), request))
        return windows

    return AskingWorker(REFINED_CAPTIONS, asker, windows_of)


REFINE = Stage(
    name="refine",
    item=CAPTIONS.name,
    reads=(STORYBOARDS.name,),
    writes=(REFINED_CAPTIONS,),
    open=open_refiner,
    prepare=fetching(REFINED_CAPTIONS.name),
    heavy=True,
    idle=without_backend(REFINED_CAPTIONS.name),
    needs_of=asking_needs(REFINED_CAPTIONS.name),
)

ASSET = Asset(
    REFINED_CAPTIONS,
    REFINE,
    "delivery",
    (regressions_few(REFINED_CAPTIONS),),
    preview=caption_preview(REFINED_CAPTIONS),
    section=REFINERS,
    agrees=holds_what_is_shown(REFINED_CAPTIONS.name),
    limits=RegressionLimits,
    exported=True,
    several=True,
)
