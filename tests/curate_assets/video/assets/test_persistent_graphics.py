"""`persistent_graphics`: a logo over pictures that change, told by what came before a clip."""

import cv2
import numpy as np
import pytest

from curate_assets.video.assets.measurements.persistent_graphics import PERSISTENT_GRAPHICS
from curate_assets.video.graph import VIDEO


def test_a_logo_is_found_by_the_shots_before_a_clip_and_what_comes_after_it_changes_nothing(pictured) -> None:
    drawn = np.random.default_rng(0)
    soft = [drawn.integers(20, 220, (8, 12, 3)).astype(np.uint8) for _ in range(80)]
    shown = [np.asarray(cv2.resize(each, (240, 160), interpolation=cv2.INTER_CUBIC), np.uint8) for each in soft]
    shown[80:] = [shown[79].copy() for _ in range(8)]  # a fixed camera
    for picture in shown[6:]:
        cv2.rectangle(picture, (180, 12), (219, 29), (240, 240, 240), 2)
    clips = {"a-0": ("a", 0, 60), "a-1": ("a", 200, 400), "a-2": ("a", 800, 880)}
    root = pictured({"a": shown}, clips)
    root.materialize(VIDEO, PERSISTENT_GRAPHICS.name, settings={"persistent_graphics": {"enabled": True}})
    rows = {row["clip_id"]: row for row in root.rows(PERSISTENT_GRAPHICS)}
    before, moving, still = (rows[clip] for clip in clips)
    assert before["undecidable"] and before["area"] == 0 and before["graphics"] == []  # six pictures are too few
    for row in (moving, still):
        (logo,) = row["graphics"]
        assert logo["share"] == 1 and not row["undecidable"]
        assert (logo["x"], logo["y"]) == (pytest.approx(180 / 240, abs=0.02), pytest.approx(12 / 160, abs=0.03))
        assert row["area"] == pytest.approx(40 * 18 / (240 * 160), rel=0.4)
        assert row["area"] == pytest.approx(logo["width"] * logo["height"])
