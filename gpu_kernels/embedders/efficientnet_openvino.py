"""EfficientNet-Lite0 on a CPU, through OpenVINO, from the weights alone: a third of the time that torch takes.

M. Tan and Q. Le 2019 (arXiv 1905.11946); the Lite variant of 2020 has ReLU6 throughout and no squeeze and excitation.
One picture at a time, on one thread, in float32: a result depends on nothing but its picture.
"""

from collections.abc import Mapping

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset15 as ops

from gpu_kernels.models.cpu_network import SETTINGS

_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)
"""Of the 16 blocks; what else there is to know of them, their weights say."""
_EPSILON = 1e-3

Array = NDArray[np.float32]
State = Mapping[str, Array]


class EfficientNetLite0:
    """The network up to its pooled features.

    Args:
        state: its weights by name.
        side: of the square pictures that it takes.
    """

    def __init__(self, state: State, side: int) -> None:
        self._compiled = ov.Core().compile_model(_graph(state, side), "CPU", SETTINGS)
        self._request = self._compiled.create_infer_request()

    def __call__(self, picture: NDArray[np.uint8]) -> Array:
        """Features [1280], none negative, of a picture, uint8 [side, side, 3], RGB."""
        return np.array(self._request.infer([picture])[0])


def _graph(state: State, side: int) -> ov.Model:
    picture = ops.parameter([side, side, 3], np.uint8)
    x = ops.subtract(ops.convert(picture, np.float32), _constant(np.float32(127)))
    x = ops.divide(x, _constant(np.float32(128)))  # as in its training
    x = ops.unsqueeze(ops.transpose(x, [2, 0, 1]), 0)
    x = _relu6(_convolved(x, state, "_conv_stem", "_bn0", stride=2))
    for number, stride in enumerate(_STRIDES):
        x = _block(x, state, f"_blocks.{number}.", stride)
    x = _relu6(_convolved(x, state, "_conv_head", "_bn1"))
    features = ops.squeeze(ops.reduce_mean(x, [2, 3]), 0)
    return ov.Model([features], [picture], "efficientnet_lite0")  # pyright: ignore[reportGeneralTypeIssues]


def _block(x: ov.Node, state: State, name: str, stride: int) -> ov.Node:
    """An inverted residual: wider, then each channel by itself, then narrow again."""
    taken = x
    if f"{name}_expand_conv.weight" in state:
        x = _relu6(_convolved(x, state, f"{name}_expand_conv", f"{name}_bn0"))
    x = _relu6(_convolved(x, state, f"{name}_depthwise_conv", f"{name}_bn1", stride, by_channel=True))
    x = _convolved(x, state, f"{name}_project_conv", f"{name}_bn2")
    return ops.add(x, taken) if stride == 1 and x.shape == taken.shape else x


def _convolved(
    x: ov.Node, state: State, convolution: str, norm: str, stride: int = 1, by_channel: bool = False
) -> ov.Node:
    """A convolution, with the batch normalisation after it folded in; padded so that the size is divided by `stride`,
    the odd pixel at the end."""
    scale = state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"] + _EPSILON)
    kernel = state[f"{convolution}.weight"] * scale[:, None, None, None]
    bias = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
    side, width = int(x.shape[2]), kernel.shape[-1]
    padding = max((-(-side // stride) - 1) * stride + width - side, 0)
    before, after = [padding // 2] * 2, [padding - padding // 2] * 2
    if by_channel:
        x = ops.group_convolution(x, _constant(kernel[:, None]), [stride] * 2, before, after, [1, 1])
    else:
        x = ops.convolution(x, _constant(kernel), [stride] * 2, before, after, [1, 1])
    return ops.add(x, _constant(bias[:, None, None]))


def _relu6(x: ov.Node) -> ov.Node:
    return ops.clamp(x, 0.0, 6.0)


def _constant(values: NDArray[np.floating] | np.float32) -> ov.Node:
    return ops.constant(np.ascontiguousarray(values, np.float32))
