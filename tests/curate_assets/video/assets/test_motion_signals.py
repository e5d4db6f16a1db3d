"""`motion_signals`: brightness of every frame, and motion of the sampled ones, against another way to measure them."""

from pathlib import Path

import av
import numpy as np

from curate_assets.graph.shard_checks import Shard
from curate_assets.settings.resolve import validated
from curate_assets.testing import TemporaryRoot
from curate_assets.video.assets.motion_signals import CHECKS, MOTION_SIGNALS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.graph import VIDEO


def test_brightness_is_that_of_the_decoded_frames(finished) -> None:
    videos = {
        row["video_id"]: row["uri"] for row in finished.tables.read(SOURCE_VIDEOS, where="status = 'ok'").to_pylist()
    }
    signals = finished.tables.read(MOTION_SIGNALS, where="status = 'ok'").to_pylist()
    assert {row["video_id"] for row in signals} == videos.keys()
    for row in signals:
        with av.open(videos[row["video_id"]]) as source:
            gray = [frame.to_ndarray(format="gray").mean() / 255 for frame in source.decode(video=0)]
        assert np.abs(np.array(row["luma"]) - gray).max() < 0.02
        assert len(row["patches"]) == len(row["sample_frames"]) * row["patch_rows"] * row["patch_columns"]
        assert row["sample_frames"] == sorted({*row["sample_frames"]}) and row["sample_frames"][-1] < len(gray)


def test_rows_that_are_older_than_a_column_are_finite(tmp_path: Path) -> None:
    root, (finite,) = TemporaryRoot(tmp_path), CHECKS
    known = {"patches": [0.5], "luma": [0.5], "black": [0.0]}  # and nothing of the reference's own numbers
    broken = {**known, "reference_means": [float("nan")]}
    root.store(MOTION_SIGNALS, "x", [{"video_id": "old", **known}, {"video_id": "broken", **broken}])
    root.store(SOURCE_VIDEOS, "x", [{"uri": f"/{name}", "video_id": name} for name in ("old", "broken")])
    found = finite.judge(Shard("x", root.tables, validated({}), VIDEO.units))
    assert found.problems == ["/broken: reference_means is not finite"]
