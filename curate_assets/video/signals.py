"""`shot_signals`, `motion_signals`, `storyboards`: one decode of the source gives all three."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from curate_assets.stage_resources import model_needs
from curate_assets.video.measures import damage
from curate_assets.video.segments import appended, overlapping, segment_of, segments_of, with_values
from curate_assets.video.source_videos import SOURCE_VIDEOS, VIDEO_ID, opened
from curate_resources.stage import Column, Needs, Row, Segments, SegmentsDisagree, Stage, Table, Work, Worker
from curate_resources.storage import Storage
from gpu_kernels.motion_sampler import MotionSample
from gpu_kernels.sandbox import Nursery
from gpu_kernels.scan import ScanChunk, ScanEnd, read_scan
from gpu_kernels.segments import WHOLE, Segment
from gpu_kernels.shots import (
    ShotNetwork,
    ShotSignalsConfig,
    TransitionStream,
    load_network,
    model_identity,
)

SHOT_SIGNALS = Table(
    name="shot_signals",
    grain="video",
    keys=("video_id",),
    version="5",
    sections=("shot_signals",),
    measures=damage,
    model=lambda config: model_identity(config.shot_signals),
    columns=(
        VIDEO_ID,
        Column("frames", pa.int64(), "frames that were decoded"),
        Column("pts_ns", pa.list_(pa.int64()), "presentation time of every frame, increasing"),
        Column(
            "transition",
            pa.list_(pa.float32()),
            "probability of every frame to be in a shot transition; empty with `shot_signals.network: none`",
        ),
        Column("decode_errors", pa.int64(), "packets that could not be decoded"),
        Column("damaged_frames", pa.int64(), "frames that the decoder marked as damaged"),
        Column("model", pa.string(), "the network that made the curve"),
        Column("model_revision", pa.string(), "what pins its weights"),
    ),
    description=(
        "Per video: the presentation time of every frame and TransNetV2's probability that it belongs to a shot "
        "transition. The whole curve is kept, so that thresholds change later without decoding."
    ),
)

MOTION_SIGNALS = Table(
    name="motion_signals",
    grain="video",
    keys=("video_id",),
    version="4",
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
            "patches",
            pa.list_(pa.float32()),
            "mean displacement per patch and sample, in pixels by width plus height; sample by sample, row by row",
        ),
        Column("luma", pa.list_(pa.float32()), "mean BT.601 luma of every frame, 0 to 1"),
        Column("black", pa.list_(pa.float32()), "share of pixels of every frame whose luma is below 0.1"),
    ),
    description=(
        "Per video, over time: motion per 256-pixel patch (from the codec's motion vectors, or dense flow where it "
        "has none), mean luminance and share of black pixels of every frame."
    ),
)

STORYBOARDS = Table(
    name="storyboards",
    grain="frame",
    keys=("video_id", "frame"),
    version="5",
    sections=("storyboards",),
    media="media/storyboards",
    columns=(
        VIDEO_ID,
        Column("frame", pa.int64(), "index of the frame in the source video"),
        Column("pts_ns", pa.int64(), "its presentation time"),
        Column("width", pa.int32(), "width of the JPEG, in pixels as displayed"),
        Column("height", pa.int32(), "height of the JPEG"),
        Column("path", pa.string(), "the file that holds the JPEGs of the video, below the root"),
        Column("offset", pa.int64(), "where the JPEG begins in that file"),
        Column("bytes", pa.int64(), "length of the JPEG"),
        Column(
            "sharpness",
            pa.float32(),
            "variance of the Laplacian, in squared grey levels; compare frames of one size only",
        ),
    ),
    description=(
        "A few frames per second of every video as JPEG, with their exact presentation times. Pictures lie in files "
        "of some megabytes; a row says where, and how sharp the picture is. Embeddings and captions read these, "
        "never the source."
    ),
)


def open_scanner(config: Any, storage: Storage) -> Worker:
    """A worker that decodes each video once; the network runs here while the child decodes ahead."""
    nursery = Nursery(config.limits)
    network: ShotNetwork | None = None

    def scan(work: Work) -> Mapping[str, list[Row]]:
        nonlocal network
        wants = work.wanted.__contains__
        if wants(SHOT_SIGNALS.name) and network is None:
            network = load_network(config.shot_signals)
        rows: dict[str, list[Row]] = {name: [] for name in work.wanted}
        for index, item in enumerate(work.items.to_pylist()):
            video_id = item["video_id"]
            own = segment_of(item, *work.segment) if work.segment is not None else WHOLE
            gatherers: list[_Gatherer] = []
            if wants(SHOT_SIGNALS.name):
                gatherers.append(_Shots(video_id, config.shot_signals, network, own))
            if wants(MOTION_SIGNALS.name):
                gatherers.append(_Motion(video_id))
            if wants(STORYBOARDS.name):
                folder = storyboard_folder(video_id, work.fingerprints[STORYBOARDS.name][index])
                gatherers.append(_Storyboard(video_id, folder, storage))
            with opened(item) as path:
                chunks = read_scan(
                    nursery,
                    path,
                    config.motion_signals if wants(MOTION_SIGNALS.name) else None,
                    config.storyboards if wants(STORYBOARDS.name) else None,
                    segment=own,
                )
                frames, tell_at = 0, PACK_FRAMES
                for chunk in chunks:
                    for gatherer in gatherers:
                        gatherer.add(chunk)
                    frames += 0 if isinstance(chunk, ScanEnd) else len(chunk.pts_ns)
                    if work.early is not None and frames >= tell_at and frames % PACK_FRAMES == 0:
                        work.early({gatherer.table.name: gatherer.rows(frames) for gatherer in gatherers})
                        tell_at = frames + frames // 4  # looking through a beginning takes as long as it is long
                for gatherer in gatherers:
                    rows[gatherer.table.name] += gatherer.rows(None)
        return rows

    return scan


PACK_FRAMES = 300
"""Source frames whose storyboard pictures lie in one file: a few megabytes, which can be read while the video is still
being scanned. A whole number of scan chunks."""


def storyboard_folder(video_id: str, fingerprint: str) -> str:
    """Where a video's storyboard lies; another way of making it is another folder, so no file is ever overwritten."""
    return f"{STORYBOARDS.media}/{video_id}-{fingerprint[:8]}"


