"""Networks of the ONNX format on a CPU, through OpenVINO.

One input at a time, on one thread, in float32 whatever else the CPU is quick at: a result depends on nothing but its
input, and hardly on the machine.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray

SETTINGS: dict[str, str | int | bool] = {
    "INFERENCE_PRECISION_HINT": "f32",
    "INFERENCE_NUM_THREADS": 1,
    "NUM_STREAMS": 1,
    "ENABLE_CPU_PINNING": False,  # workers of one machine would all be pinned to its first core
}
"""Of all networks on a CPU."""


class CpuNetwork:
    """A network for inputs of one shape, which is a third quicker than for any.

    Args:
        path: of its file.
        shape: of its one input.
    """

    def __init__(self, path: Path, shape: Sequence[int]) -> None:
        core = ov.Core()
        model = core.read_model(path)
        model.reshape(list(shape))
        self._request = core.compile_model(model, "CPU", SETTINGS).create_infer_request()

    def __call__(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Its first output, a copy."""
        return self._request.infer([np.ascontiguousarray(inputs)])[0].copy()
