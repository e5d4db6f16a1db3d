"""`stillness`: a film that is frozen for a while and one that never is, scanned only because it is enabled."""

import pytest

from curate_assets.testing import TemporaryRoot
from curate_assets.video.assets.frame_signals import FRAME_SIGNALS
from curate_assets.video.assets.measurements.stillness import STILLNESS
from curate_assets.video.graph import VIDEO

_WHOLE = {"shot_signals": {"network": "none"}, "clips": {"splitter": "fixed_stride", "stride_seconds": 8}}
_MADE = ("source_videos", "shot_signals", "motion_signals", "frame_signals", "clips", "stillness")


def test_a_frozen_stretch_is_found_and_what_is_off_is_not_measured(tmp_path, media) -> None:
    film = "-f lavfi -i mandelbrot=s=160x90:r=25 -t 4 -c:v libx264 -preset veryfast -crf 12 -pix_fmt yuv420p"
    frozen = film.replace("-t 4", "-t 4 -vf loop=37:1:50,trim=end_frame=100,setpts=N/25/TB")
    uris = [str(media.made(tmp_path / name, how)) for name, how in (("a.mp4", frozen), ("b.mp4", film))]
    root = TemporaryRoot(tmp_path / "root")
    root.add("x", uris)
    root.materialize(VIDEO, *_MADE, settings=_WHOLE | {"stillness": {"enabled": True}})
    signals = root.rows(FRAME_SIGNALS)
    assert [len(row["change"]) for row in signals] == [100, 100]
    second, first = sorted(root.rows(STILLNESS), key=lambda row: row["frozen"])
    assert first["frozen"] == first["still"] == pytest.approx(0.38, abs=0.04)  # an encoder takes some frames to settle
    assert first["longest_still"] == pytest.approx(4 * first["still"])
    assert second["frozen"] == second["still"] == 0
    root.materialize(VIDEO, *_MADE, settings=_WHOLE)
    assert root.rows(FRAME_SIGNALS) == root.rows(STILLNESS) == []
