"""`picture_hashes`: of frames that are decoded in another way; what is stored of a clip is what belongs to it."""

import hashlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curate_assets.graph.shard_checks import Shard
from curate_assets.settings.resolve import validated
from curate_assets.testing import TemporaryRoot
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.duplicate_pairs import measure_pairs
from curate_assets.video.assets.picture_hashes import CHECKS, PICTURE_HASHES, PicturesOfVideo, joined_hashes
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.duplicates.picture_tracks import tracks
from curate_assets.video.duplicates.selected_clips import SelectedClips
from curate_assets.video.graph import VIDEO
from curate_resources.declarations.stage import SegmentsDisagree
from curate_resources.declarations.table import Row
from gpu_kernels.dedup.picture_hashes import picture_hashes
from gpu_kernels.dedup.tiers import DuplicatePairsConfig
from gpu_kernels.dedup.windows import BLOCK_FRAMES
from gpu_kernels.media.segments import WHOLE, Segment
from gpu_kernels.scan.messages import Overview, ScanChunk
from gpu_kernels.shots.transitions import CONTEXT_FRAMES

WINDOWS = ("window_frames", "window_hashes", "window_greys")


def test_rows_are_those_of_the_decoded_frames(tmp_path: Path, media: Any) -> None:
    path = media.made(tmp_path / "a.mp4", "-f lavfi -i testsrc2=s=160x90:r=25:d=9 -c:v libx264 -pix_fmt yuv420p")
    root = TemporaryRoot(tmp_path / "root")
    root.add("x", [str(path)])
    root.materialize(VIDEO, "source_videos", "picture_hashes")
    (row,) = root.rows(PICTURE_HASHES)
    frames = media.frames(path, "rgb24", (48, 27), "-s", "48x27")
    times = np.arange(225) * 40_000_000
    sampled = [np.flatnonzero(times >= start * 100_000_000)[0] for start in range(90)]
    expected = picture_hashes(np.ascontiguousarray(frames[sampled]))
    assert row["status"] == "ok" and row["frames"] == sampled and row["pts_ns"] == times[sampled].tolist()
    assert row["hashes"] == expected.hashes.tobytes() and row["greys"] == expected.greys.tobytes()
    assert row["picture_shares"] == expected.shares.tobytes()
    digests = [hashlib.blake2b(frame.tobytes(), digest_size=8).digest() for frame in frames]
    assert row["frame_digests"] == b"".join(digests)


def gathered(thumbnails: np.ndarray, pts_ns: np.ndarray, own: Segment, size: int) -> list[Row]:
    """The rows of a video's beginning after every chunk of so many frames; the last is that of all of them."""
    pictures, rows = PicturesOfVideo("a", own), []
    first = own.start - own.before
    last = len(pts_ns) if own.end is None else min(own.end + own.after, len(pts_ns))
    for start in range(first, last, size):
        part = slice(start, min(start + size, last))
        luma = np.zeros(len(pts_ns[part]), np.float32)
        overviews = [
            Overview(frame, thumbnails[frame, :, :, 0].repeat(3, 0).repeat(3, 1))
            for frame in range(part.start, part.stop)
            if frame % 10 == 0 and own.holds(frame)
        ]
        pictures.add(ScanChunk(thumbnails[part], pts_ns[part], luma, luma, [], [], [], [], overviews))
        rows += pictures.rows(part.stop if part.stop < last else None)
    return rows


def as_table(row: Row) -> pa.Table:
    return pa.Table.from_pylist([row], schema=PICTURE_HASHES.rows_schema)


def test_rows_do_not_depend_on_chunks_nor_on_segments() -> None:
    random = np.random.default_rng(1)
    thumbnails = random.integers(0, 256, (600, 27, 48, 3), np.uint8)
    thumbnails[250:, :, :10] = thumbnails[250:, :, 40:] = thumbnails[250:, :5] = thumbnails[250:, 23:] = 90
    pts_ns = np.cumsum(random.integers(5_000_000, 90_000_000, 600)) + 4_000_000_000
    whole = as_table(gathered(thumbnails, pts_ns, WHOLE, 600)[-1])
    windowed = [frame for frame in whole["frames"][0].as_py() if frame >= 250]
    assert whole["window_frames"][0].as_py() == windowed and len(windowed) > 100
    beginnings = [as_table(row) for row in gathered(thumbnails, pts_ns, WHOLE, 37)]
    assert beginnings[-1] == whole
    for beginning in beginnings:
        for name in ("pts_ns", "frames", "hashes", "greys", "picture_shares", *WINDOWS, "frame_digests"):
            some, every = beginning[name][0].as_py(), whole[name][0].as_py()
            assert some == every[: len(some)]
    cuts = [0, BLOCK_FRAMES, 2 * BLOCK_FRAMES, 600]
    spans = [
        Segment(
            start,
            end if end < 600 else None,
            int(pts_ns[0]),
            int(pts_ns[start]) if start else None,
            int(pts_ns[end]) if end < 600 else None,
        )
        for start, end in pairwise(cuts)
    ]
    parts = [as_table(gathered(thumbnails, pts_ns, own, 100)[-1]) for own in spans]
    assert joined_hashes(parts) == whole
    other = thumbnails.copy()
    other[2 * BLOCK_FRAMES + CONTEXT_FRAMES - 1, 3, 3] ^= 1
    parts[1] = as_table(gathered(other, pts_ns, spans[1], 100)[-1])
    with pytest.raises(SegmentsDisagree, match="thumbnails differ"):
        joined_hashes(parts)


