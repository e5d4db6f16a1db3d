"""`picture_hashes`: how every video looks over time, as perceptual hashes, from the scan."""

import hashlib
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa

from curate_assets.graph.shard_checks import Check, Problems, Shard, nothing_wrong
from curate_assets.video.assets.source_videos import VIDEO_ID
from curate_assets.video.segments import appended, with_values
from curate_resources.declarations.stage import SegmentsDisagree
from curate_resources.declarations.table import Column, Row, Table
from gpu_kernels.dedup.picture_hashes import BITS, GREY, VIEWS, picture_hashes
from gpu_kernels.dedup.picture_track import on_grid
from gpu_kernels.dedup.windowed_hashes import WindowedHashes
from gpu_kernels.dedup.windows import PICTURE
from gpu_kernels.media.segments import Segment
from gpu_kernels.scan.scan import ScanChunk, Scanned
from gpu_kernels.shots.transitions import CONTEXT_FRAMES

HASH_BYTES = len(VIEWS) * BITS // 8
GREY_BYTES = GREY[0] * GREY[1]
DIGEST_BYTES = 8

PICTURE_HASHES = Table(
    name="picture_hashes",
    grain="video",
    keys=("video_id",),
    version="3",
    columns=(
        VIDEO_ID,
        Column("pts_ns", pa.list_(pa.int64()), "presentation times of the samples, increasing"),
        Column("frames", pa.list_(pa.int32()), "indices of the sampled frames"),
        Column(
            "hashes",
            pa.large_binary(),
            f"{HASH_BYTES} bytes a sample: {BITS} bits of the active picture, of its centre 90 % and its centre 80 %",
        ),
        Column(
            "greys",
            pa.large_binary(),
            f"{GREY_BYTES} bytes a sample: the active picture, grey, {GREY[0]} lines of {GREY[1]} pixels",
        ),
        Column(
            "picture_shares",
            pa.large_binary(),
            "a byte a sample: how much of the frame, of 255, is the active picture, without black borders",
        ),
        Column("window_frames", pa.list_(pa.int32()), "indices of those sampled frames that show a window"),
        Column(
            "window_hashes",
            pa.large_binary(),
            f"{HASH_BYTES} bytes each, as `hashes`: of what the window shows",
        ),
        Column("window_greys", pa.large_binary(), f"{GREY_BYTES} bytes each, as `greys`: what the window shows"),
        Column(
            "frame_digests",
            pa.large_binary(),
            f"{DIGEST_BYTES} bytes for every frame of the video: BLAKE2b of its thumbnail",
        ),
    ),
    description=(
        "Per video: how it looks ten times a second, as perceptual hashes and small grey pictures without black "
        "borders, also of what is shown in a window on a desktop, and a digest of every frame's thumbnail. By these, "
        "copies of clips and of parts of clips are found ([copies](dedup.md))."
    ),
)


class PicturesOfVideo:
    """Samples of a segment's own frames; digests of its context, too, which shows whether the segments fit together."""

    name = PICTURE_HASHES.name

    def __init__(self, video_id: str, own: Segment) -> None:
        self._video_id, self._own = video_id, own
        self._origin_ns = own.first_pts_ns
        self._before_ns: int | None = None
        self._next = own.start - own.before
        self._pts: list[np.ndarray] = []
        self._frames: list[np.ndarray] = []
        self._hashes: list[bytes] = []
        self._greys: list[bytes] = []
        self._shares: list[bytes] = []
        self._windows = WindowedHashes(own.start)
        self._digests: list[bytes] = []

    def add(self, chunk: Scanned) -> None:
        if not isinstance(chunk, ScanChunk):
            return
        if self._origin_ns is None:
            self._origin_ns = int(chunk.pts_ns[0])
        frames = np.arange(self._next, self._next + len(chunk.pts_ns), dtype=np.int32)
        taken = on_grid(chunk.pts_ns, self._origin_ns, self._before_ns) & (frames >= self._own.start)
        if self._own.end is not None:
            taken &= frames < self._own.end
        self._next, self._before_ns = self._next + len(frames), int(chunk.pts_ns[-1])
        overviews = [each for each in chunk.overviews if self._own.holds(each.frame)]
        self._windows.add(
            frames[taken],
            chunk.thumbnails[taken],
            np.array([each.frame for each in overviews], np.int32),
            np.array([each.picture for each in overviews], np.uint8).reshape(-1, *PICTURE),
            self._next,
        )
        found = picture_hashes(chunk.thumbnails[taken])
        self._pts.append(chunk.pts_ns[taken])
        self._frames.append(frames[taken])
        self._hashes.append(found.hashes.tobytes())
        self._greys.append(found.greys.tobytes())
        self._shares.append(found.shares.tobytes())
        self._digests += [hashlib.blake2b(each, digest_size=DIGEST_BYTES).digest() for each in chunk.thumbnails]

    def rows(self, frames: int | None) -> list[Row]:
        shown = self._windows.found(ended=frames is None)
        return [
            {
                "video_id": self._video_id,
                "pts_ns": np.concatenate(self._pts),
                "frames": np.concatenate(self._frames),
                "hashes": b"".join(self._hashes),
                "greys": b"".join(self._greys),
                "picture_shares": b"".join(self._shares),
                "window_frames": shown.frames,
                "window_hashes": shown.hashes.tobytes(),
                "window_greys": shown.greys.tobytes(),
                "frame_digests": b"".join(self._digests),
            }
        ]


