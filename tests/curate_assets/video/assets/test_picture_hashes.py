"""`picture_hashes`: of frames that are decoded in another way; what is stored of a clip is what belongs to it."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate_assets.graph.shard_checks import Shard
from curate_assets.settings.resolve import validated
from curate_assets.testing import TemporaryRoot
from curate_assets.video import picture_tracks
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.picture_hashes import CHECKS, PICTURE_HASHES
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.graph import VIDEO
from curate_resources.declarations.table import Row
from gpu_kernels.dedup.picture_hashes import picture_hashes


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
    digests = [hashlib.blake2b(frame.tobytes(), digest_size=8).digest() for frame in frames]
    assert row["frame_digests"] == b"".join(digests)


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
            "frame_digests": random.bytes(8 * frames),
        }
    same = videos["a"]["frame_digests"][10 * 8 : 20 * 8]
    videos["b"]["frame_digests"] = same + videos["b"]["frame_digests"][80:]
    root.store(PICTURE_HASHES, "x", list(videos.values())[:2])
    spans = {"a1": ("a", 0, 10), "a2": ("a", 10, 20), "a3": ("a", 20, 90), "b1": ("b", 0, 10), "c1": ("c", 0, 30)}
    clips = [
        {"clip_id": clip, "video_id": video, "start_frame": start, "end_frame": end}
        for clip, (video, start, end) in spans.items()
    ]
    root.store(CLIPS, "x", clips)
    found = picture_tracks.tracks(root.tables, "x", ["a1", "a2", "b1", "c1"])
    assert found.keys() == {"a1", "a2", "b1"}  # the rows of video c are missing
    assert found["a2"].times_ns.tolist() == [12 * 33_000_000 + 5, 15 * 33_000_000 + 5, 18 * 33_000_000 + 5]
    assert found["a2"].hashes.tobytes() == videos["a"]["hashes"][4 * 96 : 7 * 96]
    assert found["a2"].greys.tobytes() == videos["a"]["greys"][4 * 144 : 7 * 144]
    digests = picture_tracks.frame_digests(root.tables, "x", [*spans])
    assert digests.keys() == {"a1", "a2", "a3", "b1"}
    assert digests["a2"] == digests["b1"] and len({*digests.values()}) == 3
    assert picture_tracks.tracks(root.tables, "x", []) == {}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"hashes": bytes(95)}, "1 times, 1 frames, [95, 144, 16] bytes"),
        ({"frames": [2]}, "samples are not of the 2 frames"),
        ({"pts_ns": [5, 5], "frames": [0, 1], "hashes": bytes(192), "greys": bytes(288)}, "go back in time"),
    ],
)
def test_rows_that_do_not_fit_are_found(wrong: Row, said: str, tmp_path: Path) -> None:
    root, (check,) = TemporaryRoot(tmp_path), CHECKS
    good = {"pts_ns": [5], "frames": [0], "hashes": bytes(96), "greys": bytes(144), "frame_digests": bytes(16)}
    root.store(PICTURE_HASHES, "x", [{"video_id": "good", **good}, {"video_id": "bad", **good, **wrong}])
    root.store(SOURCE_VIDEOS, "x", [{"uri": f"/{name}", "video_id": name} for name in ("good", "bad")])
    (problem,) = check.judge(Shard("x", root.tables, validated({}), VIDEO.units)).problems
    assert problem.startswith("/bad: ") and said in problem