def test_clips_have_their_own_samples_and_digests(tmp_path: Path) -> None:
    root, random = TemporaryRoot(tmp_path), np.random.default_rng(1)
    videos: dict[str, Row] = {}
    for name, frames in (("a", 90), ("b", 30), ("c", 30)):
        sampled = np.arange(0, frames, 3)
        videos[name] = {
            "video_id": name,
            "pts_ns": sampled * 33_000_000 + 5,
            "frames": sampled,
            "hashes": random.bytes(96 * len(sampled)),
            "greys": random.bytes(144 * len(sampled)),
            "window_frames": sampled[2::2],
            "window_hashes": random.bytes(96 * len(sampled[2::2])),
            "window_greys": random.bytes(144 * len(sampled[2::2])),
            "frame_digests": random.bytes(8 * frames),
        }
    same = videos["a"]["frame_digests"][10 * 8 : 20 * 8]
    videos["b"]["frame_digests"] = same + videos["b"]["frame_digests"][80:]
    for column in WINDOWS:
        del videos["b"][column]  # as of an earlier version, which knew none
    root.store(PICTURE_HASHES, "x", list(videos.values())[:2])
    spans = {"a1": ("a", 0, 10), "a2": ("a", 10, 20), "a3": ("a", 20, 90), "b1": ("b", 0, 10), "c1": ("c", 0, 30)}
    clips = [
        {"clip_id": clip, "video_id": video, "start_frame": start, "end_frame": end}
        for clip, (video, start, end) in spans.items()
    ]
    root.store(CLIPS, "x", clips)
    root.store(CLIP_SELECTION, "x", [{**clip, "selected": True} for clip in clips])
    selected = SelectedClips.of(root.tables)
    names, measured = selected.rows["clip_id"].to_pylist(), selected.measured(root.tables, PICTURE_HASHES)
    wanted = np.array([names.index(name) for name in ("a1", "a2", "b1", "c1")])
    found = {names[place]: track for place, track in tracks(root.tables, selected, measured, wanted).items()}
    assert found.keys() == {"a1", "a2", "b1"}  # the rows of video c are missing
    assert found["a2"].times_ns.tolist() == [12 * 33_000_000 + 5, 15 * 33_000_000 + 5, 18 * 33_000_000 + 5]
    assert found["a2"].hashes.tobytes() == videos["a"]["hashes"][4 * 96 : 7 * 96]
    assert found["a2"].greys.tobytes() == videos["a"]["greys"][4 * 144 : 7 * 144]
    assert found["a1"].window is not None and found["a1"].window.times_ns.tolist() == [6 * 33_000_000 + 5]
    shown = found["a2"].window
    assert found["b1"].window is None
    assert shown is not None and shown.times_ns.tolist() == [12 * 33_000_000 + 5, 18 * 33_000_000 + 5]
    assert shown.hashes.tobytes() == videos["a"]["window_hashes"][96 : 3 * 96]
    assert shown.greys.tobytes() == videos["a"]["window_greys"][144 : 3 * 144]
    pairs = measure_pairs(root.tables, "x", DuplicatePairsConfig(picture=False, meaning=False)).to_pylist()
    assert [(pair["clip_a"], pair["clip_b"]) for pair in pairs] == [("a2", "b1")]
    root.store(PICTURE_HASHES, "x", [videos["a"] | {"fingerprint": "of another scan"}, videos["b"]])
    found = tracks(root.tables, selected, measured, wanted)
    assert [names[place] for place in found] == ["b1"]  # what changed meanwhile is left out


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"hashes": bytes(95)}, "1 times, 1 frames, [95, 144, 16] bytes"),
        ({"frames": [2], "window_frames": [2]}, "samples are not of the 2 frames"),
        ({"pts_ns": [5, 5], "frames": [0, 1], "hashes": bytes(192), "greys": bytes(288)}, "go back in time"),
        ({"picture_shares": bytes(2)}, "1 times, 2 shares of the frame"),
        ({"window_greys": bytes(143)}, "1 frames with a window, [96, 143] bytes"),
        ({"window_frames": [1]}, "not among the samples"),
    ],
)
def test_rows_that_do_not_fit_are_found(wrong: Row, said: str, tmp_path: Path) -> None:
    root, (check,) = TemporaryRoot(tmp_path), CHECKS
    good = {"pts_ns": [5], "frames": [0], "hashes": bytes(96), "greys": bytes(144), "frame_digests": bytes(16)}
    good |= {"picture_shares": bytes(1), "window_frames": [0], "window_hashes": bytes(96), "window_greys": bytes(144)}
    root.store(PICTURE_HASHES, "x", [{"video_id": "good", **good}, {"video_id": "bad", **good, **wrong}])
    root.store(SOURCE_VIDEOS, "x", [{"uri": f"/{name}", "video_id": name} for name in ("good", "bad")])
    (problem,) = check.judge(Shard("x", root.tables, validated({}), VIDEO.units)).problems
    assert problem.startswith("/bad: ") and said in problem
