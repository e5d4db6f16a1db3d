"""`clips`: the spans of a video part it, in order, and those that are clips obey the settings."""

from itertools import groupby, pairwise

from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.shot_signals import SHOT_SIGNALS
from gpu_kernels.shots.splitting import SECOND


def test_spans_are_disjoint_and_end_where_the_next_frame_is_shown(finished) -> None:
    pts = {
        row["video_id"]: row["pts_ns"] for row in finished.tables.read(SHOT_SIGNALS, where="status = 'ok'").to_pylist()
    }
    rows = [row for row in finished.tables.read(CLIPS).to_pylist() if row["status"] != "failed"]
    for video, spans in groupby(rows, key=lambda row: row["video_id"]):
        spans = list(spans)
        assert all(one["end_frame"] <= other["start_frame"] for one, other in pairwise(spans))
        for span in spans:
            assert span["start_ns"] == pts[video][span["start_frame"]]
            if span["end_frame"] < len(pts[video]):
                assert span["end_ns"] == pts[video][span["end_frame"]]
    clips = [row for row in rows if row["status"] == "ok"]
    assert len({row["clip_id"] for row in clips}) == len(clips) > 5
    assert all(row["end_ns"] - row["start_ns"] >= 0.6 * SECOND for row in clips)
    assert all(row["end_frame"] - row["start_frame"] >= 15 for row in clips)


def test_longer_clips_are_made_of_the_same_scan(copy) -> None:
    before = copy.tables.version(SHOT_SIGNALS.name)
    copy.run(frozenset({CLIPS.name}), {"clips": {"min_seconds": 1.5}})
    rows = copy.tables.read(CLIPS).to_pylist()
    assert all(row["end_ns"] - row["start_ns"] >= 1.5 * SECOND for row in rows if row["status"] == "ok")
    dropped = [row for row in rows if row["dropped"]]
    assert {row["dropped"] for row in dropped} == {"too_short"}
    assert copy.tables.version(SHOT_SIGNALS.name) == before
