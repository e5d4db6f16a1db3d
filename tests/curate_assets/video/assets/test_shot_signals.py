"""`shot_signals`: the curve has a value, and a time, for every frame that a decoder shows."""

from fractions import Fraction

import av
import numpy as np

from curate_assets.video.assets.shot_signals import SHOT_SIGNALS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from gpu_kernels.shots.splitting import SECOND


def test_every_frame_has_its_time_and_the_curve_peaks_where_shots_change(finished) -> None:
    videos = {
        row["video_id"]: row["uri"] for row in finished.tables.read(SOURCE_VIDEOS, where="status = 'ok'").to_pylist()
    }
    signals = finished.tables.read(SHOT_SIGNALS, where="status = 'ok'").to_pylist()
    assert {row["video_id"] for row in signals} == videos.keys()
    for row in signals:
        with av.open(videos[row["video_id"]]) as source:
            stream = source.streams.video[0]
            tick = Fraction(stream.time_base or 1)
            times = [int(frame.pts * tick * SECOND) for frame in source.decode(stream) if frame.pts is not None]
        assert np.abs(np.array(row["pts_ns"]) - times).max() <= 1 and row["frames"] == len(times)
        curve = np.array(row["transition"])
        assert len(curve) == len(times) and 0 <= curve.min() <= curve.max() <= 1
    bikes = next(row for row in signals if videos[row["video_id"]].endswith("bikes.mp4"))
    assert (np.array(bikes["transition"]) > 0.5).sum() == 5  # six shots
