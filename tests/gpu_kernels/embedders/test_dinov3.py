import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import DINOv3ViTModel

from gpu_kernels.embedders.dinov3 import Dinov3Config
from gpu_kernels.errors import UserError


def squeezed(frame: np.ndarray, side: int) -> np.ndarray:
    """As the model's processor does by torchvision, here by Pillow in float32: bilinear, antialiased."""
    bands = [Image.fromarray(band.astype(np.float32) / 255, "F") for band in np.moveaxis(frame, 2, 0)]
    scaled = [np.asarray(band.resize((side, side), Image.Resampling.BILINEAR)) for band in bands]
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    return (np.stack(scaled) - mean[:, None, None]) / deviation[:, None, None]


def test_vectors_equal_the_model_on_pixels_of_another_library(
    tiny_models: ModuleType, tmp_path: Path, noise: list[np.ndarray]
) -> None:
    folder = tiny_models.tiny_dinov3(tmp_path / "dino")
    embedder: Any = Dinov3Config(model=str(folder), device="cpu").load()
    pixels = np.stack([squeezed(frame, 32) for frame in noise])
    ours = np.stack([embedder.pixels(Image.fromarray(frame)).numpy() for frame in noise])
    assert np.abs(ours - pixels).max() < 1e-3
    with torch.inference_mode():
        model: Any = DINOv3ViTModel.from_pretrained(folder).eval()
        expected = torch.nn.functional.normalize(model(torch.tensor(pixels).float()).pooler_output, dim=1).numpy()
    vectors = embedder.embed(noise)
    np.testing.assert_allclose(vectors, expected, atol=1e-4)
    assert vectors.shape == (4, embedder.dimension)
    assert np.array_equal(embedder.embed(noise[2:3])[0], vectors[2])
    assert not Dinov3Config(model=str(folder)).knows_words


def test_another_preparation_is_an_error(tiny_models: ModuleType, tmp_path: Path) -> None:
    folder = tiny_models.tiny_dinov3(tmp_path / "dino")
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps(settings | {"do_center_crop": True}))
    with pytest.raises(UserError, match="do_center_crop"):
        Dinov3Config(model=str(folder), device="cpu").load()
