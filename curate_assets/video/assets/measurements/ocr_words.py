"""`ocr_words`: what the text in every clip says, by reading the lines that `text_overlays` finds."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate_assets.graph.graph import Asset, Record
from curate_assets.graph.score import Score, at_most
from curate_assets.video.assets.clips import CLIP_ID
from curate_assets.video.assets.measurements.text_overlays import TEXT_OVERLAYS
from curate_assets.video.assets.source_videos import VIDEO_ID
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.measuring import SO_FAR, unless_enabled, unless_rejected
from curate_assets.video.storyboard_frames import Storyboard, Storyboards
from curate_resources.declarations.stage import Stage, Work, Worker
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.storage.root import Storage
from gpu_kernels.media.storyboards import decoded
from gpu_kernels.models.registry import PP_OCR_RECOGNISER, packaged_file
from gpu_kernels.ocr.detector import TextBox
from gpu_kernels.ocr.looks import cut
from gpu_kernels.ocr.recogniser import TextRecogniser
from gpu_kernels.scores.ocr_words import OcrWordsConfig, clearest, said, words_of

_LINE = pa.struct(
    [
        pa.field("text", pa.string()),
        pa.field("confidence", pa.float32()),
        pa.field("start_ns", pa.int64()),
        pa.field("end_ns", pa.int64()),
        *(pa.field(name, pa.float32()) for name in ("x", "y", "width", "height")),
        pa.field("overlay", pa.bool_()),
    ]
)

OCR_WORDS = Table(
    name="ocr_words",
    grain="clip",
    keys=("video_id", "clip_id"),
    sections=("ocr_words",),
    model=lambda config: config.ocr_words.identity(),
    columns=(
        VIDEO_ID,
        CLIP_ID,
        Column(
            "text",
            pa.string(),
            "the different lines in the order in which they appear, one below the other",
            text=True,
        ),
        Column("words", pa.list_(pa.string()), "their different words, in lower case, without punctuation around them"),
        Column("word_count", pa.int32(), "how many these are"),
        Column(
            "lines",
            pa.list_(_LINE),
            "every line: its text, how sure the recogniser is of it, the times in the source of the first and of the "
            "last picture that shows it, its box where it was read, in shares of the picture, and whether it is an "
            "overlay",
        ),
        Column("model", pa.string(), "the recogniser"),
        Column("model_revision", pa.string(), "what pins it: see [models](models.md#what-pins-a-model)"),
    ),
    description=(
        "What the text in every clip says, overlays and text in the scene, as words to search by. Each line that "
        "`text_overlays` found is read in the picture that shows it most clearly."
    ),
)


def open_reader(config: Any, storage: Storage) -> Worker:
    """A worker that reads text."""
    settings: OcrWordsConfig = config.ocr_words
    recognise, (name, revision) = TextRecogniser(packaged_file(PP_OCR_RECOGNISER)), settings.identity()

    def read(work: Work) -> Mapping[str, list[Row]]:
        boards = Storyboards(storage, work.inputs[STORYBOARDS.name])
        rows: list[Row] = []
        for clip in work.items.select(["video_id", "clip_id", "lines"]).to_pylist():
            board, where = boards.of(clip["video_id"]), clip["lines"]
            times = dict(zip(board.frames, board.pts_ns, strict=True))
            lines: list[Row] = []
            for line, crops in zip(where, _crops(board, where), strict=True):
                number = clearest(crops)
                text, confidence = recognise(crops[number])
                if (text := said(text, confidence, settings.confidence)) is not None:
                    seen = {"start_ns": times[line["start_frame"]], "end_ns": times[line["last_frame"]]}
                    box = {side: line["boxes"][number][side] for side in ("x", "y", "width", "height")}
                    lines.append({"text": text, "confidence": confidence, **seen, **box, "overlay": line["overlay"]})
            lines.sort(key=lambda line: (line["start_ns"], line["y"], line["x"]))
            texts = list(dict.fromkeys(line["text"] for line in lines))
            words = words_of(texts)
            rows.append(
                {
                    "video_id": clip["video_id"],
                    "clip_id": clip["clip_id"],
                    "text": "\n".join(texts),
                    "words": words,
                    "word_count": len(words),
                    "lines": lines,
                    "model": name,
                    "model_revision": revision,
                }
            )
        return {OCR_WORDS.name: rows}

    return read


def _crops(board: Storyboard, lines: list[Row]) -> list[list[NDArray[np.uint8]]]:
    """Of every line, what its boxes hold; one picture at a time is decoded."""
    found: list[list[NDArray[np.uint8]]] = [[] for _ in lines]
    frames = {box["frame"] for line in lines for box in line["boxes"]}
    shown = [position for position, frame in enumerate(board.frames) if frame in frames]
    for position, jpeg in zip(shown, board.jpegs(shown), strict=True):
        picture = decoded(jpeg)
        for line, crops in zip(lines, found, strict=True):
            crops += [cut(picture, _box(box)).copy() for box in line["boxes"] if box["frame"] == board.frames[position]]
    return found


def _box(box: Row) -> TextBox:
    return TextBox(box["x"], box["y"], box["width"], box["height"], 1)


READ_WORDS = Stage(
    name="read_words",
    item=TEXT_OVERLAYS.name,
    reads=(STORYBOARDS.name,),
    writes=(OCR_WORDS,),
    open=open_reader,
    heavy=True,
    idle=unless_enabled("ocr_words"),
    gates=(SO_FAR,),
    eligible=unless_rejected("ocr_words"),
)


def _finds_text(config: Any) -> None:
    if config.ocr_words.enabled and not config.text_overlays.enabled:
        raise ValueError("ocr_words reads the lines that text_overlays finds: set text_overlays.enabled, too")


SCORES = (
    Score(
        "words_read",
        "Different words in the picture",
        ("word_count",),
        steady=False,
        thresholds=(
            at_most(
                "Most different words that can be read in a clip, overlays or not: 20 rejects slides, documents and "
                "screens with text.",
                whole=True,
                ge=0,
            ),
        ),
    ),
)

ASSET = Asset(
    OCR_WORDS,
    READ_WORDS,
    "measurements",
    scores=SCORES,
    recorded=Record("ocr_words", ("text", "words")),
    section=OcrWordsConfig,
    agrees=_finds_text,
    exported=True,
)