class _Gatherer(Protocol):
    """Takes what one table needs from the chunks of a scan, and makes its rows of it."""

    table: Table

    def add(self, chunk: ScanChunk | ScanEnd) -> None: ...

    def rows(self, frames: int | None) -> list[Row]:
        """The rows of the whole video; or of what will not change any more of its first `frames`, all read so far."""
        ...


class _Shots:
    table = SHOT_SIGNALS

    def __init__(self, video_id: str, config: ShotSignalsConfig, network: ShotNetwork | None, own: Segment) -> None:
        name, revision = model_identity(config)
        self._row: Row = {"video_id": video_id, "model": name, "model_revision": revision}
        self._stream = TransitionStream(network, own.before) if network is not None else None
        self._after = own.after
        self._pts: list[np.ndarray] = []

    def add(self, chunk: ScanChunk | ScanEnd) -> None:
        if isinstance(chunk, ScanEnd):
            self._row |= {"decode_errors": chunk.decode_errors, "damaged_frames": chunk.damaged_frames}
            return
        self._pts.append(chunk.pts_ns)
        if self._stream is not None:
            self._stream.add(chunk.thumbnails)

    def rows(self, frames: int | None) -> list[Row]:
        pts = np.concatenate(self._pts)
        if self._stream is None:
            curve, known = np.zeros(0, np.float32), len(pts)
        else:
            curve = self._stream.finish(self._after) if frames is None else self._stream.so_far()
            known = len(curve) if frames is not None else len(pts)
        return [{**self._row, "frames": known, "pts_ns": pts[:known], "transition": curve}]


class _Motion:
    table = MOTION_SIGNALS

    def __init__(self, video_id: str) -> None:
        self._video_id = video_id
        self._luma: list[np.ndarray] = []
        self._black: list[np.ndarray] = []
        self._samples: list[MotionSample] = []

    def add(self, chunk: ScanChunk | ScanEnd) -> None:
        if isinstance(chunk, ScanChunk):
            self._luma.append(chunk.luma)
            self._black.append(chunk.black)
            self._samples += chunk.motion

    def rows(self, frames: int | None) -> list[Row]:
        # A stream that changes its size changes its patches; those of the first size are kept.
        shape = self._samples[0].patches.shape if self._samples else (0, 0)
        samples = [sample for sample in self._samples if sample.patches.shape == shape]
        return [
            {
                "video_id": self._video_id,
                "patch_rows": shape[0],
                "patch_columns": shape[1],
                "sample_frames": [sample.frame for sample in samples],
                "sample_pts_ns": [sample.pts_ns for sample in samples],
                "sample_by_flow": [sample.by_flow for sample in samples],
                "patches": np.concatenate([sample.patches.ravel() for sample in samples]) if samples else [],
                "luma": np.concatenate(self._luma),
                "black": np.concatenate(self._black),
            }
        ]


