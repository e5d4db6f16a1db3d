"""What a line of text says: PP-OCRv6's recogniser on OpenVINO, and characters from its output by connectionist temporal
classification (Graves et al. 2006)."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_HEIGHT = 48
_WIDTHS = (320, 640, 1280)
"""The network is compiled for each; a line takes the first that it fits into, and a longer one is squeezed."""
_UPRIGHT = 1.5
"""What is taller than so many times its width is a line that runs upwards or downwards."""
_BLANK = 0


class TextRecogniser:
    """Reads lines of text.

    Args:
        weights: the ONNX file, which has its characters, too.
    """

    def __init__(self, weights: Path) -> None:
        from gpu_kernels.models.cpu_network import CpuNetwork

        self._weights, self._characters = weights, _characters(weights)
        self._networks: dict[int, CpuNetwork] = {}

    def __call__(self, line: NDArray[np.uint8]) -> tuple[str, float]:
        """The text of a picture of one line, uint8 RGB [height, width, 3], and how sure the network is of its
        characters, from 0 to 1: their mean. Without any it is 0."""
        import cv2

        if line.shape[0] > _UPRIGHT * line.shape[1]:
            line = np.rot90(line)
        long = max(1, int(np.ceil(line.shape[1] * _HEIGHT / line.shape[0])))
        width = next((each for each in _WIDTHS if long <= each), _WIDTHS[-1])
        scaled = cv2.resize(np.ascontiguousarray(line[..., ::-1]), (min(long, width), _HEIGHT))
        pixels = np.zeros((1, 3, _HEIGHT, width), np.float32)
        pixels[0, :, :, : scaled.shape[1]] = scaled.transpose(2, 0, 1).astype(np.float32) / 127.5 - 1
        return self._decoded(self._network(width)(pixels)[0])

    def _network(self, width: int):
        from gpu_kernels.models.cpu_network import CpuNetwork

        if width not in self._networks:
            self._networks[width] = CpuNetwork(self._weights, [1, 3, _HEIGHT, width])
        return self._networks[width]

    def _decoded(self, likely: NDArray[np.float32]) -> tuple[str, float]:
        """From how likely each character is at each step, float32 [steps, characters]."""
        best = likely.argmax(1)
        begins = (best != _BLANK) & np.append(True, best[1:] != best[:-1])
        text = "".join(self._characters[index] for index in best[begins])
        return text, float(likely.max(1)[begins].mean()) if begins.any() else 0.0


def _characters(weights: Path) -> list[str]:
    """What each output of the network stands for: none, those that its file lists, and a space.

    Raises:
        ValueError: the file lists none.
    """
    import openvino as ov

    about = ov.Core().read_model(weights).get_rt_info()
    if "framework" not in about or "character" not in about["framework"]:
        raise ValueError(f"{weights} does not say which characters it reads: is it a recogniser of PP-OCR?")
    return ["", *about["framework"]["character"].value.split("\n"), " "]
