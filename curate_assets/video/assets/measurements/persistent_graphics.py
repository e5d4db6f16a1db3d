"""`persistent_graphics`: logos and watermarks, from the storyboard's pictures of a clip and of what came before it."""

from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from curate_assets.graph.graph import Asset, Record
from curate_assets.graph.score import Score, at_most
from curate_assets.video.assets.clips import CLIP_ID, CLIPS
from curate_assets.video.assets.source_videos import VIDEO_ID
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.measuring import SO_FAR, unless_enabled, unless_rejected
from curate_assets.video.storyboard_frames import Storyboard, Storyboards
from curate_resources.declarations.stage import Stage, Work, Worker
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.storage.root import Storage
from gpu_kernels.media.storyboards import decoded
from gpu_kernels.scores.persistent_graphics import PersistentGraphicsConfig, Pixels, persistent_graphics, prepared

_EARLIER_PER_SECOND = 0.5
_SIDES = [pa.field(name, pa.float32()) for name in ("x", "y", "width", "height")]

PERSISTENT_GRAPHICS = Table(
    name="persistent_graphics",
    grain="clip",
    keys=("video_id", "clip_id"),
    version="2",
    sections=("persistent_graphics",),
    columns=(
        VIDEO_ID,
        CLIP_ID,
        Column("area", pa.float32(), "share of the picture that the box of the largest graphic takes; 0 without any"),
        Column(
            "graphics",
            pa.list_(pa.struct([*_SIDES, pa.field("opacity", pa.float32()), pa.field("share", pa.float32())])),
            "what stays in its place while the picture moves, the largest first: its box in shares of the picture, how "
            "opaque it is, 0 to 1, and the share of the clip's pictures that show it",
        ),
        Column("compared", pa.int32(), "pictures that differ from each other and were compared"),
        Column(
            "undecidable",
            pa.bool_(),
            "whether the picture itself stays in its place, or too little of it was seen, so that a logo cannot be "
            "told from it; the area is then 0, and the clip passes",
        ),
    ),
    description=(
        "Logos and watermarks of every clip: what stays in its place while the picture moves, found in the pictures of "
        "the clip and in those of the same source before it."
    ),
)


def open_graphics_finder(config: Any, storage: Storage) -> Worker:
    """A worker that looks for logos."""
    settings: PersistentGraphicsConfig = config.persistent_graphics

    def find(work: Work) -> Mapping[str, list[Row]]:
        boards = Storyboards(storage, work.inputs[STORYBOARDS.name])
        rows: list[Row] = []
        for clip in work.items.select(["video_id", "clip_id", "start_frame", "end_frame"]).to_pylist():
            board = boards.of(clip["video_id"])
            inside = board.within(clip["start_frame"], clip["end_frame"])
            inside = inside[:: -(-len(inside) // settings.pictures)]
            before = _before(board, inside[0], settings.seconds_before)
            shown = _prepared(board, inside)
            found = persistent_graphics(shown, _prepared(board, before, shown[0]))
            height, width = shown[0].shape
            graphics = [
                {
                    "x": each.box.x / width,
                    "y": each.box.y / height,
                    "width": each.box.width / width,
                    "height": each.box.height / height,
                    "opacity": each.opacity,
                    "share": each.share,
                }
                for each in found.graphics
            ]
            rows.append(
                {
                    "video_id": clip["video_id"],
                    "clip_id": clip["clip_id"],
                    "area": found.graphics[0].box.area / (width * height) if found.graphics else 0.0,
                    "graphics": graphics,
                    "compared": found.compared,
                    "undecidable": found.undecidable,
                }
            )
        return {PERSISTENT_GRAPHICS.name: rows}

    return find


def _before(board: Storyboard, position: int, seconds: float) -> list[int]:
    """Positions of the pictures before another one, one each two seconds."""
    due, since = board.due(_EARLIER_PER_SECOND), board.pts_ns[position] - round(seconds * 1e9)
    first = bisect_left(board.pts_ns, since, hi=position)
    return [each for each in range(first, position) if each in due]


def _prepared(board: Storyboard, positions: list[int], like: Pixels | None = None) -> list[Pixels]:
    found: list[Pixels] = []
    for jpeg in board.jpegs(positions):
        found.append(prepared(decoded(jpeg), like if like is not None or not found else found[0]))
    return found


FIND_PERSISTENT_GRAPHICS = Stage(
    name="find_persistent_graphics",
    item=CLIPS.name,
    reads=(STORYBOARDS.name,),
    writes=(PERSISTENT_GRAPHICS,),
    open=open_graphics_finder,
    heavy=True,
    idle=unless_enabled("persistent_graphics"),
    gates=(SO_FAR,),
    eligible=unless_rejected("persistent_graphics"),
)

SCORES = (
    Score(
        "graphics_area",
        "Area of the largest logo",
        ("area",),
        unit="share of the picture",
        within=(0, 1),
        steady=False,
        thresholds=(
            at_most(
                "Greatest share of the picture that a logo or watermark may take; 0 rejects every clip in which one "
                "was found; see [how good that is](measurements.md#persistent_graphics).",
                ge=0,
                le=1,
            ),
        ),
    ),
)

ASSET = Asset(
    PERSISTENT_GRAPHICS,
    FIND_PERSISTENT_GRAPHICS,
    "measurements",
    scores=SCORES,
    recorded=Record("persistent_graphics", ("area", "graphics", "undecidable")),
    section=PersistentGraphicsConfig,
    exported=True,
)
