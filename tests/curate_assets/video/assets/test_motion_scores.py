"""`motion_scores`: sums over the signals of a clip's span, by hand."""

import pytest

from curate_assets.testing import TemporaryRoot
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.measurements.motion_scores import MOTION_SCORES
from curate_assets.video.assets.motion_signals import MOTION_SIGNALS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.graph import VIDEO


def test_a_clip_is_scored_by_the_samples_within_it(tmp_path) -> None:
    root = TemporaryRoot(tmp_path)
    root.add("x", ["/videos/a.mp4", "/videos/b.mp4"])
    root.store(SOURCE_VIDEOS, "x", [{"uri": f"/videos/{name}.mp4", "video_id": name} for name in "ab"])
    samples = {"sample_frames": [5, 15, 25, 35], "sample_distances": [1, 2, 1, 1], "patch_rows": 1, "patch_columns": 2}
    reference = {"reference_frames": [0, 10], "reference_means": [0.5, 0.6], "reference_centres": [0.1, 0.2, 0.6, 0.3]}
    patches = [0.1, 0.3, 0.2, 0.4, 0.0, 0.9, 0.0, 0.7]  # of each sample, left and right
    nothing = {"sample_frames": [], "sample_distances": [], "patch_rows": 1, "patch_columns": 2, "patches": []}
    nothing |= {name: [] for name in reference}
    root.store(
        MOTION_SIGNALS,
        "x",
        [{"video_id": "a", **samples, **reference, "patches": patches}, {"video_id": "b", **nothing}],
    )
    clips = [
        {
            "video_id": video,
            "clip_id": f"{video}-{start}",
            "start_frame": start,
            "end_frame": start + 20,
            "start_ns": start * 40_000_000,
            "end_ns": (start + 20) * 40_000_000,
        }
        for video, start in (("a", 0), ("a", 20), ("b", 0))
    ]
    root.store(CLIPS, "x", clips)
    root.materialize(VIDEO, MOTION_SCORES.name)
    first, second, empty = root.rows(MOTION_SCORES)
    assert first["mean"] == pytest.approx((0.1 + 0.3 + 0.2 + 0.4) / 4)
    assert first["patch_min"] == pytest.approx(0.15)
    assert (first["global_mean"], first["per_patch_min_256"]) == pytest.approx((0.55, 0.25))
    assert first["peak"] == pytest.approx(0.3)  # reached by the right patch in two samples
    assert second["mean"] == pytest.approx(0.4) and second["patch_min"] == 0
    assert second["global_mean"] == second["mean"] and second["per_patch_min_256"] == 0  # it has no vectors there
    assert second["peak"] == pytest.approx(0.7)
    assert empty["status"] == "empty" and empty["global_mean"] is None
