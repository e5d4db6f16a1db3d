"""`frame_signals`: what measurements of clips are made from, of every frame, from the scan."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np
import pyarrow as pa

from curate_assets.graph.shard_checks import Check, Problems, Shard, nothing_wrong
from curate_assets.video.assets.source_videos import VIDEO_ID
from curate_assets.video.segments import appended, overlapping, with_values
from curate_resources.declarations.table import Column, Row, Table
from gpu_kernels.media.segments import Segment
from gpu_kernels.scan.scan import ScanChunk, Scanned
from gpu_kernels.scores.thumbnails import thumbnail_signals

_OF_FRAMES = ("pts_ns", "luma", "black", "contrast", "colourfulness", "uniform")

FRAME_SIGNALS = Table(
    name="frame_signals",
    grain="video",
    keys=("video_id",),
    columns=(
        VIDEO_ID,
        Column("pts_ns", pa.list_(pa.int64()), "presentation time of every frame, increasing"),
        Column("luma", pa.list_(pa.float32()), "mean BT.601 luma of every frame, 0 to 1"),
        Column("black", pa.list_(pa.float32()), "share of pixels of every frame whose luma is below 0.1"),
        Column("contrast", pa.list_(pa.float32()), "standard deviation of the luma of every frame, 0 to 0.5"),
        Column("colourfulness", pa.list_(pa.float32()), "colourfulness of every frame (Hasler and Suesstrunk)"),
        Column("uniform", pa.list_(pa.float32()), "share of pixels of every frame that have nearly its median colour"),
        Column(
            "change",
            pa.list_(pa.float32()),
            "mean difference of every frame to the one before, in grey levels of 255; 0 for the first",
        ),
    ),
    description=(
        "Per video: how bright, even and colourful every frame is, and how much it differs from the one before, all of "
        "its thumbnail of 48 by 27 pixels. Made only where a measurement that reads it is enabled."
    ),
)


def signals_by_video(rows: pa.Table, names: Sequence[str]) -> Callable[[str], Mapping[str, np.ndarray]]:
    """Some of the signals of a video, by its id; each video's are read once.

    Raises:
        ValueError: on a call, of a video without signals.
    """
    places = {video: i for i, video in enumerate(rows["video_id"].to_pylist()) if rows["status"][i].as_py() == "ok"}

    @cache
    def of(video_id: str) -> Mapping[str, np.ndarray]:
        if video_id not in places:
            raise ValueError("the video has no frame signals: see the error of its row in frame_signals")
        return {name: rows[name][places[video_id]].values.to_numpy(zero_copy_only=False) for name in names}

    return of


class FrameSignalsOfVideo:
    name = FRAME_SIGNALS.name

    def __init__(self, video_id: str, own: Segment) -> None:
        self._video_id, self._own = video_id, own
        self._last: np.ndarray | None = None
        self._values: dict[str, list[np.ndarray]] = {name: [] for name in (*_OF_FRAMES, "change")}

    def add(self, chunk: Scanned) -> None:
        if not isinstance(chunk, ScanChunk):
            return
        found = thumbnail_signals(chunk.thumbnails, self._last)
        self._last = chunk.thumbnails[-1]
        of_chunk = {"pts_ns": chunk.pts_ns, "luma": chunk.luma, "black": chunk.black, **found._asdict()}
        for name, parts in self._values.items():
            parts.append(of_chunk[name])

    def rows(self, frames: int | None) -> list[Row]:
        values = {name: np.concatenate(parts) for name, parts in self._values.items()}
        # Of a segment's first frame the one before is not known: the change is that of its own frames only.
        values["change"] = values["change"][self._own.before :]
        if frames is None and self._own.after:
            values["change"] = values["change"][: -self._own.after]
        return [{"video_id": self._video_id, **values}]


def joined_frame_signals(segments: Sequence[pa.Table]) -> pa.Table:
    values = {name: overlapping(segments, name) for name in _OF_FRAMES}
    return with_values(segments[0], {**values, "change": appended(segments, "change")})


def _signals_finite(shard: Shard) -> Problems:
    names = [column.name for column in FRAME_SIGNALS.columns if pa.types.is_list(column.type)]
    return [
        f"{shard.named(FRAME_SIGNALS, row)}: {name} is not finite"
        for row in shard.good(FRAME_SIGNALS)
        for name in names
        if not np.isfinite(np.array(row[name], np.float64)).all()
    ]


CHECKS = (
    Check(
        FRAME_SIGNALS,
        "signals_finite",
        "All measurements are finite.",
        nothing_wrong(_signals_finite),
        "select video_id, list_sum(luma) as luma, list_sum(contrast) as contrast, list_sum(change) as change "
        "from frame_signals where shard = $shard",
    ),
)
