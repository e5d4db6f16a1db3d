"""`clip_files`: a file shows the frames of its span, and no other."""

import hashlib

import av
import cv2
import numpy as np

from curate_assets.video.assets.clip_files import CLIP_FILES
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS


def _frames(path: str) -> list[np.ndarray]:
    with av.open(path) as source:
        return [frame.to_ndarray(format="gray").astype(np.float32) for frame in source.decode(video=0)]


def test_a_file_has_the_frames_of_its_span(finished) -> None:
    clips = {row["clip_id"]: row for row in finished.tables.read(CLIPS, where="status = 'ok'").to_pylist()}
    videos = {
        row["video_id"]: row["uri"] for row in finished.tables.read(SOURCE_VIDEOS, where="status = 'ok'").to_pylist()
    }
    files = finished.tables.read(CLIP_FILES, where="status = 'ok'").to_pylist()
    assert len(files) > 5
    source = {video: _frames(uri) for video, uri in videos.items()}
    for file in files:
        clip, path = clips[file["clip_id"]], finished.path / file["path"]
        frames = _frames(str(path))
        assert len(frames) == file["frames"] == clip["end_frame"] - clip["start_frame"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == file["sha256"]
        size = frames[0].shape[::-1]  # of square pixels
        span = source[clip["video_id"]][clip["start_frame"] : clip["end_frame"]]
        apart = [np.abs(one - cv2.resize(other, size)).mean() for one, other in zip(frames, span, strict=True)]
        assert max(apart) < 5
