"""`borders`: a clip's box in pixels of its source, over frames of its source."""

import numpy as np
import pytest

from curate_assets.video.assets.measurements.borders import BORDERS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.graph import VIDEO

HIGH, WIDE, BAR = 90, 160, 12


def test_the_box_is_in_pixels_and_frames_of_the_source(pictured) -> None:
    drawn = np.random.default_rng(0)
    shown = [drawn.integers(0, 256, (HIGH, WIDE, 3)).astype(np.uint8) for _ in range(8)]
    for picture in shown[4:]:
        picture[:BAR] = picture[-BAR:] = 0
    root = pictured({"a": shown}, {"a-0": ("a", 0, 40), "a-1": ("a", 40, 80)})
    source = {"uri": "/videos/a.mp4", "video_id": "a", "width": 3 * WIDE, "height": 3 * HIGH}
    root.store(SOURCE_VIDEOS, "x", [source])
    root.materialize(VIDEO, BORDERS.name, settings={"borders": {"enabled": True}})
    plain, barred = root.rows(BORDERS)
    box = {"x": 0, "y": 3 * BAR, "width": 3 * WIDE, "height": 3 * (HIGH - 2 * BAR)}
    assert {name: barred[name] for name in box} == box and barred["colour"] == "#000000"
    assert barred["border_share"] == pytest.approx(2 * BAR / HIGH)
    assert barred["stretches"] == [{"start_frame": 40, "end_frame": 80, **box}]
    assert (plain["width"], plain["height"], plain["border_share"]) == (3 * WIDE, 3 * HIGH, 0)
    assert barred["panes"] == plain["panes"] == 1 and not barred["undecidable"]