class _Storyboard:
    table = STORYBOARDS

    def __init__(self, video_id: str, folder: str, storage: Storage) -> None:
        self._video_id, self._folder, self._storage = video_id, folder, storage
        self._rows: list[Row] = []
        self._pack = 0
        self._pictures = bytearray()

    def add(self, chunk: ScanChunk | ScanEnd) -> None:
        if isinstance(chunk, ScanEnd):
            return
        for frame in chunk.storyboard:
            if frame.frame // PACK_FRAMES != self._pack:
                self._write()
                self._pack = frame.frame // PACK_FRAMES
            self._rows.append(
                {
                    "video_id": self._video_id,
                    "frame": frame.frame,
                    "pts_ns": frame.pts_ns,
                    "width": frame.width,
                    "height": frame.height,
                    "path": self._path,
                    "offset": len(self._pictures),
                    "bytes": frame.jpeg.nbytes,
                    "sharpness": frame.sharpness,
                }
            )
            self._pictures += frame.jpeg

    def rows(self, frames: int | None) -> list[Row]:
        self._write()
        return list(self._rows)

    @property
    def _path(self) -> str:
        return f"{self._folder}/{self._pack:06d}.jpgs"

    def _write(self) -> None:
        if self._pictures:
            self._storage.write(self._path, bytes(self._pictures))
            self._pictures.clear()


def join_segments(segments: Sequence[Mapping[str, pa.Table]]) -> dict[str, pa.Table]:
    """The rows of a video from those of its segments, whose frames overlap by their context.

    Raises:
        SegmentsDisagree: where two overlap, they are not the same; or there is damage, which one scan counts otherwise.
    """
    joined: dict[str, pa.Table] = {}
    for name in segments[0]:
        tables = [rows[name] for rows in segments]
        match name:
            case SHOT_SIGNALS.name:
                joined[name] = _joined_shots(tables)
            case MOTION_SIGNALS.name:
                joined[name] = _joined_motion(tables)
            case _:
                joined[name] = pa.concat_tables(tables)
    return joined


def _joined_shots(segments: Sequence[pa.Table]) -> pa.Table:
    if any(rows[column][0].as_py() for rows in segments for column in ("decode_errors", "damaged_frames")):
        raise SegmentsDisagree("there is damage in it")
    pts = overlapping(segments, "pts_ns")
    values = {"frames": len(pts), "pts_ns": pts, "transition": appended(segments, "transition")}
    return with_values(segments[0], values)


def _joined_motion(segments: Sequence[pa.Table]) -> pa.Table:
    values: dict[str, Any] = {name: overlapping(segments, name) for name in ("luma", "black")}
    for name in ("sample_frames", "sample_pts_ns", "sample_by_flow", "patches"):
        values[name] = appended(segments, name)
    shapes = {(rows["patch_rows"][0].as_py(), rows["patch_columns"][0].as_py()) for rows in segments}
    shapes -= {(0, 0)} if len(shapes) > 1 else set()
    if len(shapes) > 1:
        raise SegmentsDisagree("its pictures change their size")
    values["patch_rows"], values["patch_columns"] = shapes.pop()
    return with_values(segments[0], values)


def scan_needs(config: Any) -> Needs:
    """The network and what it computes on take some 2.5 GiB of a GPU."""
    return model_needs("cpu" if config.shot_signals.network == "none" else config.shot_signals.device, 0.125)


SCAN = Stage(
    name="scan",
    item=SOURCE_VIDEOS.name,
    reads=(),
    writes=(SHOT_SIGNALS, MOTION_SIGNALS, STORYBOARDS),
    open=open_scanner,
    heavy=True,
    needs_of=scan_needs,
    segments=Segments(segments_of, join_segments),
)
