"""What rows about captions of windows have in common, whichever stage writes them."""

import hashlib
from collections.abc import Iterable

import pyarrow as pa

from curate_assets.video.assets.clips import CLIP_ID
from curate_assets.video.assets.source_videos import VIDEO_ID
from curate_resources.declarations.table import Column, Row, Table
from gpu_kernels.captioners.types import Caption

WINDOW_COLUMNS = (
    VIDEO_ID,
    CLIP_ID,
    Column("window", pa.int32(), "number of the window in its clip, from 0"),
    Column("start_frame", pa.int64(), "first frame of the window, in the source video"),
    Column("end_frame", pa.int64(), "the frame after its last one"),
)
"""Which window a row is about."""

WINDOW_KEYS = ("video_id", "clip_id", "start_frame")


def text_digest(text: str | None) -> str | None:
    """16 hexadecimal digits of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16] if text is not None else None


MODEL_COLUMNS = (
    Column("model", pa.string(), "the model that was asked"),
    Column("model_revision", pa.string(), "what pins it, or the label given for a server"),
)
"""Who was asked."""

TEXT_COLUMNS = (
    Column("text", pa.string(), "the caption; null unless `caption_status` is `success` or `truncated`", text=True),
    Column(
        "text_digest",
        pa.string(),
        "digest of the text",
        derived=lambda stored: pa.array([text_digest(each) for each in stored["text"].to_pylist()], pa.string()),
    ),
    Column(
        "caption_status",
        pa.string(),
        "`success`, `truncated` (at `max_tokens`), `blocked`, `error` or `skipped`; `error` says why there is no text",
    ),
    *MODEL_COLUMNS,
    Column("prompt_hash", pa.string(), "digest of the prompt and of the settings that shape an answer"),
)
"""What was asked, and what came of it."""

SOURCE_DIGEST = Column("source_digest", pa.string(), "digest of the caption that it was made from")
"""Of captions that are made from others: they count only beside these."""

TEXT_IDENTITY = ("fingerprint", "text_digest")
"""Of a table of captions: asked again, a model may say something else."""

COST_COLUMNS = (
    Column(
        "prompt_tokens",
        pa.int32(),
        "tokens of the question, frames included, where the backend tells",
        tokens=True,
    ),
    Column("output_tokens", pa.int32(), "tokens of the answer, where the backend tells", tokens=True),
    Column(
        "seconds",
        pa.float32(),
        "from asking the model to its answer, among others that it was asked at the same time; null in rows of "
        "versions that did not measure it",
    ),
)
"""What it took."""


def caption_tables(tables: Iterable[Table]) -> dict[str, Table]:
    """Those among some tables that have a caption per window, by name: the variants of caption stages, too."""
    return {table.name: table for table in tables if table.identity == TEXT_IDENTITY}


def answered(row: Row, caption: Caption) -> Row:
    """A row of a window with what came of asking about it."""
    said: Row = {
        "text": caption.text,
        "text_digest": text_digest(caption.text),
        "caption_status": caption.status,
        "prompt_tokens": caption.prompt_tokens,
        "output_tokens": caption.output_tokens,
        "seconds": caption.seconds,
        "model": caption.model or row["model"],
    }
    return row | said | outcome(caption, "Caption")


def outcome(caption: Caption, asked_for: str) -> Row:
    """The status of a row, and its error where there is no text.

    Args:
        asked_for: what names of errors begin with.
    """
    status = {"success": "ok", "truncated": "ok", "error": "failed"}.get(caption.status, "empty")
    if caption.text is not None:
        return {"status": status}
    kind = {"blocked": "Blocked", "skipped": "Skipped"}.get(caption.status, "Error")
    return {"status": status, "error": {"type": asked_for + kind, "message": caption.failure or "no reason given"}}
