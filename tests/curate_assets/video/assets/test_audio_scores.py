"""`audio_scores`: tenths of a second of a clip's span, by hand; a clip without sound is silent and rejected as such."""

import math

import pytest

from curate_assets.testing import TemporaryRoot
from curate_assets.video.assets.audio_signals import AUDIO_SIGNALS
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.measurements.audio_scores import AUDIO_SCORES
from curate_assets.video.assets.measurements.motion_scores import MOTION_SCORES
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.graph import VIDEO

SECOND = 1_000_000_000


def signal(video: str, loudness: list[float], start_ns: int = 0, **curves: list[float]) -> dict:
    count = len(loudness)
    flat = {"peak": [-20.0] * count, "true_peak": [-19.0] * count, "clipped": [0.0] * count, "speech": [0.0] * count}
    pts = [start_ns + tenth * SECOND // 10 for tenth in range(count)]
    ends = {"start_ns": start_ns, "end_ns": start_ns + count * SECOND // 10} if count else {}
    status = "ok" if count else "empty"
    return {"video_id": video, "pts_ns": pts, "loudness": loudness, **flat, **curves, **ends, "status": status}


@pytest.fixture
def root(tmp_path) -> TemporaryRoot:
    root = TemporaryRoot(tmp_path)
    root.add("x", [f"/videos/{name}.mp4" for name in "ab"])
    root.store(
        SOURCE_VIDEOS,
        "x",
        [{"uri": f"/videos/{name}.mp4", "video_id": name, "width": 64, "height": 48} for name in "ab"],
    )
    # Two seconds at -20 LUFS, one at -30, one digitally silent; speech in the third; it ends after four seconds.
    quiet = [-20.0] * 20 + [-30.0] * 10 + [-120.0] * 10
    curves = {
        "peak": [-10.0] * 30 + [-120.0] * 10,
        "true_peak": [-9.0] * 10 + [-0.5] + [-9.0] * 29,
        "clipped": [0.0] * 10 + [0.2] * 5 + [0.0] * 25,
        "speech": [0.1] * 20 + [0.9] * 10 + [0.1] * 10,
    }
    root.store(AUDIO_SIGNALS, "x", [signal("a", quiet, **curves), signal("b", [])])
    spans = {"a-0": ("a", 0, 2), "a-2": ("a", 2, 4), "a-1": ("a", 1, 5), "b-0": ("b", 0, 2)}
    root.store(
        CLIPS,
        "x",
        [
            {
                "video_id": video,
                "clip_id": clip,
                "shot": 0,
                "start_frame": start * 25,
                "end_frame": end * 25,
                "start_ns": start * SECOND,
                "end_ns": end * SECOND,
            }
            for clip, (video, start, end) in spans.items()
        ],
    )
    return root


def test_a_clip_is_scored_by_its_own_tenths(root) -> None:
    (done,) = root.materialize(VIDEO, AUDIO_SCORES.name)
    assert done.computed == 0 and root.rows(AUDIO_SCORES) == []  # nobody asked for it
    root.materialize(VIDEO, AUDIO_SCORES.name, settings={"audio_signals": {"enabled": True}})
    rows = {row["clip_id"]: row for row in root.rows(AUDIO_SCORES)}
    steady, fading, late, silent = (rows[clip] for clip in ("a-0", "a-2", "a-1", "b-0"))
    assert (steady["loudness"], steady["loudest"]) == pytest.approx((-20, -20), abs=0.01)
    assert steady["true_peak"] == -0.5 and steady["clipped"] == pytest.approx(0.2 * 5 / 20)
    assert [steady[name] for name in ("silent", "digital_silence", "speech", "missing")] == [0, 0, 0, 0]
    # The last blocks fade as silence comes in: those less than 10 LU below the mean count.
    blocks = [1.0] * 7 + [0.75, 0.5, 0.25]
    power = sum(blocks) / len(blocks) * 10 ** ((-30 + 0.691) / 10)
    assert fading["loudness"] == pytest.approx(10 * math.log10(power) - 0.691, abs=0.01)
    assert (fading["silent"], fading["digital_silence"], fading["speech"]) == pytest.approx((0.5, 0.5, 0.5))
    assert (late["missing"], late["ends_early_s"], late["starts_late_s"]) == pytest.approx((0.25, 1, 0))
    assert late["silent"] == pytest.approx(0.5) and late["speech"] == pytest.approx(0.25)
    names = ("loudness", "true_peak", "silent", "digital_silence", "clipped", "speech", "missing", "starts_late_s")
    assert [silent[name] for name in names] == [-70, -120, 1, 1, 0, 0, 1, 2]


def test_thresholds_name_what_is_wrong_with_the_sound(root) -> None:
    settings = {
        "audio_signals": {"enabled": True},
        "clip_selection": {
            "motion_peak_min": None,
            "loudness_min": -25,
            "sound_missing_max": 0.1,
            "sound_clipped_max": 0.01,
            "true_peak_max": -1,
        },
    }
    clips = [{name: row[name] for name in ("video_id", "clip_id")} for row in root.rows(CLIPS)]
    root.store(MOTION_SCORES, "x", clips)
    root.materialize(VIDEO, AUDIO_SCORES.name, settings=settings)
    root.materialize(VIDEO, CLIP_SELECTION.name, settings=settings)
    reasons = {row["clip_id"]: row["reasons"] for row in root.rows(CLIP_SELECTION)}
    assert reasons == {
        "a-0": ["sound_clipped_high", "true_peak_high"],
        "a-2": ["loudness_low"],
        "a-1": ["sound_clipped_high", "sound_missing_high", "true_peak_high"],
        "b-0": ["loudness_low", "sound_missing_high"],
    }
