"""`technical_quality`: a film and the same one blurred, noisy and dark, scanned."""

import pytest

from curate_assets.testing import TemporaryRoot
from curate_assets.video.assets.measurements.technical_quality import TECHNICAL_QUALITY
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.graph import VIDEO

_SETTINGS = {
    "shot_signals": {"network": "none"},
    "clips": {"splitter": "fixed_stride", "stride_seconds": 8},
    "technical_quality": {"enabled": True},
}
_MADE = ("source_videos", "shot_signals", "frame_signals", "clips", "technical_quality")


def test_what_was_done_to_a_film_is_measured(tmp_path, media) -> None:
    film = "-f lavfi -i testsrc2=s=320x180:r=25 -t 2 -vf {} -c:v libx264 -preset veryfast -crf 10 -pix_fmt yuv420p"
    changes = {"film": "null", "soft": "gblur=2", "noisy": "noise=alls=20:allf=t", "dark": "lutyuv=y=16+(val-16)/4"}
    paths = {name: media.made(tmp_path / f"{name}.mp4", film.format(how)) for name, how in changes.items()}
    root = TemporaryRoot(tmp_path / "root")
    root.add("x", [str(path) for path in paths.values()])
    root.materialize(VIDEO, *_MADE, settings=_SETTINGS)
    name_of = {row["video_id"]: row["uri"].rpartition("/")[2].removesuffix(".mp4") for row in root.rows(SOURCE_VIDEOS)}
    found = {name_of[row["video_id"]]: row for row in root.rows(TECHNICAL_QUALITY)}
    assert found["soft"]["blur"] > found["film"]["blur"] + 0.15
    assert found["dark"]["blur"] == pytest.approx(found["film"]["blur"], abs=0.1)
    assert found["noisy"]["noise"] > 4 > found["film"]["noise"]
    assert found["dark"]["luma_high"] < found["film"]["luma"] / 2
    assert found["film"]["combing"] < 0.02 and found["film"]["colourfulness"] > 60
