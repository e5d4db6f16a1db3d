"""Whether a line of text says the same in two pictures, without reading it: its strokes are compared."""

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.ocr.detector import TextBox

Look = NDArray[np.float32]
"""The strokes of a line, whatever is behind it: [_HIGH, _WIDE]."""

_WIDE, _HIGH = 256, 32
"""The size at which they are compared, in pixels."""
_ACROSS, _DOWN, _WIDER = 16, 5, (0.92, 0.96, 1.0, 1.04, 1.08)
"""How far a box can be off, in such pixels, and how many times as wide one can be as the other."""
_ALIKE = 0.7
"""Correlation of the strokes of one text, at least. Nine tenths of the subtitles that were drawn one after the other
had less, and so had one in twenty of the pairs of pictures of the same one, most of them hard to read."""


def cut(picture: NDArray[np.uint8], box: TextBox) -> NDArray[np.uint8]:
    """What a box holds of a picture, uint8 [height, width, 3]; one pixel at least."""
    height, width = picture.shape[:2]
    top, left = min(int(box.y * height), height - 1), min(int(box.x * width), width - 1)
    bottom, right = int(np.ceil((box.y + box.height) * height)), int(np.ceil((box.x + box.width) * width))
    return picture[top : max(bottom, top + 1), left : max(right, left + 1)]


def look(crop: NDArray[np.uint8]) -> Look:
    """The strokes of a line, uint8 RGB [height, width, 3]."""
    import cv2

    grey = cv2.resize(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), (_WIDE, _HIGH), interpolation=cv2.INTER_AREA)
    level = grey.astype(np.float32)
    strength = cv2.magnitude(cv2.Sobel(level, cv2.CV_32F, 1, 0), cv2.Sobel(level, cv2.CV_32F, 0, 1))
    return np.asarray(cv2.GaussianBlur(strength, (0, 0), 1), np.float32)


def alike(one: Look, other: Look) -> bool:
    """Whether both are of one text."""
    import cv2

    for wider in _WIDER:
        width = round(_WIDE * wider)
        off = (width - _WIDE) // 2 + _ACROSS
        inner = cv2.resize(other, (width, _HIGH))[_DOWN:-_DOWN, off : width - off]
        if cv2.matchTemplate(one, np.ascontiguousarray(inner), cv2.TM_CCOEFF_NORMED).max() >= _ALIKE:
            return True
    return False
