"""`camera_motion`: samples that lie within a clip, by hand, and what a scan of a moving window gives."""

import pytest

from curate_assets.testing import TemporaryRoot
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.frame_signals import FRAME_SIGNALS
from curate_assets.video.assets.measurements.camera_motion import CAMERA_MOTION
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.graph import VIDEO

_ON = {"camera_motion": {"enabled": True}}


def test_a_clip_has_the_words_of_the_samples_within_it(tmp_path) -> None:
    root = TemporaryRoot(tmp_path)
    root.add("x", ["/videos/a.mp4"])
    root.store(SOURCE_VIDEOS, "x", [{"uri": "/videos/a.mp4", "video_id": "a"}])
    pans = [0.004, 0.004, 0.9, -0.006, -0.006, 0.0]  # the third one is from before a cut to after it
    samples = {
        "sample_frames": [0, 12, 24, 36, 48, 60],
        "sample_others": [1, 13, 25, 37, 49, 61],
        "sample_step_ns": [40_000_000] * 6,
        "pan": pans,
        "inliers": [0.9, 0.9, 0.9, 0.9, 0.9, 0.2],
        **dict.fromkeys(("tilt", "zoom", "roll"), [0.0] * 6),
        "spread": [1.0] * 6,
    }
    root.store(FRAME_SIGNALS, "x", [{"video_id": "a", **samples}])
    spans = {"first": (0, 25), "second": (25, 60), "third": (60, 80)}
    clips = [
        {"video_id": "a", "clip_id": name, "start_frame": start, "end_frame": end}
        for name, (start, end) in spans.items()
    ]
    root.store(CLIPS, "x", clips)
    root.materialize(VIDEO, CAMERA_MOTION.name, settings=_ON)
    first, second, third = root.rows(CAMERA_MOTION)
    assert (first["label"], second["label"], third["label"]) == ("pan_right", "pan_left", "unknown")
    assert first["pan"] == pytest.approx(0.1) and second["strength"] == pytest.approx(0.15)
    assert third["jitter"] is None and third["known"] == 0


def test_a_scan_sees_a_moving_window(tmp_path, media) -> None:
    moving = "-f lavfi -i mandelbrot=s=960x540:r=25:end_scale=0.3 -vf loop=50:1,crop=640:360:50+n*3:90 -frames:v 50"
    path = media.made(tmp_path / "a.mp4", f"{moving} -c:v libx264 -preset veryfast -pix_fmt yuv420p")
    root = TemporaryRoot(tmp_path / "root")
    root.add("x", [str(path)])
    root.materialize(VIDEO, "source_videos", "frame_signals", settings=_ON)
    (row,) = root.rows(FRAME_SIGNALS)
    assert row["sample_frames"] == [0, 13, 25, 38] and row["sample_others"] == [1, 14, 26, 39]
    assert row["pan"] == pytest.approx([3 / 640] * 4, abs=0.0005) and min(row["inliers"]) > 0.7
    assert row["tilt"] == pytest.approx([0] * 4, abs=0.0005)
