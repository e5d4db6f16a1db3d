"""Lines of text whose words are known."""

import cv2
import numpy as np
import pytest

from gpu_kernels.models.registry import PP_OCR_DETECTOR, PP_OCR_RECOGNISER, packaged_file
from gpu_kernels.ocr.recogniser import TextRecogniser


@pytest.fixture(scope="module")
def recognise() -> TextRecogniser:
    return TextRecogniser(packaged_file(PP_OCR_RECOGNISER))


@pytest.mark.parametrize("text", ["Tomorrow at 9:42", "今天天气很好"])
def test_a_line_is_read(recognise: TextRecogniser, text: str) -> None:
    line = np.full((40, 30 + 22 * len(text), 3), 60, np.uint8)
    cv2.putText(line, text, (12, 30), (240, 240, 240), cv2.FontFace("sans"), 26, 500, cv2.PUT_TEXT_ALIGN_LEFT)
    read, confidence = recognise(line)
    assert read == text and confidence > 0.9
    assert recognise(np.ascontiguousarray(np.rot90(line, -1))) == (read, confidence)  # one that runs downwards


def test_ground_has_no_text(recognise: TextRecogniser) -> None:
    assert recognise(np.full((20, 90, 3), 128, np.uint8)) == ("", 0.0)


def test_a_network_without_characters_is_refused() -> None:
    with pytest.raises(ValueError, match="which characters it reads"):
        TextRecogniser(packaged_file(PP_OCR_DETECTOR))
