"""`faces`: those of a clip's own pictures, counted by eye, and nothing where it is off."""

import av
import numpy as np
import pytest

from curate_assets.video.assets.measurements.faces import FACES
from curate_assets.video.graph import VIDEO


def test_the_faces_of_a_clips_own_pictures_are_counted(pictured, footage) -> None:
    with av.open(footage("carphone_pristine.mp4")) as container:
        face = next(container.decode(video=0)).to_ndarray(format="rgb24")
    none = np.full_like(face, 90)
    two = np.concatenate([face, face], axis=1)
    # Two pictures per second at frames 0, 10, ..., and every second one of them is looked at.
    root = pictured(
        {"a": [face, none, none, face, two, two], "b": [none, face]},
        {"a-0": ("a", 0, 40), "a-40": ("a", 40, 60), "a-50": ("a", 50, 60), "b-0": ("b", 0, 20)},
    )
    (done,) = root.materialize(VIDEO, "faces")
    assert done.computed == 0 and root.rows(FACES) == []  # nobody asked for it
    root.materialize(VIDEO, "faces", settings={"faces": {"enabled": True}})
    rows = {row["clip_id"]: row for row in root.rows(FACES)}
    counted = {clip: tuple(row[name] for name in ("pictures", "share", "most", "mean")) for clip, row in rows.items()}
    assert counted == {"a-0": (2, 0.5, 1, 0.5), "a-40": (1, 1, 2, 2), "a-50": (1, 1, 2, 2), "b-0": (1, 0, 0, 0)}
    assert [each["frame"] for each in rows["a-0"]["found"]] == [0]
    box = rows["a-0"]["largest_box"]
    assert (box["x"], box["y"]) == pytest.approx((62 / 176, 28 / 144), abs=0.05)
    assert rows["a-0"]["largest"] == pytest.approx(box["width"] * box["height"])
    assert rows["b-0"]["largest"] == 0 and rows["b-0"]["largest_box"] is None
    assert {row["model"] for row in rows.values()} == {"yuface"}
