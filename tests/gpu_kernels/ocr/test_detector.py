"""The boxes of text that was written at known places."""

import cv2
import numpy as np
import pytest

from gpu_kernels.models.registry import PP_OCR_DETECTOR, packaged_file
from gpu_kernels.ocr.detector import TextBox, TextDetector


@pytest.mark.parametrize("size", [(360, 640), (480, 270)])
def test_a_line_is_boxed_where_it_was_written(size: tuple[int, int]) -> None:
    height, width = size
    picture = np.full((height, width, 3), 90, np.uint8)
    cv2.putText(picture, "BREAKING", (40, height - 60), cv2.FONT_HERSHEY_SIMPLEX, 1, (250, 250, 250), 2)
    wrote = np.argwhere((picture == 250).all(2))
    (top, left), (bottom, right) = wrote.min(0), wrote.max(0)
    (box,) = TextDetector(packaged_file(PP_OCR_DETECTOR), 320, 0.4, 0.7)(picture)
    true = TextBox(left / width, top / height, (right - left) / width, (bottom - top) / height, 1)
    assert box.x <= true.x and box.x + box.width >= true.x + true.width and box.width < 1.4 * true.width
    assert box.y <= true.y and box.y + box.height >= true.y + true.height and box.height < 2.5 * true.height
    assert box.confidence >= 0.7


def test_ground_without_text_has_no_boxes() -> None:
    assert TextDetector(packaged_file(PP_OCR_DETECTOR), 320, 0.4, 0.7)(np.full((90, 160, 3), 128, np.uint8)) == []


def test_overlap_is_the_common_part_by_the_whole() -> None:
    one, other = TextBox(0, 0, 0.2, 0.1, 1), TextBox(0.1, 0, 0.2, 0.1, 1)
    assert one.overlap(other) == pytest.approx(1 / 3) and one.overlap(TextBox(0.5, 0.5, 0.1, 0.1, 1)) == 0
