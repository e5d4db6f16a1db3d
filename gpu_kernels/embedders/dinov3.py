"""DINOv3 (O. Simeoni et al. 2025, arXiv 2508.10104): a vision transformer trained without texts, so it has no words."""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gpu_kernels.embedders.named_model import NamedModelConfig
from gpu_kernels.embedders.torch_embedder import TorchEmbedder
from gpu_kernels.embedders.types import Embedder
from gpu_kernels.errors import UserError
from gpu_kernels.models.files import torch_device, whole_model
from gpu_kernels.models.resolve import model_folder

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image


class Dinov3Config(NamedModelConfig):
    """A DINOv3 vision transformer, for what things look like: it has no text side."""

    backend: Literal["dinov3"] = "dinov3"

    def load(self) -> Embedder:
        import torch
        from transformers import AutoConfig, DINOv3ViTModel
        from transformers.image_processing_base import ImageProcessingMixin

        name, revision = self.identity()
        device = torch_device(self.device)
        folder = model_folder(self.model, revision)
        family = AutoConfig.from_pretrained(folder, local_files_only=True).model_type
        if family != "dinov3_vit":
            raise UserError(f"backend dinov3 cannot use model {name!r}, which is a {family} model")
        settings, _ = ImageProcessingMixin.get_image_processor_dict(folder, local_files_only=True)
        prepared = _preparation(settings, name)
        network = whole_model(DINOv3ViTModel, folder, name, dtype=torch.float32).to(device)

        def features(inputs: "torch.Tensor") -> "torch.Tensor":
            return network(pixel_values=inputs).pooler_output  # the normalised class token

        return TorchEmbedder(name, revision, network.config.hidden_size, device, prepared, features)


def _preparation(settings: dict[str, Any], name: str) -> Any:
    """What the model's own processor does, which needs torchvision: values to [0, 1], the whole picture squeezed to the
    model's square (bilinear, antialiased, in float32), mean and deviation.

    Raises:
        UserError: the processor's settings ask for something else.
    """
    import torch
    from torch.nn.functional import interpolate

    size = settings.get("size", {})
    expected = {"do_resize": True, "do_rescale": True, "do_normalize": True, "resample": 2, "do_center_crop": None}
    other = [key for key, value in expected.items() if (settings.get(key, value) or None) != (value or None)]
    if other or {*size} != {"height", "width"} or abs(settings.get("rescale_factor", 1 / 255) * 255 - 1) > 1e-6:
        asked = ", ".join(other) or "size or rescale_factor"
        raise UserError(f"the preprocessor_config.json of model {name!r} is not DINOv3's: see {asked} in it")
    mean = torch.tensor(settings.get("image_mean", [0.485, 0.456, 0.406]))[:, None, None]
    deviation = torch.tensor(settings.get("image_std", [0.229, 0.224, 0.225]))[:, None, None]

    def pixels(image: "Image") -> "torch.Tensor":
        values = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
        scaled = interpolate(values[None], (size["height"], size["width"]), mode="bilinear", antialias=True)[0]
        return (scaled - mean) / deviation

    return pixels
