"""BERT on a CPU, through OpenVINO, from the weights alone.

J. Devlin et al. 2018 (arXiv 1810.04805), as transformers' `BertModel` without its pooler. One text at a time, on one
thread, in float32: a result depends on nothing but its text.
"""

from collections.abc import Mapping
from itertools import count, takewhile
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset15 as ops

from gpu_kernels.models.cpu_network import SETTINGS

_EPSILON = 1e-12

Array = NDArray[np.float32]
State = Mapping[str, Array]


class Bert:
    """The network up to its last hidden states.

    Args:
        state: its weights by name.
        heads: of attention, in every layer.
    """

    def __init__(self, state: State, heads: int) -> None:
        self._words = state["embeddings.word_embeddings.weight"]
        # A text is one sentence: of the first kind throughout.
        kinds, places = (state[f"embeddings.{name}_embeddings.weight"] for name in ("token_type", "position"))
        self._places = places + kinds[0]
        self._request = ov.Core().compile_model(_graph(state, heads), "CPU", SETTINGS).create_infer_request()

    def __call__(self, tokens: NDArray[np.integer[Any]]) -> Array:
        """Float32 [n, width] of a text's tokens, int [n], no more than the network has places for."""
        return self._request.infer([self._words[tokens] + self._places[: len(tokens)]])[0].copy()


def _graph(state: State, heads: int) -> ov.Model:
    width = state["embeddings.word_embeddings.weight"].shape[1]
    tokens = ops.parameter([-1, width], np.float32)
    x = _normalised(tokens, state, "embeddings.LayerNorm")
    names = (f"encoder.layer.{number}." for number in count())
    for name in takewhile(lambda name: f"{name}output.dense.weight" in state, names):
        x = _normalised(ops.add(x, _attention(x, state, name, heads)), state, f"{name}attention.output.LayerNorm")
        wide = ops.gelu(_dense(x, state, f"{name}intermediate.dense"), "ERF")
        x = _normalised(ops.add(x, _dense(wide, state, f"{name}output.dense")), state, f"{name}output.LayerNorm")
    return ov.Model([x], [tokens], "bert")  # pyright: ignore[reportGeneralTypeIssues]


def _attention(x: ov.Node, state: State, name: str, heads: int) -> ov.Node:
    width = len(state[f"{name}attention.self.query.bias"])

    def by_head(part: str) -> ov.Node:
        projected = _dense(x, state, f"{name}attention.self.{part}")
        return ops.transpose(ops.reshape(projected, [0, heads, width // heads], special_zero=True), [1, 0, 2])

    query, key, value = (by_head(part) for part in ("query", "key", "value"))
    scale = ops.constant(np.float32((width // heads) ** -0.5))
    weights = ops.softmax(ops.multiply(ops.matmul(query, key, False, True), scale), 2)
    mixed = ops.transpose(ops.matmul(weights, value, False, False), [1, 0, 2])
    joined = ops.reshape(mixed, [0, width], special_zero=True)
    return _dense(joined, state, f"{name}attention.output.dense")


def _dense(x: ov.Node, state: State, name: str) -> ov.Node:
    product = ops.matmul(x, ops.constant(state[f"{name}.weight"]), False, True)
    return ops.add(product, ops.constant(state[f"{name}.bias"]))


def _normalised(x: ov.Node, state: State, name: str) -> ov.Node:
    even = ops.mvn(x, [1], True, _EPSILON, "INSIDE_SQRT")
    scaled = ops.multiply(even, ops.constant(state[f"{name}.weight"]))
    return ops.add(scaled, ops.constant(state[f"{name}.bias"]))
