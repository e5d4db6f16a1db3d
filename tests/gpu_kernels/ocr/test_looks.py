"""Lines of text that say the same on other ground, and lines that do not."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from gpu_kernels.ocr.detector import TextBox
from gpu_kernels.ocr.looks import alike, cut, look


def line(text: str, ground: int) -> NDArray[np.uint8]:
    drawn = np.full((36, 220, 3), ground, np.uint8)
    noise = np.random.default_rng(ground).normal(0, 6, drawn.shape)
    cv2.putText(drawn, text, (8, 26), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (250, 250, 250), 2)
    return np.clip(drawn + noise, 0, 255).astype(np.uint8)


def test_a_text_is_itself_on_other_ground_and_in_a_box_that_is_off_by_a_pixel() -> None:
    said = look(line("What was said", 40))
    assert alike(said, look(line("What was said", 110)[1:, 2:-1]))
    assert not alike(said, look(line("Not by night", 40)))


@pytest.mark.parametrize("box", [TextBox(0.25, 0.5, 0.5, 0.25, 1), TextBox(1, 1, 0, 0, 1)])
def test_a_box_is_cut_out_to_whole_pixels(box: TextBox) -> None:
    picture = np.arange(8 * 12 * 3, dtype=np.uint8).reshape(8, 12, 3)
    expected = picture[4:6, 3:9] if box.width else picture[7:8, 11:12]
    assert np.array_equal(cut(picture, box), expected)
