"""`text_overlays`: a subtitle that was written over some of a clip's pictures."""

import cv2
import numpy as np
import pytest

from curate_assets.video.assets.measurements.text_overlays import TEXT_OVERLAYS
from curate_assets.video.graph import VIDEO


def test_a_subtitle_is_found_where_and_when_it_is_shown(pictured) -> None:
    shown = [np.full((180, 320, 3), 60 + 20 * number, np.uint8) for number in range(5)]
    for picture in shown[2:]:
        cv2.putText(picture, "What was said", (60, 165), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (255, 255, 255), 2)
    root = pictured({"a": shown}, {"a-0": ("a", 0, 50), "a-1": ("a", 0, 20)})
    settings = {"text_overlays": {"enabled": True, "longest_side": 320}}
    root.materialize(VIDEO, TEXT_OVERLAYS.name, settings=settings)
    titled, plain = root.rows(TEXT_OVERLAYS)
    assert titled["overlay_share"] == titled["text_share"] == pytest.approx(0.6) and titled["regions"] == ["bottom"]
    (line,) = titled["lines"]
    assert (line["start_frame"], line["last_frame"], line["overlay"], line["told"]) == (20, 40, True, True)
    assert line["x"] == pytest.approx(60 / 320, abs=0.04) and line["y"] + line["height"] == pytest.approx(
        170 / 180, abs=0.05
    )
    assert titled["overlay_area"] == pytest.approx(line["width"] * line["height"], rel=0.1)
    assert plain["text_share"] == plain["overlay_share"] == 0 and plain["lines"] == []
