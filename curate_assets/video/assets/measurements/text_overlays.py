"""`text_overlays`: subtitles, titles and other text that was put over a clip, from its storyboard's pictures."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from curate_assets.graph.graph import Asset, Record
from curate_assets.graph.score import Score, at_most
from curate_assets.video.assets.clips import CLIP_ID, CLIPS
from curate_assets.video.assets.source_videos import VIDEO_ID
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.measuring import SO_FAR, unless_enabled, unless_rejected
from curate_assets.video.storyboard_frames import Storyboards
from curate_resources.declarations.stage import Stage, Work, Worker
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.storage.root import Storage
from gpu_kernels.media.storyboards import decoded
from gpu_kernels.models.registry import PP_OCR_DETECTOR, packaged_file
from gpu_kernels.ocr.detector import TextDetector
from gpu_kernels.ocr.looks import cut, look
from gpu_kernels.scores.text_overlays import TextOverlaysConfig, Track, picture_moves, text_overlays

_SIDES = [pa.field(name, pa.float32()) for name in ("x", "y", "width", "height")]
_LINE = pa.struct(
    [
        pa.field("start_frame", pa.int64()),
        pa.field("last_frame", pa.int64()),
        *(pa.field(name, pa.float32()) for name in ("x", "y", "width", "height", "confidence")),
        pa.field("overlay", pa.bool_()),
        pa.field("told", pa.bool_()),
        pa.field("boxes", pa.list_(pa.struct([pa.field("frame", pa.int64()), *_SIDES]))),
    ]
)

TEXT_OVERLAYS = Table(
    name="text_overlays",
    grain="clip",
    keys=("video_id", "clip_id"),
    version="2",
    sections=("text_overlays",),
    model=lambda config: config.text_overlays.identity(),
    columns=(
        VIDEO_ID,
        CLIP_ID,
        Column("pictures", pa.int32(), "pictures that were looked at"),
        Column("text_share", pa.float32(), "share of them with any text, be it in the scene"),
        Column("overlay_share", pa.float32(), "share of them with text that was put over the picture"),
        Column("overlay_area", pa.float32(), "greatest share of a picture that such text covers"),
        Column("corner_share", pa.float32(), "of the pictures with text, the share with text in a corner"),
        Column(
            "regions",
            pa.list_(pa.string()),
            "where overlays are, in ninths of the picture: `top left`, `bottom`, `centre` and so on, sorted",
        ),
        Column(
            "undecidable",
            pa.bool_(),
            "whether there is text that may be an overlay or in the scene, since neither it nor most of the picture "
            "moves; it counts in neither share nor area",
        ),
        Column(
            "lines",
            pa.list_(_LINE),
            "every line of text: from which frame to which it was seen, its median box in shares of the picture, "
            "whether it is an overlay, whether that can be told, and its box in every picture that shows it",
        ),
        Column("model", pa.string(), "the detector"),
        Column("model_revision", pa.string(), "what pins it: see [models](models.md#what-pins-a-model)"),
    ),
    description=(
        "Text that was put over every clip, such as subtitles and titles, told from text in the scene by how it stays "
        "in its place. What it says is in `ocr_words`."
    ),
)


def open_overlay_finder(config: Any, storage: Storage) -> Worker:
    """A worker that finds text."""
    settings: TextOverlaysConfig = config.text_overlays
    name, revision = settings.identity()
    detect = TextDetector(
        packaged_file(PP_OCR_DETECTOR), settings.longest_side, settings.pixel_threshold, settings.box_threshold
    )

    def find(work: Work) -> Mapping[str, list[Row]]:
        boards = Storyboards(storage, work.inputs[STORYBOARDS.name])
        rows: list[Row] = []
        for clip in work.items.select(["video_id", "clip_id", "start_frame", "end_frame"]).to_pylist():
            board = boards.of(clip["video_id"])
            shown = board.sampled(clip["start_frame"], clip["end_frame"], settings.frames_per_second)
            pictures = [decoded(jpeg) for jpeg in board.jpegs(shown)]
            frames = [board.frames[position] for position in shown]
            boxes = [detect(picture) for picture in pictures]
            found = text_overlays(
                boxes,
                frames,
                [board.pts_ns[position] for position in shown],
                pictures[0].shape[1] / pictures[0].shape[0],
                picture_moves(pictures),
                settings.rule,
                [[look(cut(picture, box)) for box in of] for picture, of in zip(pictures, boxes, strict=True)],
            )
            rows.append(
                {
                    "video_id": clip["video_id"],
                    "clip_id": clip["clip_id"],
                    "pictures": len(pictures),
                    "text_share": found.text_share,
                    "overlay_share": found.share,
                    "overlay_area": found.area,
                    "corner_share": found.corner_share,
                    "regions": found.regions,
                    "undecidable": found.undecidable,
                    "lines": [_line(track, frames) for track in found.tracks],
                    "model": name,
                    "model_revision": revision,
                }
            )
        return {TEXT_OVERLAYS.name: rows}

    return find


def _line(track: Track, frames: list[int]) -> Row:
    box = track.box
    return {
        "start_frame": frames[track.pictures[0]],
        "last_frame": frames[track.pictures[-1]],
        "x": box.x,
        "y": box.y,
        "width": box.width,
        "height": box.height,
        "confidence": box.confidence,
        "overlay": track.overlay,
        "told": track.told,
        "boxes": [
            {"frame": frames[number], "x": each.x, "y": each.y, "width": each.width, "height": each.height}
            for number, each in zip(track.pictures, track.boxes, strict=True)
        ],
    }


FIND_TEXT_OVERLAYS = Stage(
    name="find_text_overlays",
    item=CLIPS.name,
    reads=(STORYBOARDS.name,),
    writes=(TEXT_OVERLAYS,),
    open=open_overlay_finder,
    heavy=True,
    idle=unless_enabled("text_overlays"),
    gates=(SO_FAR,),
    eligible=unless_rejected("text_overlays"),
)

SCORES = (
    Score(
        "overlay_text_share",
        "Pictures with overlaid text",
        ("overlay_share",),
        within=(0, 1),
        steady=False,
        thresholds=(
            at_most(
                "Greatest share of a clip's pictures with text that was put over them: 0 rejects all in which any was "
                "found; see [how good that is](measurements.md#text_overlays).",
                ge=0,
                le=1,
            ),
        ),
    ),
    Score(
        "overlay_text_area",
        "Area of overlaid text",
        ("overlay_area",),
        unit="share of the picture",
        steady=False,
        thresholds=(
            at_most("Greatest share of a picture that overlaid text covers: 0.02 lets small marks pass.", ge=0, le=1),
        ),
    ),
)

ASSET = Asset(
    TEXT_OVERLAYS,
    FIND_TEXT_OVERLAYS,
    "measurements",
    scores=SCORES,
    recorded=Record("text_overlays", ("text_share", "overlay_share", "overlay_area", "regions")),
    section=TextOverlaysConfig,
    exported=True,
)
