"""TransNetV2 on a GPU, through torch.

Activations lie as [windows, time, height, width, channels]. Seen as pictures of height by width, or of time by all
pixels, they are channels-last either way: both convolutions are 2-D ones, and nothing is copied between them.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gpu_kernels.shots.transnetv2_weights import (
    HISTOGRAM_BINS,
    LOOKUP,
    Array,
    Branch,
    Linear,
    read_weights,
    similarity_mask,
)

Kernel = tuple[Tensor, Tensor]


class TransNetV2:
    """The network for windows of one length. Calling it does not change global settings of torch.

    Args:
        device: as torch names it ("cuda", "cuda:1"; "cpu" for comparisons).
        window: frames of a window.
        exact: float32; else float16 in convolutions and activations. Similarities and the head are always float32.
        batch: windows that it takes at once; a call with fewer is filled up, so that the same kernels run.

    Raises:
        FileNotFoundError: the package that ships the weights is not installed.
    """

    def __init__(self, device: str, window: int, exact: bool, batch: int) -> None:
        self.window, self.batch = window, batch
        self._device = torch.device(device)
        self._dtype = torch.float32 if exact else torch.float16
        weights = read_weights()
        self._stacks = [[[self._branch(branch) for branch in block] for block in stack] for stack in weights.stacks]
        self._projection, self._similarity, self._histogram, self._hidden, self._single_frame = map(
            self._linear,
            (weights.projection, weights.similarity, weights.histogram, weights.hidden, weights.single_frame),
        )
        self._mask = torch.from_numpy(similarity_mask(window)).to(self._device)

    @torch.inference_mode()
    def __call__(self, windows: NDArray[np.uint8]) -> Array:
        """Each frame's probability of being a shot's last frame or part of a gradual transition.

        Args:
            windows: uint8 [B, window, 27, 48, 3], RGB, with B <= batch.

        Returns:
            float32 [B, window] in 0..1. Without context the 25 frames at either end are unreliable.
        """
        filled = np.zeros((self.batch, *windows.shape[1:]), np.uint8)
        filled[: len(windows)] = windows
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, benchmark=False, allow_tf32=False):
            curves = self._forward(torch.from_numpy(filled).to(self._device))
        return curves[: len(windows)].cpu().numpy()

    def _forward(self, frames: Tensor) -> Tensor:
        x = frames.to(self._dtype).div_(255)
        means: list[Tensor] = []
        for first, second in self._stacks:
            features = _block(x, first)
            x = _halved(features.add_(_block(features, second)))
            means.append(x.float().mean((2, 3)))
        similar = F.normalize(F.linear(torch.cat(means, 2), *self._projection), dim=2)
        seen = [
            F.relu(F.linear(self._compared(_colour_histograms(frames)), *self._histogram)),
            F.relu(F.linear(self._compared(similar), *self._similarity)),
            x.flatten(2).float(),
        ]
        hidden = F.relu(F.linear(torch.cat(seen, 2), *self._hidden))
        return torch.sigmoid(F.linear(hidden, *self._single_frame))[..., 0]

    def _compared(self, x: Tensor) -> Tensor:
        """[B, T, K] of unit vectors -> [B, T, LOOKUP]: their cosine with their neighbours, where the mask is 1."""
        cosines = F.pad(x @ x.transpose(1, 2), (LOOKUP // 2, LOOKUP // 2))
        batch, time, row = cosines.shape
        return cosines.as_strided((batch, time, LOOKUP), (time * row, row + 1, 1)) * self._mask

    def _branch(self, branch: Branch) -> tuple[Tensor, Tensor, Tensor, int]:
        spatial, temporal = (
            torch.from_numpy(kernel).to(self._device, self._dtype).contiguous(memory_format=torch.channels_last)
            for kernel in (branch.spatial.copy(), branch.temporal[..., None].copy())
        )
        return spatial, temporal, torch.from_numpy(branch.bias).to(self._device, self._dtype), branch.dilation

    def _linear(self, layer: Linear) -> Kernel:
        return torch.from_numpy(layer.weight.copy()).to(self._device), torch.from_numpy(layer.bias.copy()).to(
            self._device
        )


def _block(x: Tensor, branches: list[tuple[Tensor, Tensor, Tensor, int]]) -> Tensor:
    """[B, T, H, W, C] -> [B, T, H, W, 4F]."""
    batch, _, height, width, _ = x.shape
    outputs = []
    for spatial, temporal, bias, dilation in branches:
        y = F.conv2d(x.flatten(0, 1).permute(0, 3, 1, 2), spatial, padding=1).permute(0, 2, 3, 1)
        y = y.reshape(batch, -1, height * width, y.shape[3]).permute(0, 3, 1, 2)
        y = F.conv2d(y, temporal, bias, padding=(dilation, 0), dilation=(dilation, 1)).relu_()
        outputs.append(y.permute(0, 2, 3, 1).unflatten(2, (height, width)))
    return torch.cat(outputs, 4)


def _halved(x: Tensor) -> Tensor:
    """Mean over 2x2 pixels of [B, T, H, W, C]; an odd last row or column is dropped."""
    batch, time = x.shape[:2]
    return F.avg_pool2d(x.flatten(0, 1).permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1).unflatten(0, (batch, time))


def _colour_histograms(frames: Tensor) -> Tensor:
    """uint8 [B, T, H, W, 3] -> float32 [B, T, 512]: counts of colours with 3 bits a channel, of unit length."""
    red, green, blue = (frames >> 5).long().unbind(-1)
    bins = (red << 6 | green << 3 | blue).flatten(2)
    counts = torch.zeros(*bins.shape[:2], HISTOGRAM_BINS, dtype=torch.int32, device=frames.device)
    counts.scatter_add_(2, bins, torch.ones_like(bins, dtype=torch.int32))
    return F.normalize(counts.float(), dim=2)
