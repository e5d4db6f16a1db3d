"""The tracks of clips: those parts of what `picture_hashes` holds of their videos."""

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.picture_hashes import DIGEST_BYTES, PICTURE_HASHES
from curate_resources.declarations.table import Row
from curate_resources.tables.lance_tables import Tables, one_of
from gpu_kernels.dedup.picture_hashes import BITS, GREY, VIEWS
from gpu_kernels.dedup.picture_track import PictureTrack

_VIDEOS_AT_ONCE = 64
"""Videos whose rows are in memory together: an hour of video has some 9 MB of samples."""


def tracks(tables: Tables, shard: str, clip_ids: Collection[str]) -> dict[str, PictureTrack]:
    """Tracks of clips of one shard, by clip; without those whose video has no hashes."""
    found: dict[str, PictureTrack] = {}
    samples = ["frames", "hashes", "greys", "window_frames", "window_hashes", "window_greys"]
    for clips, video in _with_videos(tables, shard, clip_ids, ["pts_ns", *samples]):
        pts_ns, frames, window_frames = (_numbers(video[name]) for name in ("pts_ns", "frames", "window_frames"))
        window_times = pts_ns[np.searchsorted(frames, window_frames)]
        for clip in clips:
            span, ends_ns = (clip["start_frame"], clip["end_frame"]), clip["end_ns"]
            window = _track(span, ends_ns, window_frames, window_times, video["window_hashes"], video["window_greys"])
            whole = _track(span, ends_ns, frames, pts_ns, video["hashes"], video["greys"])
            found[clip["clip_id"]] = replace(whole, window=window if len(window) else None)
    return found


def _track(
    span: tuple[int, int],
    ends_ns: int,
    frames: NDArray[np.int64],
    pts_ns: NDArray[np.int64],
    hashes: pa.Scalar,
    greys: pa.Scalar,
) -> PictureTrack:
    """Of the samples in a span of frames. Copies them: a clip does not keep its whole video in memory."""
    first, last = np.searchsorted(frames, span)
    return PictureTrack(
        pts_ns[first:last].copy(),
        _bytes(hashes).reshape(-1, len(VIEWS), BITS // 8)[first:last].copy(),
        _bytes(greys).reshape(-1, *GREY)[first:last].copy(),
        ends_ns,
    )


def frame_digests(tables: Tables, shard: str, clip_ids: Collection[str]) -> dict[str, str]:
    """A digest of the decoded content of clips of one shard, by clip: of the thumbnails of all their frames, in order.

    Clips with the same number of frames that look the same to the last bit have the same one, wherever they lie in
    their videos. Without those whose video has no hashes.
    """
    found: dict[str, str] = {}
    for clips, video in _with_videos(tables, shard, clip_ids, ["frame_digests"]):
        digests = _bytes(video["frame_digests"]).reshape(-1, DIGEST_BYTES)
        for clip in clips:
            own = digests[clip["start_frame"] : clip["end_frame"]]
            if len(own) == clip["end_frame"] - clip["start_frame"]:
                found[clip["clip_id"]] = hashlib.blake2b(own.tobytes(), digest_size=16).hexdigest()
    return found


def _with_videos(
    tables: Tables, shard: str, clip_ids: Collection[str], columns: list[str]
) -> Iterator[tuple[list[Row], dict[str, pa.Scalar]]]:
    """The clips of each video, and columns of the video's row."""
    if not clip_ids:
        return
    wanted = ["video_id", "clip_id", "start_frame", "end_frame", "end_ns"]
    of_video: dict[str, list[Row]] = {}
    for clip in tables.read(CLIPS, shard, wanted, f"status = 'ok' AND {one_of('clip_id', clip_ids)}").to_pylist():
        of_video.setdefault(clip["video_id"], []).append(clip)
    videos = sorted(of_video)
    for start in range(0, len(videos), _VIDEOS_AT_ONCE):
        some = videos[start : start + _VIDEOS_AT_ONCE]
        rows = tables.read(
            PICTURE_HASHES, shard, ["video_id", *columns], f"status = 'ok' AND {one_of('video_id', some)}"
        )
        for place, video in enumerate(rows["video_id"].to_pylist()):
            yield of_video[video], {name: rows[name][place] for name in columns}


def _numbers(values: pa.Scalar) -> NDArray[np.int64]:
    """None of what was measured before windows were looked for."""
    if not values.is_valid:
        return np.zeros(0, np.int64)
    return values.values.to_numpy().astype(np.int64, copy=False)


def _bytes(value: pa.Scalar) -> NDArray[np.uint8]:
    return np.frombuffer(value.as_buffer() if value.is_valid else b"", np.uint8)
