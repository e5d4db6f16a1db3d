"""`source_videos`: what every file of a shard is, and whether it can be used at all."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import pyarrow as pa

from curate_resources.content import Content
from curate_resources.local_copies import hashed_copy, local_copy
from curate_resources.manifests import MANIFEST
from curate_resources.stage import Row, Stage, Table, Work, Worker
from curate_resources.storage import Storage
from gpu_kernels.containers import VideoFacts
from gpu_kernels.sandbox import Nursery, reader_of
from gpu_kernels.segments import SEGMENT_FRAMES

SOURCE_VIDEOS = Table(
    name="source_videos",
    grain="file",
    keys=("uri",),
    version="5",
    linked_by=("video_id",),
    identity=("video_id",),
    distinct="video_id",
    columns=pa.schema(
        [
            ("uri", pa.string()),
            ("video_id", pa.string()),
            ("bytes", pa.int64()),
            ("version", pa.string()),
            ("container", pa.string()),
            ("stream_index", pa.int32()),
            ("codec", pa.string()),
            ("pixel_format", pa.string()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("coded_width", pa.int32()),
            ("coded_height", pa.int32()),
            ("rotation", pa.int32()),
            ("mirrored", pa.bool_()),
            ("sample_aspect_ratio", pa.string()),
            ("dynamic_range", pa.string()),
            ("interlaced", pa.bool_()),
            ("average_rate", pa.float64()),
            ("real_rate", pa.float64()),
            ("constant_rate", pa.bool_()),
            ("duration_ns", pa.int64()),
            ("first_pts_ns", pa.int64()),
            ("frames", pa.int64()),
            ("keyframes", pa.int64()),
            ("incomplete", pa.bool_()),
            ("clock_restarts", pa.int32()),
            ("segment_pts_ns", pa.list_(pa.int64())),
            ("audio_index", pa.int32()),
            ("audio_codec", pa.string()),
            ("audio_sample_rate", pa.int32()),
            ("audio_channels", pa.int32()),
            ("audio_error", pa.string()),
            ("video_streams", pa.int32()),
        ]
    ),
    description=(
        "Every file of the shard's manifest, probed in a child process: container, codec, size as displayed, rates, "
        "duration, frames, sound, and `video_id`, the hash of its content, which survives moving the bucket. "
        "Files that are no videos are failed rows; a file with the content of an earlier one is an empty row."
    ),
)

_PROBE = "gpu_kernels.containers:probe"


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

    return probe


def opened(row: Row) -> AbstractContextManager[str]:
    """The file of a row as a path of this machine, with the content that was hashed when it was probed.

    Raises:
        NotThere: it is gone.
        SourceChanged: it has another content now.
    """
    return local_copy(row["uri"], Content(row["video_id"], row["bytes"], row["version"]))


PROBE = Stage(name="probe", item=MANIFEST.name, reads=(), writes=(SOURCE_VIDEOS,), open=open_prober, heavy=True)
