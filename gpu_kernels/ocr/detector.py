"""Where there is text in a picture: PP-OCRv6's detector on OpenVINO, and boxes from its map by differentiable
binarization (Liao et al. 2020)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_MULTIPLE = 32
_LEAST_SIDE = 3
"""Pixels of the map; what is smaller is noise."""
_TALLEST = 0.3
"""Of the picture's height: what is taller is no line of text. The network sometimes takes a cup or a dress for one."""


@dataclass(frozen=True)
class TextBox:
    """A line of text: its upright box as shares of the picture's width and height, and the network's confidence."""

    x: float
    y: float
    width: float
    height: float
    confidence: float

    @property
    def area(self) -> float:
        """Share of the picture."""
        return self.width * self.height

    def overlap(self, other: "TextBox") -> float:
        """Intersection over union."""
        wide = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        high = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        common = max(0.0, wide) * max(0.0, high)
        return common / (self.area + other.area - common)


class TextDetector:
    """Finds lines of text.

    Args:
        weights: the ONNX file.
        longest_side: of a picture as the network sees it, whether it has to be enlarged or shrunk for that.
        pixel_threshold: least value of the map at a pixel of text.
        box_threshold: least mean of the map over a box.
        unclip: how much wider than the core of the letters, which the map shows, a box is.
    """

    def __init__(
        self, weights: Path, longest_side: int, pixel_threshold: float, box_threshold: float, unclip: float = 1.5
    ) -> None:
        import openvino as ov

        self._core, self._weights = ov.Core(), weights
        self._side, self._pixel, self._box, self._unclip = longest_side, pixel_threshold, box_threshold, unclip
        self._compiled: dict[tuple[int, int], ov.CompiledModel] = {}

    def __call__(self, picture: NDArray[np.uint8]) -> list[TextBox]:
        """The lines of text in a picture, uint8 RGB [height, width, 3], from top to bottom."""
        import cv2

        height, width = self._size(*picture.shape[:2])
        way = cv2.INTER_AREA if width < picture.shape[1] else cv2.INTER_CUBIC
        scaled = cv2.resize(picture, (width, height), interpolation=way)
        pixels = scaled[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1
        return self._boxes(np.asarray(self._model(height, width)(pixels)[0], np.float32)[0, 0])

    def _size(self, height: int, width: int) -> tuple[int, int]:
        scale = self._side / max(height, width)
        return tuple(max(_MULTIPLE, round(side * scale / _MULTIPLE) * _MULTIPLE) for side in (height, width))  # type: ignore[return-value]

    def _model(self, height: int, width: int):
        """The network for one size of pictures, which it runs twice as fast for."""
        from gpu_kernels.models.cpu_network import SETTINGS

        if (height, width) not in self._compiled:
            model = self._core.read_model(self._weights)
            model.reshape([1, 3, height, width])
            self._compiled[height, width] = self._core.compile_model(model, "CPU", SETTINGS)
        return self._compiled[height, width]

    def _boxes(self, shown: NDArray[np.float32]) -> list[TextBox]:
        import cv2

        height, width = shown.shape
        mask = cv2.dilate((shown > self._pixel).astype(np.uint8), np.ones((2, 2), np.uint8))
        contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        found: list[TextBox] = []
        for contour in contours:
            rectangle = cv2.minAreaRect(contour)
            wide, high = rectangle[1]
            if min(wide, high) < _LEAST_SIDE:
                continue
            confidence = _mean_within(shown, np.asarray(cv2.boxPoints(rectangle), np.float32))
            if confidence < self._box:
                continue
            outwards = self._unclip * wide * high / (2 * (wide + high))
            x, y, w, h = cv2.boundingRect(contour)
            left, top = max(0.0, x - outwards), max(0.0, y - outwards)
            right, bottom = min(float(width), x + w + outwards), min(float(height), y + h + outwards)
            if bottom - top > _TALLEST * height:
                continue
            box = (left / width, top / height, (right - left) / width, (bottom - top) / height)
            found.append(TextBox(*box, confidence))
        return sorted(found, key=lambda box: (box.y, box.x))


def _mean_within(shown: NDArray[np.float32], corners: NDArray[np.float32]) -> float:
    import cv2

    height, width = shown.shape
    x, y = (np.clip(corners[:, axis], 0, side - 1) for axis, side in ((0, width), (1, height)))
    left, right, top, bottom = int(x.min()), int(np.ceil(x.max())), int(y.min()), int(np.ceil(y.max()))
    inside = np.zeros((bottom - top + 1, right - left + 1), np.uint8)
    cv2.fillPoly(inside, [np.stack([x - left, y - top], axis=1).astype(np.int32)], [1])
    return float(shown[top : bottom + 1, left : right + 1][inside > 0].mean())
