"""`motion_signals`: brightness of every frame, and motion of the sampled ones, against another way to measure them."""

import av
import numpy as np

from curate_assets.video.assets.motion_signals import MOTION_SIGNALS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS


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
