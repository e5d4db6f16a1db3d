"""`enhanced_captions`: captions that a language model has rewritten, which sees the text and no frames."""

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
    without_backend,
)
from curate_assets.video.assets.captions import CAPTIONS
from curate_assets.video.assets.refined_captions import REFINED_CAPTIONS
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
from curate_assets.video.comparison.regressions import regressions_few
from curate_resources.declarations.stage import LiveWorker, Stage, Work
from curate_resources.declarations.table import Column, Table
from curate_resources.storage.root import Storage
from gpu_kernels.captioners.enhancer import ENHANCERS
from gpu_kernels.captioners.texts import EnhancedCaptionsConfig, without_thoughts
from gpu_kernels.captioners.types import CaptionRequest

ENHANCED_CAPTIONS = Table(
    name="enhanced_captions",
    grain="window",
    keys=WINDOW_KEYS,
    identity=TEXT_IDENTITY,
    sections=("enhanced_captions",),
    model=lambda config: config.enhanced_captions.identity(),
    columns=(
        *WINDOW_COLUMNS,
        *TEXT_COLUMNS,
        SOURCE_DIGEST,
        Column("made_from", pa.string(), "the table whose caption was rewritten"),
        *COST_COLUMNS,
    ),
    description=(
        "The caption of every window, the refined one where there is one, rewritten by a language model that sees the "
        "text alone. With no backend configured, there are no rows."
    ),
)


def open_enhancer(config: Any, storage: Storage) -> LiveWorker:
    """A worker that asks a language model about captions."""
    settings: EnhancedCaptionsConfig = config.enhanced_captions
    asker, before = asker_of(settings), not_asked(settings)
    assert asker is not None  # else the stage is idle

    def windows_of(work: Work) -> list[AskedWindow]:
        refined = {
            (each["clip_id"], each["start_frame"], each[SOURCE_DIGEST.name]): each["text"]
            for each in work.inputs[REFINED_CAPTIONS.name].to_pylist()
            if each["text"] is not None
        }
        windows: list[AskedWindow] = []
        for each in work.items.to_pylist():
            second = refined.get((each["clip_id"], each["start_frame"], text_digest(each["text"])))
            text, table = (each["text"], CAPTIONS) if second is None else (second, REFINED_CAPTIONS)
            row = {name: each[name] for name in ("video_id", "clip_id", "window", "start_frame", "end_frame")}
            row |= before | {"made_from": table.name, SOURCE_DIGEST.name: text_digest(text)}
            asked = f"{settings.prompt}\n\n{text}"
            windows.append(AskedWindow(row, len(asked), partial(CaptionRequest, [], [], asked, text_only=True)))
        return windows

    return AskingWorker(ENHANCED_CAPTIONS, asker, windows_of, without_thoughts)


ENHANCE = Stage(
    name="enhance",
    item=CAPTIONS.name,
    reads=(REFINED_CAPTIONS.name,),
    writes=(ENHANCED_CAPTIONS,),
    open=open_enhancer,
    prepare=fetching(ENHANCED_CAPTIONS.name),
    heavy=True,
    idle=without_backend(ENHANCED_CAPTIONS.name),
    needs_of=asking_needs(ENHANCED_CAPTIONS.name),
)

ASSET = Asset(
    ENHANCED_CAPTIONS,
    ENHANCE,
    "delivery",
    (regressions_few(ENHANCED_CAPTIONS),),
    preview=caption_preview(ENHANCED_CAPTIONS),
    section=ENHANCERS,
    exported=True,
    several=True,
)
