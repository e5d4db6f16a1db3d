"""Which picture of a line is read, what counts as text, and what its words are."""

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_kernels.scores.ocr_words import clearest, said, words_of


def line(scale: float, blur: float) -> NDArray[np.uint8]:
    drawn = np.full((round(32 * scale), round(200 * scale), 3), 60, np.uint8)
    at = round(6 * scale), round(24 * scale)
    cv2.putText(drawn, "What was said", at, cv2.FONT_HERSHEY_SIMPLEX, 0.8 * scale, (250, 250, 250), 2)
    return np.asarray(cv2.GaussianBlur(drawn, (0, 0), blur), np.uint8)


def test_the_sharpest_and_the_tallest_picture_of_a_line_is_read() -> None:
    assert clearest([line(1, 0.9), line(1, 0.3), line(1, 2)]) == 1
    assert clearest([line(1, 0.5), line(1.5, 0.5)]) == 1


def test_text_that_is_doubtful_or_has_no_letters_is_none() -> None:
    assert said(" What  was said", 0.9, 0.8) == "What was said" and said("What", 0.79, 0.8) is None
    assert said("--.", 1.0, 0.8) is None and said("你好", 0.8, 0.8) == "你好"


def test_words_are_bare_and_in_lower_case() -> None:
    assert words_of(["Stop! Don't", '"STOP" (9:42) -', "你好"]) == ["stop", "don't", "9:42", "你好"]
