"""The image towers of CLIP and SigLIP, from a folder or a hub."""

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from gpu_kernels.embedders.torch_embedder import TorchEmbedder
from gpu_kernels.embedders.types import ClipEmbeddingsConfig, Embedder
from gpu_kernels.errors import UserError
from gpu_kernels.models.files import torch_device, whole_model
from gpu_kernels.models.resolve import check_hub_pin, model_folder, pinned_model
from gpu_kernels.models.section import Wanted

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image


class ImageTowerConfig(ClipEmbeddingsConfig):
    """A model with an image tower."""

    model: str = Field(min_length=1)
    """A folder in the transformers format (config, preprocessor, safetensors), a hub id `owner/name`, or the name of a
    model that `curate models list` shows."""
    revision: str | None = None
    """Commit (40 hexadecimal digits) of a hub id, needed with one. With a folder it is optional and pins the folder's
    content: the 16 digits that loading would report."""

    @model_validator(mode="after")
    def _pinned(self) -> "ImageTowerConfig":
        check_hub_pin(self.model, self.revision)
        return self

    def identity(self) -> tuple[str, str]:
        return pinned_model(self.model, self.revision)

    def models(self) -> tuple[Wanted, ...]:
        return (Wanted(self.model, self.revision),)


class ClipConfig(ImageTowerConfig):
    """The image tower of a CLIP, for meaning."""

    backend: Literal["clip"] = "clip"

    def load(self) -> Embedder:
        return _image_tower(self, self.backend)


class SiglipConfig(ImageTowerConfig):
    """The image tower of a SigLIP, for meaning."""

    backend: Literal["siglip"] = "siglip"

    def load(self) -> Embedder:
        return _image_tower(self, self.backend)


def _image_tower(config: ImageTowerConfig, backend: str) -> Embedder:
    """The image side of CLIP (projected) or SigLIP (pooled), as transformers computes its image features."""
    import torch
    from transformers import AutoConfig, AutoImageProcessor, CLIPModel, SiglipModel

    name, revision = config.identity()
    device = torch_device(config.device)
    folder = model_folder(config.model, revision)
    family = AutoConfig.from_pretrained(folder, local_files_only=True).model_type
    if family != backend:
        raise UserError(f"backend {backend} cannot use model {name!r}, which is a {family} model")
    # The PIL backend: torchvision is not needed then, and installing it cannot change the numbers.
    processor: Any = AutoImageProcessor.from_pretrained(folder, backend="pil", local_files_only=True)
    network = whole_model(CLIPModel if family == "clip" else SiglipModel, folder, name, dtype=torch.float32)
    network.text_model = torch.nn.Identity()  # the larger half of the memory, and never asked
    network.to(device)
    dimension: int = network.config.projection_dim if family == "clip" else network.config.vision_config.hidden_size

    def pixels(image: "Image") -> "torch.Tensor":
        return processor(images=image, return_tensors="pt")["pixel_values"][0]

    def features(inputs: "torch.Tensor") -> "torch.Tensor":
        return network.get_image_features(pixel_values=inputs).pooler_output

    return TorchEmbedder(name, revision, dimension, device, pixels, features)
