"""`ocr_words`: what was written over a clip's pictures, and when."""

import cv2
import numpy as np
import pytest

from curate_assets.operations.query import run_query
from curate_assets.settings.resolve import validated
from curate_assets.video.assets.measurements.ocr_words import OCR_WORDS
from curate_assets.video.assets.measurements.text_overlays import TEXT_OVERLAYS
from curate_assets.video.graph import VIDEO
from gpu_kernels.errors import UserError

FOUND = {"text_overlays": {"enabled": True, "longest_side": 320}}


def test_clips_are_found_by_the_words_that_they_show_and_a_line_is_read_again_where_it_changes(pictured) -> None:
    shown = [np.full((180, 320, 3), 60 + 20 * number, np.uint8) for number in range(6)]
    for number, text in enumerate([None, *["Tuesday 17"] * 2, *["Breaking"] * 3]):
        if text:
            cv2.putText(shown[number], text, (60, 165), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (255, 255, 255), 2)
    root = pictured({"a": shown}, {"a-0": ("a", 0, 60), "a-1": ("a", 0, 10)})
    root.materialize(VIDEO, TEXT_OVERLAYS.name, OCR_WORDS.name, settings={**FOUND, "ocr_words": {"enabled": True}})
    titled, plain = root.rows(OCR_WORDS)
    assert titled["text"] == "Tuesday 17\nBreaking" and titled["words"] == ["tuesday", "17", "breaking"]
    first, second = titled["lines"]
    assert (first["start_ns"], first["end_ns"]) == (500_000_000, 1_000_000_000) and first["overlay"]
    assert (second["start_ns"], second["end_ns"]) == (1_500_000_000, 2_500_000_000) and second["confidence"] > 0.8
    assert first["x"] == pytest.approx(60 / 320, abs=0.04) and first["y"] < 150 / 180 < first["y"] + first["height"]
    assert (plain["text"], plain["words"], plain["word_count"], plain["lines"]) == ("", [], 0, [])
    sql = "select clip_id from ocr_words where list_contains(words, 'breaking') and text ilike '%tuesday%'"
    assert run_query(root.storage, sql)["clip_id"].to_pylist() == ["a-0"]


def test_words_need_the_lines_that_text_overlays_finds() -> None:
    assert validated({**FOUND, "ocr_words": {"enabled": True}}).ocr_words.enabled
    with pytest.raises(UserError, match=r"set text_overlays\.enabled"):
        validated({"ocr_words": {"enabled": True}})
