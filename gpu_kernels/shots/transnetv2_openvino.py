"""TransNetV2 on a CPU, through OpenVINO.

The graph is made here from the weights, in a tenth of a second and without a model file. Branches stay separate, five
dimensions stay five: so everything lies with channels last and no layout is ever changed. One window at a time, on one
thread: a worker has one core, and a window's result depends on nothing but its frames.
"""

from functools import partial
from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset15 as ops

from gpu_kernels.models.cpu_network import SETTINGS
from gpu_kernels.shots.transnetv2_weights import (
    HISTOGRAM_BINS,
    LOOKUP,
    Array,
    Branch,
    Linear,
    Weights,
    colour_histograms,
    read_weights,
    similarity_mask,
    with_unit_features,
)

_BFLOAT16 = {"avx512_bf16", "amx_bf16"}
_INT8 = {"avx512_vnni", "avx_vnni", "amx_int8"}
_TOP_OF_TWO = 1.5
"""What the sum of two features hardly exceeds that each hardly exceed 1, since their deviations add as squares."""


class TransNetV2:
    """The network for windows of one length.

    Args:
        window: frames of a window.
        exact: float32 throughout. Else the spatial convolutions, nine tenths of the work, take 8-bit integers and the
            rest is bfloat16, where the CPU has instructions for them; float32 where it does not.

    Raises:
        FileNotFoundError: the package that ships the weights is not installed.
    """

    batch = 1
    """More windows at once gain nothing here."""

    def __init__(self, window: int, exact: bool) -> None:
        self.window = window
        features = set[str]() if exact else _cpu_features()
        settings = SETTINGS | {"INFERENCE_PRECISION_HINT": "bf16" if features & _BFLOAT16 else "f32"}
        graph = _graph(read_weights(), window, in_8_bits=bool(features & _INT8))
        self._compiled = ov.Core().compile_model(graph, "CPU", settings)
        self._request = self._compiled.create_infer_request()

    def __call__(self, windows: NDArray[np.uint8]) -> Array:
        """Each frame's probability of being a shot's last frame or part of a gradual transition.

        Args:
            windows: uint8 [B, window, 27, 48, 3], RGB.

        Returns:
            float32 [B, window] in 0..1. Without context the 25 frames at either end are unreliable.
        """
        curves = np.empty(windows.shape[:2], np.float32)
        for frames, curve in zip(windows, curves, strict=True):
            curve[:] = self._request.infer([frames, colour_histograms(frames)])[0]
        return curves


def _cpu_features() -> set[str]:
    """As Linux names them. What the runtime itself claims includes what it only emulates."""
    try:
        return set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return set()


def _graph(weights: Weights, window: int, in_8_bits: bool) -> ov.Model:
    if in_8_bits:
        weights = with_unit_features(weights)
    frames = ops.parameter([window, 27, 48, 3], np.uint8)
    histograms = ops.parameter([window, HISTOGRAM_BINS], np.float32)
    x = ops.divide(ops.convert(frames, np.float32), _constant(np.float32(255)))
    x = ops.unsqueeze(ops.transpose(x, [3, 0, 1, 2]), 0)  # [1, C, T, H, W]
    means, top = [], 1.0
    for first, second in weights.stacks:
        features = _block(_in_256_steps(x, top) if in_8_bits else x, first, in_8_bits)
        more = _block(_in_256_steps(features, 1.0) if in_8_bits else features, second, in_8_bits)
        x, top = ops.avg_pool(ops.add(features, more), [1, 2, 2], [0, 0, 0], [0, 0, 0], [1, 2, 2], True), _TOP_OF_TWO
        means.append(ops.transpose(ops.squeeze(ops.reduce_mean(x, [3, 4]), 0), [1, 0]))
    similar = ops.normalize_l2(_linear(ops.concat(means, 1), weights.projection), 1, 1e-12, "max")
    compared = partial(_neighbour_similarity, mask=similarity_mask(window))
    pictures = ops.reshape(ops.transpose(x, [0, 2, 3, 4, 1]), [window, -1], False)
    seen = [
        ops.relu(_linear(compared(histograms), weights.histogram)),
        ops.relu(_linear(compared(similar), weights.similarity)),
        pictures,
    ]
    hidden = ops.relu(_linear(ops.concat(seen, 1), weights.hidden))
    curve = ops.sigmoid(_linear(hidden, weights.single_frame))
    outputs, inputs = [ops.reshape(curve, [window], False)], [frames, histograms]
    return ov.Model(outputs, inputs, "transnetv2")  # pyright: ignore[reportGeneralTypeIssues]


def _constant(values: NDArray[np.float32] | np.float32) -> ov.Node:
    return ops.constant(np.ascontiguousarray(values))


def _block(x: ov.Node, branches: list[Branch], in_8_bits: bool) -> ov.Node:
    return ops.concat([_branch(x, branch, in_8_bits) for branch in branches], 1)


def _branch(x: ov.Node, branch: Branch, in_8_bits: bool) -> ov.Node:
    spatial, temporal = branch.spatial[:, :, None], branch.temporal[..., None, None]
    step, space, time = [1, 1, 1], [0, 1, 1], [branch.dilation, 0, 0]
    kernel = _in_255_steps(spatial) if in_8_bits else _constant(spatial)
    x = ops.convolution(x, kernel, step, space, space, step)
    x = ops.convolution(x, _constant(temporal), step, time, time, [branch.dilation, 1, 1])
    return ops.relu(ops.add(x, _constant(branch.bias[:, None, None, None])))


def _in_256_steps(x: ov.Node, top: float) -> ov.Node:
    """Features from 0 to `top`; a convolution whose operands are both in steps is one of integers."""
    low, high = _constant(np.float32(0)), _constant(np.float32(top))
    return ops.fake_quantize(x, low, high, low, high, 256)


def _in_255_steps(kernel: Array) -> ov.Node:
    """A kernel, every output channel in steps of its own, with 0 as one of them."""
    high = np.abs(kernel).max((1, 2, 3, 4), keepdims=True)
    return ops.fake_quantize(
        _constant(kernel), _constant(-high), _constant(high), _constant(-high), _constant(high), 255
    )


def _linear(x: ov.Node, layer: Linear) -> ov.Node:
    return ops.add(ops.matmul(x, _constant(layer.weight), False, True), _constant(layer.bias))


def _neighbour_similarity(x: ov.Node, mask: Array) -> ov.Node:
    """[T, K] of unit vectors -> [T, LOOKUP]: their cosine with their neighbours, where `mask` is 1.

    The diagonals of the matrix of all cosines become columns when its rows are one longer than they lie apart.
    """
    window = len(mask)
    side, zero = LOOKUP // 2, ops.constant(np.float32(0))
    cosines = ops.pad(ops.matmul(x, x, False, True), [0, side], [0, side], "constant", zero)
    flat = ops.pad(ops.reshape(cosines, [-1], False), [0], [window], "constant", zero)
    rows = ops.reshape(flat, [window, window + LOOKUP], False)
    return ops.multiply(ops.slice(rows, [0], [LOOKUP], [1], [1]), _constant(mask))
