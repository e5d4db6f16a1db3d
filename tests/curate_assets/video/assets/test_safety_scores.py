"""`safety_scores`: the greatest of a clip's own pictures; a threshold on parts needs somebody who looks for them."""

import av
import numpy as np
import pytest

from curate_assets.graph.platform import ConfigError
from curate_assets.settings.resolve import validated
from curate_assets.video.assets.measurements.safety_scores import SAFETY_SCORES
from curate_assets.video.graph import VIDEO


def test_a_clip_is_as_explicit_as_its_most_explicit_picture(pictured, footage) -> None:
    with av.open(footage("carphone_pristine.mp4")) as container:
        face = next(container.decode(video=0)).to_ndarray(format="rgb24")
    grey = np.full_like(face, 90)
    spans = {"a-0": ("a", 0, 20), "a-20": ("a", 20, 40), "a-both": ("a", 0, 40)}
    root = pictured({"a": [face, face, grey, grey]}, spans)
    root.materialize(VIDEO, "safety_scores", settings={"safety_scores": {"enabled": True, "frames_per_second": 2}})
    rows = {row["clip_id"]: row for row in root.rows(SAFETY_SCORES)}
    of_face, of_grey, of_both = (rows[clip] for clip in spans)
    assert [row["pictures"] for row in (of_face, of_grey, of_both)] == [2, 2, 4]
    assert of_face["explicit"] == pytest.approx(of_face["explicit_mean"]) != of_grey["explicit"]
    assert of_both["explicit"] == max(of_face["explicit"], of_grey["explicit"])
    assert of_both["explicit_mean"] == pytest.approx((of_face["explicit"] + of_grey["explicit"]) / 2)
    assert of_both["exposed"] is None and of_both["parts"] is None and of_both["model"] == "open_nsfw"


def test_a_threshold_on_parts_without_a_look_for_them_is_an_error() -> None:
    settings = {"safety_scores": {"enabled": True}, "clip_selection": {"exposed_max": 0.6}}
    with pytest.raises(ConfigError, match=r"exposed_max needs safety_scores.parts"):
        validated(settings)
    validated({**settings, "safety_scores": {"enabled": True, "parts": True}})
