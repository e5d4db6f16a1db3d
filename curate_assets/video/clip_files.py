"""`clip_files`: a file for every clip that is kept, frame-exact, read back before it counts."""

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from curate_assets.video.clips import CLIPS
from curate_assets.video.duplicates import GROUPED, kept_clips
from curate_assets.video.source_videos import SOURCE_VIDEOS, opened
from curate_resources.stage import Row, Stage, Table, Work, Worker
from curate_resources.storage import Storage
from gpu_kernels.cutting import cut_clip, read_back
from gpu_kernels.sandbox import MediaError, Nursery
from gpu_kernels.spans import Span

CLIP_FILES = Table(
    name="clip_files",
    grain="clip",
    keys=("video_id", "clip_id"),
    sections=("clip_files",),
    version="5",
    media="media/clips",
    columns=pa.schema(
        [
            ("video_id", pa.string()),
            ("clip_id", pa.string()),
            ("path", pa.string()),
            ("bytes", pa.int64()),
            ("sha256", pa.string()),
            ("codec", pa.string()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("frames", pa.int64()),
            ("copied_frames", pa.int64()),
            ("duration_ns", pa.int64()),
            ("has_audio", pa.bool_()),
            ("thumbnail", pa.binary()),
        ]
    ),
    description=(
        "An MP4 file for every clip that is selected and not a duplicate: exactly the frames of its span, sound kept, "
        "index at the front. Whole groups of pictures of H.264, HEVC and VP9 are copied where that is exact, with the "
        "few frames beside them encoded; everything else is encoded as H.264. Each file was read back; `thumbnail` is "
        "its middle frame."
    ),
)


def open_cutter(config: Any, storage: Storage) -> Worker:
    """A worker that cuts clip files."""
    nursery = Nursery(config.limits)

    def cut(work: Work) -> Mapping[str, list[Row]]:
        sources = {row["video_id"]: row for row in work.inputs[SOURCE_VIDEOS.name].to_pylist() if row["status"] == "ok"}
        rows: list[Row] = []
        for index, clip in enumerate(work.items.to_pylist()):
            source = sources[clip["video_id"]]
            path = f"{CLIP_FILES.media}/{clip['clip_id']}-{work.fingerprints[CLIP_FILES.name][index][:8]}.mp4"
            with opened(source) as local, tempfile.TemporaryDirectory(prefix="curate-") as folder:
                target = Path(folder) / "clip.mp4"
                bounds = (clip[name] for name in ("start_frame", "end_frame", "start_ns", "end_ns"))
                span = Span(*bounds, clock_restarts=source["clock_restarts"], with_sound=source["audio_error"] is None)
                copied = cut_clip(nursery, local, str(target), span, config.clip_files)
                facts = read_back(nursery, str(target), config.clip_files)
                if facts.frames != span.frames:
                    raise MediaError(f"the clip file has {facts.frames} frames, its span has {span.frames}")
                data = target.read_bytes()
            storage.write(path, data)
            rows.append(
                {
                    "video_id": clip["video_id"],
                    "clip_id": clip["clip_id"],
                    "path": path,
                    "bytes": len(data),
                    "sha256": hashlib.sha256(data).hexdigest(),
                    "codec": source["codec"] if copied else "h264",
                    "width": facts.width,
                    "height": facts.height,
                    "frames": facts.frames,
                    "copied_frames": copied,
                    "duration_ns": clip["end_ns"] - clip["start_ns"],
                    "has_audio": facts.has_audio,
                    "thumbnail": facts.thumbnail,
                }
            )
        return {CLIP_FILES.name: rows}

    return cut


CUT = Stage(
    name="cut",
    item=CLIPS.name,
    reads=(SOURCE_VIDEOS.name,),
    gates=GROUPED,
    writes=(CLIP_FILES,),
    open=open_cutter,
    heavy=True,
    eligible=kept_clips,
)
