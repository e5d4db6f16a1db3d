"""Inner products of tiles of unit vectors, as quick as the CPU can: in bfloat16 where it multiplies that.

What is found by such a product is a candidate. Whoever needs its value, or a decision at a bound, takes `cosines`.
"""

from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Precision = Literal["fast", "float32"]

FAST_ERROR = 0.008
"""More than a product of unit vectors is off in bfloat16: 2^-8 by both factors, 2^-9 where the result is rounded."""
FLOAT32_ERROR = 1e-5
_WORTH_COMPILING = 1 << 28
"""Multiplications from which a compiled product is worth its 50 ms."""
_BLOCK = 4096
_UNIT = 1e-2
"""How far from 1 the length of a vector may be."""


class TileProduct:
    """Products of tiles through OpenVINO on one thread, or numpy where that gains nothing; not for several threads.

    Tiles should have few different shapes: each one costs some milliseconds at first. A product of two vectors is the
    same wherever they lie in their tiles.

    Args:
        width: d of the vectors.
        work: how many multiplications are to come, about.
        precision: "fast" is bfloat16 if the CPU has it, twice as quick.

    Attributes:
        error: more than a product of two vectors of length 1 is off.
    """

    error: float

    def __init__(self, width: int, work: float, precision: Precision = "fast") -> None:
        fast = precision == "fast" and work >= _WORTH_COMPILING and _has_bfloat16()
        self.error = FAST_ERROR if fast else FLOAT32_ERROR
        worth = work >= _WORTH_COMPILING
        self._request = _compiled(width, "bf16" if fast else "f32").create_infer_request() if worth else None

    def __call__(self, one: Vectors, other: Vectors) -> Vectors:
        """`one @ other.T`, float32 [n, m], to be used before the next call.

        Args:
            one: float32 [n, d], contiguous.
            other: float32 [m, d], contiguous.
        """
        if self._request is None or len(one) == 0 or len(other) == 0:
            return one @ other.T
        return self._request.infer([one, other], share_inputs=True, share_outputs=True)[0]


def of_unit_length(vectors: Vectors) -> NDArray[np.bool_]:
    """Which rows, float32 [n, d], have nearly length 1; one that has another is like everything or like nothing."""
    return np.abs(np.linalg.norm(vectors, axis=1) - 1) < _UNIT


def cosines(one: Vectors, other: Vectors) -> Vectors:
    """Of pairs of unit vectors, float32 [n, d] each, computed in float64; the same whatever other pairs there are."""
    found = np.empty(len(one), np.float32)
    for first in range(0, len(one), _BLOCK):
        rows = slice(first, first + _BLOCK)
        found[rows] = np.einsum("ij,ij->i", one[rows].astype(np.float64), other[rows].astype(np.float64))
    return found


def cosines_of(
    one: Vectors, rows: NDArray[np.int64], other: Vectors, columns: NDArray[np.int64]
) -> NDArray[np.float32]:
    """`cosines` of some rows of one matrix with some of another, without copies of all of them."""
    found = np.empty(len(rows), np.float32)
    for first in range(0, len(rows), _BLOCK):
        part = slice(first, first + _BLOCK)
        found[part] = cosines(one[rows[part]], other[columns[part]])
    return found


def at_least(products: Vectors, bound: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where products, float32 [n, m], reach a bound: rows and columns, in order. Mostly nowhere, and then quickly."""
    if products.size == 0 or products.max() < bound:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    row, column = np.divmod(np.flatnonzero(products >= bound), products.shape[1])
    return row, column


@cache
def _has_bfloat16() -> bool:
    import openvino as ov

    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@cache
def _compiled(width: int, precision: str) -> Any:
    import openvino as ov
    from openvino import opset15 as ops

    from gpu_kernels.models.cpu_network import SETTINGS

    one, other = (ops.parameter(ov.PartialShape([-1, width]), np.float32) for _ in range(2))
    model = ov.Model([ops.matmul(one, other, False, True)], [one, other], "product")  # pyright: ignore[reportGeneralTypeIssues]
    settings = SETTINGS | {"INFERENCE_PRECISION_HINT": precision}
    return ov.Core().compile_model(model, "CPU", settings)
