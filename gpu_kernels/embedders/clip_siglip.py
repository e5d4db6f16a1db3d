"""Both towers of CLIP, SigLIP and SigLIP 2, each kept by itself, from a folder or a hub."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from gpu_kernels.embedders.named_model import NamedModelConfig
from gpu_kernels.embedders.torch_embedder import TorchEmbedder
from gpu_kernels.embedders.types import Embedder, TextEmbedder, unit_rows
from gpu_kernels.errors import UserError
from gpu_kernels.models.files import torch_device, whole_model
from gpu_kernels.models.resolve import model_folder

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from PIL.Image import Image


class ClipConfig(NamedModelConfig):
    """A CLIP, for meaning."""

    knows_words: ClassVar[bool] = True

    backend: Literal["clip"] = "clip"

    def load(self) -> Embedder:
        return _image_tower(self, self.backend)

    def load_text(self) -> TextEmbedder:
        return _text_tower(self, self.backend)


class SiglipConfig(NamedModelConfig):
    """A SigLIP, or a SigLIP 2 of fixed resolution, for meaning."""

    knows_words: ClassVar[bool] = True

    backend: Literal["siglip"] = "siglip"

    def load(self) -> Embedder:
        return _image_tower(self, self.backend)

    def load_text(self) -> TextEmbedder:
        return _text_tower(self, self.backend)


def _image_tower(config: NamedModelConfig, backend: str) -> Embedder:
    """The image side of CLIP (projected) or SigLIP (pooled), as transformers computes its image features."""
    import torch
    from transformers import AutoImageProcessor

    name, revision = config.identity()
    device = torch_device(config.device)
    folder = _folder(config, revision, backend)
    network = _network(folder, name, backend)
    network.text_model = torch.nn.Identity()  # the larger half of the memory, and not asked
    network.to(device)
    # The PIL backend: torchvision is not needed then, and installing it cannot change the numbers.
    processor: Any = AutoImageProcessor.from_pretrained(folder, backend="pil", local_files_only=True)
    dimension: int = network.config.projection_dim if backend == "clip" else network.config.vision_config.hidden_size

    def pixels(image: "Image") -> "torch.Tensor":
        return processor(images=image, return_tensors="pt")["pixel_values"][0]

    def features(inputs: "torch.Tensor") -> "torch.Tensor":
        return network.get_image_features(pixel_values=inputs).pooler_output

    return TorchEmbedder(name, revision, dimension, device, pixels, features)


def _text_tower(config: NamedModelConfig, backend: str) -> TextEmbedder:
    """The text side, as transformers computes its text features."""
    import torch
    from transformers import AutoTokenizer

    name, revision = config.identity()
    device = torch_device(config.device)
    folder = _folder(config, revision, backend)
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (ImportError, OSError, ValueError) as missing:
        raise UserError(
            f"the tokenizer of model {name!r} cannot be loaded ({str(missing).strip().splitlines()[0]}): its folder "
            "needs the tokenizer's files, and for the first SigLIP's: pip install sentencepiece"
        ) from missing
    network = _network(folder, name, backend)
    network.vision_model = torch.nn.Identity()
    text = network.config.text_config
    width: int = network.config.projection_dim if backend == "clip" else text.projection_size
    return _Words(name, revision, width, device, tokenizer, network.to(device), backend == "siglip")


@dataclass(frozen=True)
class _Words:
    """A text tower. One text at a time, because a batch rounds by its size."""

    name: str
    revision: str
    dimension: int
    device: "torch.device"
    tokenizer: Any
    network: Any
    filled: bool
    """SigLIP takes the last place's features, and was trained on texts in lower case, filled up to one length, the
    filling not masked. CLIP looks back only."""

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        import torch

        with torch.inference_mode():
            found = [self._features(text).double().cpu().numpy() for text in texts]
        return unit_rows(np.stack(found) if found else np.empty((0, self.dimension)))

    def _features(self, text: str) -> "torch.Tensor":
        length: int = self.network.config.text_config.max_position_embeddings
        text, padding = (text.lower(), "max_length") if self.filled else (text, False)
        tokens = self.tokenizer([text], padding=padding, truncation=True, max_length=length, return_tensors="pt")
        return self.network.get_text_features(input_ids=tokens["input_ids"].to(self.device)).pooler_output[0]


def _network(folder: "Path", name: str, backend: str) -> Any:
    import torch
    from transformers import CLIPModel, SiglipModel

    return whole_model(CLIPModel if backend == "clip" else SiglipModel, folder, name, dtype=torch.float32)


def _folder(config: NamedModelConfig, revision: str, backend: str) -> "Path":
    """Where the model is, once it is of the family that the backend is for.

    Raises:
        UserError: it is not.
    """
    from transformers import AutoConfig

    folder = model_folder(config.model, revision)
    family = AutoConfig.from_pretrained(folder, local_files_only=True).model_type
    if family != backend:
        flexible = " of flexible resolution; those of a fixed one can be used" if family == "siglip2" else ""
        raise UserError(f"backend {backend} cannot use model {config.model!r}, which is a {family} model{flexible}")
    return folder
