"""`clip_labels`: words that clips are found by, each from its own pictures."""

import av
import numpy as np
import pytest

from curate_assets.operations.query import run_query
from curate_assets.video.assets.measurements.clip_labels import CLIP_LABELS
from curate_assets.video.graph import VIDEO


def test_clips_are_found_by_what_they_show(pictured, footage) -> None:
    with av.open(footage("carphone_pristine.mp4")) as container:
        face = next(container.decode(video=0)).to_ndarray(format="rgb24")
    grey = np.full_like(face, 90)
    root = pictured({"a": [face, face, grey, grey]}, {"a-0": ("a", 0, 20), "a-20": ("a", 20, 40)})
    root.materialize(VIDEO, "clip_labels", settings={"clip_labels": {"enabled": True, "most": 5}})
    rows = {row["clip_id"]: row for row in root.rows(CLIP_LABELS)}
    assert {len(row["labels"]) for row in rows.values()} == {5} and rows["a-0"]["labels"][0] == "bow tie"
    confidences = rows["a-0"]["confidences"]
    assert confidences == sorted(confidences, reverse=True) and rows["a-0"]["confidence"] == confidences[0]
    assert rows["a-0"]["pictures"] == 1 and rows["a-0"]["confidence"] == pytest.approx(0.5, abs=0.3)
    sql = "select clip_id from clip_labels where list_contains(labels, 'bow tie')"
    assert run_query(root.storage, sql)["clip_id"].to_pylist() == ["a-0"]