def joined_hashes(segments: Sequence[pa.Table]) -> pa.Table:
    digests: list[bytes] = [rows["frame_digests"][0].as_py() for rows in segments]
    context = 2 * CONTEXT_FRAMES * DIGEST_BYTES
    if any(one[-context:] != other[:context] for one, other in pairwise(digests)):
        raise SegmentsDisagree("thumbnails differ where they overlap")
    values = {name: appended(segments, name) for name in ("pts_ns", "frames", "window_frames")}
    names = ("hashes", "greys", "picture_shares", "window_hashes", "window_greys")
    blobs = {name: b"".join(rows[name][0].as_py() for rows in segments) for name in names}
    every = digests[0] + b"".join(each[context:] for each in digests[1:])
    return with_values(segments[0], {**values, **blobs, "frame_digests": every})


def _samples_fit(shard: Shard) -> Problems:
    found: Problems = []
    for row in shard.good(PICTURE_HASHES):
        name = shard.named(PICTURE_HASHES, row)
        pts, frames = np.array(row["pts_ns"], np.int64), np.array(row["frames"], np.int64)
        sizes = [len(row[column]) for column in ("hashes", "greys", "frame_digests")]
        count = sizes[2] // DIGEST_BYTES
        shares = row["picture_shares"]  # of an earlier version: none
        if not len(pts) == len(frames) == sizes[0] / HASH_BYTES == sizes[1] / GREY_BYTES or sizes[2] % DIGEST_BYTES:
            found.append(f"{name}: {len(pts)} times, {len(frames)} frames, {sizes} bytes of hashes, greys and digests")
        elif len(pts) == 0 or frames[0] != 0 or frames[-1] >= count:
            found.append(f"{name}: samples are not of the {count} frames from the first on")
        elif (np.diff(pts) <= 0).any() or (np.diff(frames) <= 0).any():
            found.append(f"{name}: samples go back in time")
        elif shares is not None and len(shares) != len(pts):
            found.append(f"{name}: {len(pts)} times, {len(shares)} shares of the frame")
        shown = np.array(row["window_frames"] or (), np.int64)
        sizes = [len(row[column] or b"") for column in ("window_hashes", "window_greys")]
        if not len(shown) == sizes[0] / HASH_BYTES == sizes[1] / GREY_BYTES:
            found.append(f"{name}: {len(shown)} frames with a window, {sizes} bytes of hashes and greys")
        elif (np.diff(shown) <= 0).any() or not np.isin(shown, frames).all():
            found.append(f"{name}: frames with a window are not among the samples")
    return found


CHECKS = (
    Check(
        PICTURE_HASHES,
        "samples_fit",
        "Samples begin with the first frame and increase, and each has its hashes and its grey picture; so do those "
        "of windows.",
        nothing_wrong(_samples_fit),
        "select video_id, len(pts_ns) as times, len(frames) as samples, octet_length(hashes) as hash_bytes, "
        "octet_length(greys) as grey_bytes, octet_length(picture_shares) as shares, len(window_frames) as windows, "
        "octet_length(frame_digests) as digest_bytes "
        "from picture_hashes where shard = $shard",
    ),
)
