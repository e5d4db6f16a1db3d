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
from gpu_kernels.scan.frame_sampler import FrameSample
from gpu_kernels.scan.scan import ScanChunk, Scanned
from gpu_kernels.scores.thumbnails import thumbnail_signals

_OF_FRAMES = ("pts_ns", "luma", "black", "contrast", "colourfulness", "uniform")

_OF_SAMPLES = {
    "blur": "the re-blur ratio, 0 (sharp) to 1",
    "noise": "the standard deviation of the finest diagonal detail, in grey levels of 255",
    "blockiness": "differences across borders of blocks of 8 pixels, by those within; about 1 without blocks",
    "banding": "the share of pixels in steps of what should be a gradient",
    "combing": "the share of pixels that are like a line of another field",
    "dark": "the share of pixels at the darkest levels",
    "bright": "the share of pixels at the brightest levels",
    "pan": "what the camera turns to the right up to the other frame, as a share of the picture's longer side",
    "tilt": "what it turns upwards, likewise",
    "zoom": "by how much the picture grows",
    "roll": "by how many degrees the camera turns clockwise",
    "inliers": "the share of features that move as this says; 0 where there are too few",
    "spread": "the share of the cells of a grid of 4 by 4 that these lie in",
}

FRAME_SIGNALS = Table(
    name="frame_signals",
    grain="video",
    keys=("video_id",),
    version="3",
    sections=("frame_signals",),
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
        Column("sample_frames", pa.list_(pa.int64()), "indices of the frames that were sampled"),
        Column("sample_others", pa.list_(pa.int64()), "of each, the frame up to which the camera's motion is measured"),
        Column("sample_step_ns", pa.list_(pa.int64()), "of each, the time to that frame"),
        *(Column(name, pa.list_(pa.float32()), f"of each sample, {what}") for name, what in _OF_SAMPLES.items()),
    ),
    description=(
        "Per video: how bright, even and colourful every frame is, and how much it differs from the one before, all of "
        "its thumbnail of 48 by 27 pixels; and of a few frames per second, their technical quality at full size and "
        "what the camera does. Made only where a measurement that reads it is enabled."
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
        self._samples: list[FrameSample] = []

    def add(self, chunk: Scanned) -> None:
        if not isinstance(chunk, ScanChunk):
            return
        found = thumbnail_signals(chunk.thumbnails, self._last)
        self._last = chunk.thumbnails[-1]
        of_chunk = {"pts_ns": chunk.pts_ns, "luma": chunk.luma, "black": chunk.black, **found._asdict()}
        for name, parts in self._values.items():
            parts.append(of_chunk[name])
        self._samples += chunk.samples

    def rows(self, frames: int | None) -> list[Row]:
        values = {name: np.concatenate(parts) for name, parts in self._values.items()}
        # Of a segment's first frame the one before is not known: the change is that of its own frames only.
        values["change"] = values["change"][self._own.before :]
        if frames is None and self._own.after:
            values["change"] = values["change"][: -self._own.after]
        return [{"video_id": self._video_id, **values, **_of_samples(self._samples)}]


def _of_samples(samples: Sequence[FrameSample]) -> Row:
    """The columns of samples."""
    measured = [{**sample.quality._asdict(), **sample.step._asdict()} for sample in samples]
    return {
        "sample_frames": [sample.frame for sample in samples],
        "sample_others": [sample.other for sample in samples],
        "sample_step_ns": [sample.step_ns for sample in samples],
        **{name: [each[name] for each in measured] for name in _OF_SAMPLES},
    }


def joined_frame_signals(segments: Sequence[pa.Table]) -> pa.Table:
    values = {name: overlapping(segments, name) for name in _OF_FRAMES}
    own = ("change", "sample_frames", "sample_others", "sample_step_ns", *_OF_SAMPLES)
    return with_values(segments[0], values | {name: appended(segments, name) for name in own})


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
