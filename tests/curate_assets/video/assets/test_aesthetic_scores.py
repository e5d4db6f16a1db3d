"""`aesthetic_scores`: the lowest and the mean score of a clip's own pictures, by the models that are named."""

import numpy as np
import pytest

from curate_assets.graph.platform import ConfigError
from curate_assets.settings.resolve import validated
from curate_assets.video.assets.measurements.aesthetic_scores import AESTHETIC_SCORES
from curate_assets.video.graph import VIDEO


def test_without_a_model_it_cannot_be_enabled_and_is_idle() -> None:
    with pytest.raises(ConfigError, match="needs `model`"):
        validated({"aesthetic_scores": {"enabled": True}})
    with pytest.raises(ConfigError, match="aesthetic_min needs aesthetic_scores"):
        validated({"clip_selection": {"aesthetic_min": 3.5}})
    assert AESTHETIC_SCORES.recipe(validated({})).model == ("none", "none")


@pytest.mark.deep
def test_a_clip_has_the_lowest_and_the_mean_score_of_its_pictures(pictured, tiny_models, tmp_path) -> None:
    clip, head = tiny_models.tiny_clip(tmp_path / "clip"), tiny_models.tiny_aesthetic_head(tmp_path / "head")
    dark, light = (np.full((48, 64, 3), value, np.uint8) for value in (20, 230))
    spans = {"a-0": ("a", 0, 20), "a-20": ("a", 20, 40), "a-both": ("a", 0, 40)}
    root = pictured({"a": [dark, dark, light, light]}, spans)
    settings = {"enabled": True, "model": str(clip), "head": str(head), "device": "cpu", "frames_per_second": 2}
    root.materialize(VIDEO, "aesthetic_scores", settings={"aesthetic_scores": settings})
    rows = {row["clip_id"]: row for row in root.rows(AESTHETIC_SCORES)}
    first, last, both = (rows[clip] for clip in spans)
    assert (both["pictures"], both["model"]) == (4, "clip+head") and len(both["model_revision"]) == 33
    assert first["lowest"] == pytest.approx(first["mean"], abs=1e-6) and first["lowest"] != last["lowest"]
    assert both["lowest"] == min(first["lowest"], last["lowest"])
    assert both["mean"] == pytest.approx((first["mean"] + last["mean"]) / 2, abs=1e-6)
    (again,) = root.materialize(VIDEO, "aesthetic_scores", settings={"aesthetic_scores": settings})
    assert again.computed == 0
