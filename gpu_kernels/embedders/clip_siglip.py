"""The image towers of CLIP and SigLIP, from a folder or a hub."""

from typing import TYPE_CHECKING, Any

from gpu_kernels.embedders.torch_embedder import TorchEmbedder
from gpu_kernels.embedders.types import ClipEmbeddingsConfig, Embedder
from gpu_kernels.errors import UserError
from gpu_kernels.models.files import model_source, whole_model

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image


def image_tower(config: ClipEmbeddingsConfig, name: str, revision: str, device: "torch.device") -> Embedder:
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

    return TorchEmbedder(name, revision, dimension, device, pixels, features)
