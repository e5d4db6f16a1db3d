"""`borders`: where the picture is in the frame, from storyboards: bars, constant frames, split screens, insets."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from curate_assets.graph.graph import Asset, Record
from curate_assets.graph.score import Score, at_most
from curate_assets.video.assets.clips import CLIP_ID, CLIPS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS, VIDEO_ID
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.measuring import SO_FAR, unless_enabled, unless_rejected
from curate_assets.video.storyboard_frames import Storyboards
from curate_resources.declarations.stage import Stage, Work, Worker
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.storage.root import Storage
from gpu_kernels.scores.borders import MOST_PICTURES, Borders, Box, borders
from gpu_kernels.scores.measurement import CostlyMeasurementConfig


class BordersConfig(CostlyMeasurementConfig):
    """Bars around the picture, constant frames, split screens and insets."""


_BOX = [pa.field(name, pa.int32()) for name in ("x", "y", "width", "height")]

BORDERS = Table(
    name="borders",
    grain="clip",
    keys=("video_id", "clip_id"),
    version="2",
    sections=("borders",),
    columns=(
        VIDEO_ID,
        CLIP_ID,
        Column("x", pa.int32(), "left edge of what is picture throughout the clip, in pixels of the source"),
        Column("y", pa.int32(), "its upper edge"),
        Column("width", pa.int32(), "its width"),
        Column("height", pa.int32(), "its height"),
        Column("border_share", pa.float32(), "share of the frame that is border, mean over the clip"),
        Column("colour", pa.string(), "of the bars, such as `#000000`; null without bars of a single colour"),
        Column(
            "stretches",
            pa.list_(pa.struct([pa.field("start_frame", pa.int64()), pa.field("end_frame", pa.int64()), *_BOX])),
            "the picture's box over time, in frames of the source; one where it does not change",
        ),
        Column("layout", pa.string(), "`plain`, `split` (screens side by side or above each other) or `inset`"),
        Column("panes", pa.int32(), "pictures that are shown at a time: 1 where it is plain, 2 with an inset"),
        Column(
            "pane_boxes", pa.list_(pa.struct(_BOX)), "where the panes of a split screen are, or the inset; else empty"
        ),
        Column(
            "undecidable",
            pa.bool_(),
            "whether all of the clip is of one colour, so that nothing can be said; it then passes",
        ),
    ),
    description=(
        "Where the picture of every clip is in its frame, from its storyboard: letterbox, pillarbox and other bars, "
        "constant and blurred frames around it, split screens and pictures in the picture."
    ),
)


def open_border_finder(config: Any, storage: Storage) -> Worker:
    """A worker that looks for the edges of pictures."""

    def find(work: Work) -> Mapping[str, list[Row]]:
        sizes = {row["video_id"]: (row["width"], row["height"]) for row in work.inputs[SOURCE_VIDEOS.name].to_pylist()}
        boards = Storyboards(storage, work.inputs[STORYBOARDS.name])
        rows: list[Row] = []
        for clip in work.items.select(["video_id", "clip_id", "start_frame", "end_frame"]).to_pylist():
            board = boards.of(clip["video_id"])
            positions, pictures = board.pictures(clip["start_frame"], clip["end_frame"], MOST_PICTURES)
            height, width = pictures[0].shape[:2]
            of_source = sizes[clip["video_id"]]
            starts = [clip["start_frame"], *(board.frames[position] for position in positions[1:]), clip["end_frame"]]
            found = _columns(borders(pictures), of_source[0] / width, of_source[1] / height, starts)
            rows.append({"video_id": clip["video_id"], "clip_id": clip["clip_id"], **found})
        return {BORDERS.name: rows}

    return find


def _columns(found: Borders, wide: float, high: float, starts: list[int]) -> Row:
    return {
        **_box(found.box, wide, high),
        "border_share": found.share,
        "colour": "#{:02x}{:02x}{:02x}".format(*found.colour) if found.colour is not None else None,
        "stretches": [
            {"start_frame": starts[each.first], "end_frame": starts[each.last + 1], **_box(each.box, wide, high)}
            for each in found.stretches
        ],
        "layout": found.layout,
        "panes": {"plain": 1, "inset": 2}.get(found.layout, len(found.panes)),
        "pane_boxes": [_box(pane, wide, high) for pane in found.panes],
        "undecidable": found.undecidable,
    }


def _box(box: Box, wide: float, high: float) -> dict[str, int]:
    inside = box.scaled(wide, high)
    return {"x": inside.x, "y": inside.y, "width": inside.width, "height": inside.height}


FIND_BORDERS = Stage(
    name="find_borders",
    item=CLIPS.name,
    reads=(SOURCE_VIDEOS.name, STORYBOARDS.name),
    writes=(BORDERS,),
    open=open_border_finder,
    idle=unless_enabled("borders"),
    gates=(SO_FAR,),
    eligible=unless_rejected("borders"),
    heavy=True,
)

SCORES = (
    Score(
        "border_share",
        "Borders",
        ("border_share",),
        unit="share of the frame",
        within=(0, 1),
        steady=False,
        thresholds=(
            at_most(
                "Greatest share of the frame that may be border: bars, or a constant or blurred frame. 0.02 rejects "
                "all that was found in [the proof](measurements.md#borders); films in a wide format have 0.1 to 0.3.",
                le=1,
            ),
        ),
    ),
    Score(
        "picture_panes",
        "Pictures at a time",
        ("panes",),
        scale="values",
        within=(1, 25),
        steady=False,
        thresholds=(
            at_most(
                "Most pictures that the frame may show at a time; 1 rejects split screens and pictures in the picture.",
                default=1,
                whole=True,
                ge=1,
            ),
        ),
    ),
)

ASSET = Asset(
    BORDERS,
    FIND_BORDERS,
    "measurements",
    scores=SCORES,
    recorded=Record("borders", ("x", "y", "width", "height", "border_share", "layout")),
    section=BordersConfig,
    exported=True,
)
