"""`caption_embeddings`: a vector for the caption of every window, to find it by what it means."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from curate_assets.graph.graph import Asset
from curate_assets.video.asked_windows import without_backend
from curate_assets.video.assets.captions import CAPTIONS
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.duplicate_groups import GROUPED, kept_clips
from curate_assets.video.caption_rows import WINDOW_COLUMNS, WINDOW_KEYS
from curate_assets.video.caption_texts import CAPTION_STAGES, window_captions
from curate_resources.declarations.stage import Stage, Work, Worker
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.models.fetching import ensure
from curate_resources.storage.root import Storage
from gpu_kernels.texts.encoder import CaptionEmbeddingsConfig, TextEncoder

CAPTION_EMBEDDINGS = Table(
    name="caption_embeddings",
    grain="window",
    keys=WINDOW_KEYS,
    sections=("caption_embeddings",),
    model=lambda config: config.caption_embeddings.identity(),
    columns=(
        *WINDOW_COLUMNS,
        Column("stage", pa.string(), "the table whose text it is of: the last that has one for the window"),
        Column("text_digest", pa.string(), "digest of that text"),
        Column(
            "vector", pa.list_(pa.float32()), "at unit length; texts that mean much the same are near", vectors=True
        ),
        Column("model", pa.string(), "the encoder"),
        Column("model_revision", pa.string(), "what pins it: see [models](models.md#what-pins-a-model)"),
    ),
    description=(
        "A vector for the caption of every window, by which `curate search` finds what is said in other words. A "
        "window without a caption, or with an empty one, is an empty row; with no captioner configured, there are no "
        "rows."
    ),
)


def open_encoder(config: Any, storage: Storage) -> Worker:
    """A worker that makes captions into vectors."""
    encoder = TextEncoder()

    def embed(work: Work) -> Mapping[str, list[Row]]:
        clips = set(work.items["clip_id"].to_pylist())
        texts = {
            table.name: [row for row in work.inputs[table.name].to_pylist() if row["clip_id"] in clips]
            for table in CAPTION_STAGES
        }
        rows: list[Row] = []
        for each in window_captions(texts):
            row = {name: each.window[name] for name in ("video_id", "clip_id", "window", "start_frame", "end_frame")}
            if each.caption is None or not each.caption["text"].strip():
                rows.append(row | {"status": "empty"})
                continue
            rows.append(
                row
                | {
                    "stage": each.stage,
                    "text_digest": each.caption["text_digest"],
                    "vector": encoder.embed([each.caption["text"]])[0],
                    "model": encoder.name,
                    "model_revision": encoder.revision,
                }
            )
        return {CAPTION_EMBEDDINGS.name: rows}

    return embed


def fetch_encoder(config: Any, _: Storage) -> None:
    """Once per machine."""
    ensure(config.caption_embeddings.models(), config.models)


_without_captions = without_backend(CAPTIONS.name)


def _off(config: Any) -> bool:
    return not config.caption_embeddings.enabled or _without_captions(config)


EMBED_CAPTIONS = Stage(
    name="embed_captions",
    item=CLIPS.name,
    reads=tuple(table.name for table in CAPTION_STAGES),
    gates=GROUPED,
    writes=(CAPTION_EMBEDDINGS,),
    open=open_encoder,
    prepare=fetch_encoder,
    heavy=True,
    eligible=kept_clips,
    idle=_off,
)

ASSET = Asset(CAPTION_EMBEDDINGS, EMBED_CAPTIONS, "delivery", section=CaptionEmbeddingsConfig)
