"""`shot_signals`, `motion_signals`, `storyboards`: one decode of the source gives all three."""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import IO, Any, Protocol

import numpy as np
import pyarrow as pa

from curate_assets.video.source_videos import SOURCE_VIDEOS
from curate_resources.stage import Row, Stage, Table, Work, Worker
from curate_resources.storage import Storage, local_copy
from gpu_kernels.sandbox import Nursery
from gpu_kernels.scan import MotionSample, ScanChunk, ScanEnd, read_scan
from gpu_kernels.shots import ShotNetwork, ShotSignalsConfig, TransitionStream, load_network, model_identity

SHOT_SIGNALS = Table(
    name="shot_signals",
    grain="video",
    keys=("video_id",),
    version="2",
    sections=("shot_signals",),
    model=lambda config: model_identity(config.shot_signals),
    columns=pa.schema(
        [
            ("video_id", pa.string()),
            ("frames", pa.int64()),
            ("pts_ns", pa.list_(pa.int64())),
            ("transition", pa.list_(pa.float32())),
            ("decode_errors", pa.int64()),
            ("damaged_frames", pa.int64()),
            ("model", pa.string()),
            ("model_revision", pa.string()),
        ]
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
    sections=("motion_signals",),
    columns=pa.schema(
        [
            ("video_id", pa.string()),
            ("patch_rows", pa.int32()),
            ("patch_columns", pa.int32()),
            ("sample_frames", pa.list_(pa.int64())),
            ("sample_pts_ns", pa.list_(pa.int64())),
            ("sample_by_flow", pa.list_(pa.bool_())),
            ("patches", pa.list_(pa.float32())),
            ("luma", pa.list_(pa.float32())),
            ("black", pa.list_(pa.float32())),
        ]
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
    sections=("storyboards",),
    columns=pa.schema(
        [
            ("video_id", pa.string()),
            ("frame", pa.int64()),
            ("pts_ns", pa.int64()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("path", pa.string()),
            ("offset", pa.int64()),
            ("bytes", pa.int64()),
            ("sharpness", pa.float32()),
        ]
    ),
    description=(
        "A few frames per second of every video as JPEG, with their exact presentation times. The pictures of a video "
        "lie in one file; a row says where, and how sharp the picture is. Embeddings and captions read these, never "
        "the source."
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
        for index, item in enumerate(work.items.select(["uri", "video_id"]).to_pylist()):
            video_id = item["video_id"]
            with ExitStack() as stack:
                path = stack.enter_context(local_copy(item["uri"]))
                gatherers: list[_Gatherer] = []
                if wants(SHOT_SIGNALS.name):
                    gatherers.append(_Shots(video_id, config.shot_signals, network))
                if wants(MOTION_SIGNALS.name):
                    gatherers.append(_Motion(video_id))
                if wants(STORYBOARDS.name):
                    pack = storyboard_path(video_id, work.fingerprints[STORYBOARDS.name][index])
                    gatherers.append(_Storyboard(video_id, pack, stack.enter_context(storage.writer(pack))))
                chunks = read_scan(
                    nursery,
                    path,
                    config.motion_signals if wants(MOTION_SIGNALS.name) else None,
                    config.storyboards if wants(STORYBOARDS.name) else None,
                )
                for chunk in chunks:
                    for gatherer in gatherers:
                        gatherer.add(chunk)
                for gatherer in gatherers:
                    rows[gatherer.table.name] += gatherer.rows()
        return rows

    return scan


def storyboard_path(video_id: str, fingerprint: str) -> str:
    """Where a video's storyboard lies; another way of making it is another file, so none is ever overwritten."""
    return f"media/storyboards/{video_id}-{fingerprint[:8]}.jpgs"


class _Gatherer(Protocol):
    """Takes what one table needs from the chunks of a scan, and makes its rows of it."""

    table: Table

    def add(self, chunk: ScanChunk | ScanEnd) -> None: ...

    def rows(self) -> list[Row]: ...


class _Shots:
    table = SHOT_SIGNALS

    def __init__(self, video_id: str, config: ShotSignalsConfig, network: ShotNetwork | None) -> None:
        name, revision = model_identity(config)
        self._row: Row = {"video_id": video_id, "model": name, "model_revision": revision}
        self._stream = TransitionStream(network) if network is not None else None
        self._pts: list[np.ndarray] = []

    def add(self, chunk: ScanChunk | ScanEnd) -> None:
        if isinstance(chunk, ScanEnd):
            self._row |= {"decode_errors": chunk.decode_errors, "damaged_frames": chunk.damaged_frames}
            return
        self._pts.append(chunk.pts_ns)
        if self._stream is not None:
            self._stream.add(chunk.thumbnails)

    def rows(self) -> list[Row]:
        pts = np.concatenate(self._pts)
        curve = self._stream.finish() if self._stream is not None else []
        return [{**self._row, "frames": len(pts), "pts_ns": pts, "transition": curve}]


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

    def rows(self) -> list[Row]:
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

    def __init__(self, video_id: str, path: str, file: IO[bytes]) -> None:
        self._video_id, self._path, self._file = video_id, path, file
        self._offset = 0
        self._rows: list[Row] = []

    def add(self, chunk: ScanChunk | ScanEnd) -> None:
        if isinstance(chunk, ScanEnd):
            return
        for frame in chunk.storyboard:
            self._file.write(frame.jpeg)
            self._rows.append(
                {
                    "video_id": self._video_id,
                    "frame": frame.frame,
                    "pts_ns": frame.pts_ns,
                    "width": frame.width,
                    "height": frame.height,
                    "path": self._path,
                    "offset": self._offset,
                    "bytes": frame.jpeg.nbytes,
                    "sharpness": frame.sharpness,
                }
            )
            self._offset += frame.jpeg.nbytes

    def rows(self) -> list[Row]:
        return self._rows


SCAN = Stage(
    name="scan",
    item=SOURCE_VIDEOS.name,
    reads=(),
    writes=(SHOT_SIGNALS, MOTION_SIGNALS, STORYBOARDS),
    open=open_scanner,
    heavy=True,
)
