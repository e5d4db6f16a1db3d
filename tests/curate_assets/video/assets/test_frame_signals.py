"""`frame_signals`: of every frame, against pictures that are decoded in another way; made only where it is read."""

import numpy as np

from curate_assets.testing import TemporaryRoot
from curate_assets.video.assets.frame_signals import FRAME_SIGNALS
from curate_assets.video.graph import VIDEO


def test_signals_are_those_of_the_decoded_frames(tmp_path, media) -> None:
    path = media.made(tmp_path / "a.mp4", "-f lavfi -i testsrc2=s=160x90:r=25:d=2 -c:v libx264 -pix_fmt yuv420p")
    root = TemporaryRoot(tmp_path / "root")
    root.add("x", [str(path)])
    root.materialize(VIDEO, "source_videos", "frame_signals", settings={"stillness": {"enabled": True}})
    (row,) = root.rows(FRAME_SIGNALS)
    frames = media.frames(path, "rgb24", (48, 27), "-s", "48x27").astype(np.float64)
    change = [0, *np.abs(np.diff(frames, axis=0)).mean((1, 2, 3))]
    np.testing.assert_allclose(row["change"], change, atol=1e-4)
    np.testing.assert_allclose(row["luma"], frames.mean((1, 2)) @ [0.299, 0.587, 0.114] / 255, atol=1e-4)
    np.testing.assert_allclose(row["contrast"], (frames @ [0.299, 0.587, 0.114]).std((1, 2)) / 255, atol=1e-4)
    assert len(row["pts_ns"]) == 50 and row["status"] == "ok"


def test_they_are_idle_where_no_measurement_reads_them() -> None:
    model = VIDEO.config_model("Settings", __name__)
    assert "frame_signals" in VIDEO.idle(model())
    assert not {"frame_signals", "stillness"} & VIDEO.idle(model.model_validate({"stillness": {"enabled": True}}))
    assert not {"shot_signals", "motion_signals", "storyboards", "motion_scores"} & VIDEO.idle(model())
