"""`source_videos`: what every file of a shard is, and whether it can be used at all."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import pyarrow as pa

from curate_assets.graph.graph import Asset
from curate_assets.graph.score import Score, at_least
from curate_assets.graph.shard_checks import Check, Problems, Shard, nothing_wrong
from curate_assets.video.video_files import VIDEO_FILES
from curate_resources.declarations.stage import ClosedWorker, Stage, Work, Worker
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.declarations.units import UnitTable
from curate_resources.sources.manifests import MANIFEST
from curate_resources.storage.content import Content
from curate_resources.storage.local_copies import hashed_copy, local_copy
from curate_resources.storage.root import Storage
from gpu_kernels.media.containers import VideoFacts
from gpu_kernels.media.segments import SEGMENT_FRAMES
from gpu_kernels.sandbox import Nursery, reader_of

VIDEO_ID = Column(
    "video_id",
    pa.string(),
    "id of the source video: the first 128 bits of the SHA-256 of its content, as 32 hexadecimal digits",
)

SOURCE_VIDEOS = Table(
    name="source_videos",
    grain="file",
    keys=("uri",),
    version="6",
    linked_by=("video_id",),
    identity=("video_id",),
    distinct="video_id",
    columns=(
        Column("uri", pa.string(), "the file, as in the shard's manifest"),
        replace(VIDEO_ID, sought=True),
        Column("bytes", pa.int64(), "size of the file"),
        Column(
            "version",
            pa.string(),
            "what changes with the file's content: its times of change on a disk, or its ETag",
        ),
        Column("container", pa.string(), "FFmpeg's name of the demuxer"),
        Column(
            "stream_index",
            pa.int32(),
            "index in the file of the video stream that is used: the default one, else the first",
        ),
        Column("codec", pa.string(), "FFmpeg's name of the video codec"),
        Column("pixel_format", pa.string(), "FFmpeg's name of the pixel format, such as `yuv420p10le`"),
        Column(
            "width",
            pa.int32(),
            "width as displayed: cropped, with square pixels and upright; of the first frame, should it change",
        ),
        Column("height", pa.int32(), "height as displayed"),
        Column("coded_width", pa.int32(), "width of the decoded picture"),
        Column("coded_height", pa.int32(), "height of the decoded picture"),
        Column("rotation", pa.int32(), "clockwise degrees by which the decoded picture is turned for display"),
        Column("mirrored", pa.bool_(), "whether it is then mirrored left to right"),
        Column(
            "sample_aspect_ratio",
            pa.string(),
            "width to height of a decoded pixel, such as `1:1`; of the first frame",
        ),
        Column("dynamic_range", pa.string(), "`sdr`, or the transfer of high dynamic range: `pq` or `hlg`"),
        Column("interlaced", pa.bool_(), "whether the first frame holds two fields"),
        Column(
            "average_rate",
            pa.float64(),
            "frames per second over the whole stream: as the container says, or counted where that is far off",
        ),
        Column("real_rate", pa.float64(), "the lowest rate that represents all times exactly, as FFmpeg guesses it"),
        Column(
            "constant_rate",
            pa.bool_(),
            "whether all frames have the same distance, as far as the clock can tell",
        ),
        Column("duration_ns", pa.int64(), "from the first frame's time until the last frame has been shown"),
        Column("first_pts_ns", pa.int64(), "presentation time of the first frame"),
        Column(
            "frames",
            pa.int64(),
            "packets of the stream that are to be shown; a damaged file may decode to fewer frames",
        ),
        Column("keyframes", pa.int64(), "how many of them are keyframes"),
        Column(
            "incomplete",
            pa.bool_(),
            "whether there is less in the file than it states, as in a download that broke off",
        ),
        Column(
            "clock_restarts",
            pa.int32(),
            "how often the file's clock starts again, as where recordings were joined; times go on there",
        ),
        Column(
            "segment_pts_ns",
            pa.list_(pa.int64()),
            "presentation times of frames 18,000, 36,000, ...: where other workers begin to scan",
        ),
        Column("audio_index", pa.int32(), "index in the file of the audio stream that is used; null without sound"),
        Column("audio_codec", pa.string(), "its codec; null without sound, or where the codec is not known"),
        Column("audio_sample_rate", pa.int32(), "samples per second of the sound"),
        Column("audio_channels", pa.int32(), "channels of the sound"),
        Column(
            "audio_error",
            pa.string(),
            "why the sound cannot be used, and clips go without; null if it can, or there is none",
        ),
        Column("video_streams", pa.int32(), "video streams in the file, pictures that are marked as covers left out"),
    ),
    description=(
        "Every file of the shard's manifest, probed in a child process: container, codec, size as displayed, rates, "
        "duration, frames, sound, and `video_id`, the hash of its content, which survives moving the bucket. "
        "Files that are no videos are failed rows; a file with the content of an earlier one is an empty row."
    ),
)

UNITS = UnitTable(SOURCE_VIDEOS, VIDEO_FILES, id=VIDEO_ID.name, parts="clip", duration="duration_ns", length="frames")

_PROBE = "gpu_kernels.media.containers:probe"


def open_prober(config: Any, storage: Storage) -> Worker:
    """A worker that hashes and probes files."""
    nursery = Nursery(config.limits)

    def probe(work: Work) -> Mapping[str, list[Row]]:
        rows: list[Row] = []
        for uri in work.items["uri"].to_pylist():
            with hashed_copy(uri) as (path, content):
                facts = nursery.ask(_PROBE, reader_of(VideoFacts), [path], path=path, segment_frames=SEGMENT_FRAMES)
            known = {"video_id": content.id, "bytes": content.bytes, "version": content.version}
            rows.append({"uri": uri, **known, **facts.model_dump(exclude={"kind"})})
        return {SOURCE_VIDEOS.name: rows}

    return ClosedWorker(probe, nursery.close)


def opened(row: Row) -> AbstractContextManager[str]:
    """The file of a row as a path of this machine, with the content that was hashed when it was probed.

    Raises:
        NotThere: it is gone.
        SourceChanged: it has another content now.
    """
    return local_copy(row["uri"], Content(row["video_id"], row["bytes"], row["version"]))


PROBE = Stage(
    name="probe",
    item=MANIFEST.name,
    reads=(),
    writes=(SOURCE_VIDEOS,),
    open=open_prober,
    heavy=True,
    reads_sources=True,
)


def _incomplete(shard: Shard) -> Problems:
    return [f"{row['uri']} is incomplete: fetch it again" for row in shard.good(SOURCE_VIDEOS) if row["incomplete"]]


CHECKS = (
    Check(
        SOURCE_VIDEOS,
        "files_complete",
        "No file ends before it says that it does.",
        nothing_wrong(_incomplete),
        "select uri, bytes, duration_ns / 1e9 as seconds from source_videos where shard = $shard and incomplete",
    ),
)


def _short_side(row: Row) -> float | None:
    return min(row["width"], row["height"]) if row["width"] and row["height"] else None


SCORES = (
    Score(
        "short_side",
        "Short side",
        ("width", "height"),
        _short_side,
        unit="px",
        scale="values",
        steady=False,  # what files there are is up to the sources
        thresholds=(at_least("Least short side of the video in pixels.", whole=True, ge=1),),
    ),
    Score(
        "frame_rate",
        "Frame rate",
        ("average_rate",),
        unit="fps",
        scale="values",
        steady=False,  # what files there are is up to the sources
        thresholds=(at_least("Least average frame rate of the video.", gt=0),),
    ),
)

ASSET = Asset(SOURCE_VIDEOS, PROBE, "sources", CHECKS, scores=SCORES, exported=True)
