"""`motion_signals`: motion per patch and brightness over time, from the scan."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from curate_assets.graph.shard_checks import Check, Problems, Shard, nothing_wrong
from curate_assets.video.assets.source_videos import VIDEO_ID
from curate_assets.video.segments import appended, overlapping, with_values
from curate_resources.declarations.stage import SegmentsDisagree
from curate_resources.declarations.table import Column, Row, Table
from gpu_kernels.scan.motion_sampler import MotionSample, ReferenceSample
from gpu_kernels.scan.scan import ScanChunk, Scanned

MOTION_SIGNALS = Table(
    name="motion_signals",
    grain="video",
    keys=("video_id",),
    version="6",
    sections=("motion_signals",),
    columns=(
        VIDEO_ID,
        Column("patch_rows", pa.int32(), "rows of the grid of patches of about 256 by 256 pixels"),
        Column("patch_columns", pa.int32(), "columns of that grid"),
        Column("sample_frames", pa.list_(pa.int64()), "indices of the frames whose motion was measured"),
        Column("sample_pts_ns", pa.list_(pa.int64()), "their presentation times"),
        Column(
            "sample_by_flow",
            pa.list_(pa.bool_()),
            "whether dense optical flow measured it, for want of the codec's motion vectors",
        ),
        Column(
            "sample_distances",
            pa.list_(pa.int32()),
            "how many frames away the frame is that each was compared with: by flow the next one, by vectors the one "
            "that the codec refers to",
        ),
        Column(
            "patches",
            pa.list_(pa.float32()),
            "mean displacement per frame, patch and sample, in pixels by width plus height; sample by sample, row by "
            "row",
        ),
        Column(
            "reference_frames",
            pa.list_(pa.int64()),
            "the frames that Cosmos-Curate would look at: the first of every half second, if it has motion vectors",
        ),
        Column(
            "reference_means",
            pa.list_(pa.float32()),
            "of each, the mean length of its motion vectors as they come, in pixels by width plus height: to the frame "
            "that the codec refers to",
        ),
        Column(
            "reference_centres",
            pa.list_(pa.float32()),
            "of each, that of the four pixels in the middle of every patch, from the top left and row by row",
        ),
        Column("luma", pa.list_(pa.float32()), "mean BT.601 luma of every frame, 0 to 1"),
        Column("black", pa.list_(pa.float32()), "share of pixels of every frame whose luma is below 0.1"),
    ),
    description=(
        "Per video, over time: motion per 256-pixel patch (from the codec's motion vectors, or dense flow where it "
        "has none), mean luminance and share of black pixels of every frame."
    ),
)


class MotionOfVideo:
    name = MOTION_SIGNALS.name

    def __init__(self, video_id: str) -> None:
        self._video_id = video_id
        self._luma: list[np.ndarray] = []
        self._black: list[np.ndarray] = []
        self._samples: list[MotionSample] = []
        self._references: list[ReferenceSample] = []

    def add(self, chunk: Scanned) -> None:
        if isinstance(chunk, ScanChunk):
            self._luma.append(chunk.luma)
            self._black.append(chunk.black)
            self._samples += chunk.motion
            self._references += chunk.references

    def rows(self, frames: int | None) -> list[Row]:
        # A stream that changes its size changes its patches; those of the first size are kept.
        shape = self._samples[0].patches.shape if self._samples else (0, 0)
        samples = [sample for sample in self._samples if sample.patches.shape == shape]
        references = [sample for sample in self._references if sample.centres.shape == shape]
        return [
            {
                "video_id": self._video_id,
                "patch_rows": shape[0],
                "patch_columns": shape[1],
                "sample_frames": [sample.frame for sample in samples],
                "sample_pts_ns": [sample.pts_ns for sample in samples],
                "sample_by_flow": [sample.by_flow for sample in samples],
                "sample_distances": [sample.distance for sample in samples],
                "patches": _joined([sample.patches for sample in samples]),
                "reference_frames": [sample.frame for sample in references],
                "reference_means": [sample.mean for sample in references],
                "reference_centres": _joined([sample.centres for sample in references]),
                "luma": np.concatenate(self._luma),
                "black": np.concatenate(self._black),
            }
        ]


def _joined(grids: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([grid.ravel() for grid in grids]) if grids else np.zeros(0, np.float32)


def joined_motion(segments: Sequence[pa.Table]) -> pa.Table:
    values: dict[str, Any] = {name: overlapping(segments, name) for name in ("luma", "black")}
    own = ("sample_frames", "sample_pts_ns", "sample_by_flow", "sample_distances", "patches")
    for name in (*own, "reference_frames", "reference_means", "reference_centres"):
        values[name] = appended(segments, name)
    shapes = {(rows["patch_rows"][0].as_py(), rows["patch_columns"][0].as_py()) for rows in segments}
    shapes -= {(0, 0)} if len(shapes) > 1 else set()
    if len(shapes) > 1:
        raise SegmentsDisagree("its pictures change their size")
    values["patch_rows"], values["patch_columns"] = shapes.pop()
    return with_values(segments[0], values)


def _motion_finite(shard: Shard) -> Problems:
    """Of rows that were made before a column was there, that one is null, and is not looked at."""
    return [
        f"{shard.named(MOTION_SIGNALS, row)}: {name} is not finite"
        for row in shard.good(MOTION_SIGNALS)
        for name in ("patches", "reference_means", "reference_centres", "luma", "black")
        if row[name] is not None and not np.isfinite(np.array(row[name], np.float32)).all()
    ]


CHECKS = (
    Check(
        MOTION_SIGNALS,
        "signals_finite",
        "All measurements are finite.",
        nothing_wrong(_motion_finite),
        "select video_id, list_sum(patches) as patches, list_sum(reference_means) as reference_means, "
        "list_sum(reference_centres) as reference_centres, list_sum(luma) as luma, list_sum(black) as black "
        "from motion_signals where shard = $shard",
    ),
)
