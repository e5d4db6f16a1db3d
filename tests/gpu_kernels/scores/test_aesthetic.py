"""The aesthetic score: the head's arithmetic layer by layer, and the whole against pixels and a CLIP by hand."""

from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from pydantic import ValidationError
from safetensors.numpy import save_file

from gpu_kernels.errors import UserError
from gpu_kernels.scores.aesthetic import AestheticRater, AestheticScoresConfig, folded, read_layers


def head(folder: Path, widths: tuple[int, ...] = (768, 1024, 128, 64, 16, 1)) -> dict[str, np.ndarray]:
    """Random weights under the names and in the sizes of the reference's, saved."""
    random, tensors = np.random.default_rng(3), dict[str, np.ndarray]()
    for number, (taken, given) in zip((0, 2, 4, 6, 7), pairwise(widths), strict=False):
        tensors[f"layers.{number}.weight"] = random.normal(0, taken**-0.5, (given, taken)).astype(np.float32)
        tensors[f"layers.{number}.bias"] = random.normal(0, 1, given).astype(np.float32)
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    return tensors


def test_layers_without_activations_are_one(tmp_path: Path) -> None:
    tensors = head(tmp_path)
    features = np.random.default_rng(4).normal(0, 1, 768)
    features /= np.linalg.norm(features)
    expected = features
    for number in (0, 2, 4, 6, 7):
        expected = tensors[f"layers.{number}.weight"].astype(float) @ expected + tensors[f"layers.{number}.bias"]
    weight, bias = folded(read_layers(tmp_path), "head")
    assert features @ weight + bias == pytest.approx(expected[0], rel=1e-9)


def test_a_file_that_is_no_head_is_an_error_that_names_it(tmp_path: Path) -> None:
    head(tmp_path / "wide", (8, 4, 2))
    with pytest.raises(UserError, match="'wide' gives 2 numbers"):
        folded(read_layers(tmp_path / "wide"), "wide")
    (tmp_path / "other").mkdir()
    save_file({"embeddings.weight": np.zeros((2, 2), np.float32)}, tmp_path / "other" / "model.safetensors")
    with pytest.raises(UserError, match=r"embeddings\.weight"):
        read_layers(tmp_path / "other")


def test_it_has_no_model_until_both_are_named(tmp_path: Path) -> None:
    assert AestheticScoresConfig().identity() == ("none", "none") and AestheticScoresConfig().models() == ()
    for given in ({}, {"model": "/models/clip"}, {"head": "/models/head"}):
        with pytest.raises(ValidationError, match="needs `model`, a CLIP, and `head`"):
            AestheticScoresConfig(enabled=True, **given)
    with pytest.raises(ValidationError, match="needs `revision`"):
        AestheticScoresConfig(enabled=True, model="owner/clip", head=str(tmp_path))


@pytest.mark.deep
def test_a_score_is_what_a_clip_and_the_layers_give_by_hand(tmp_path: Path, tiny_models: ModuleType) -> None:
    import torch
    from PIL import Image
    from safetensors.torch import load_file
    from transformers import CLIPModel

    clip, layers = tiny_models.tiny_clip(tmp_path / "clip"), tiny_models.tiny_aesthetic_head(tmp_path / "head")
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    settings = AestheticScoresConfig(enabled=True, model=str(clip), head=str(layers), device="cpu")
    found = AestheticRater(settings)(picture)
    shrunk = Image.fromarray(picture).resize((42, 32), Image.Resampling.BICUBIC).crop((5, 0, 37, 32))
    mean, deviation = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    pixels = (np.asarray(shrunk) / 255 - mean) / deviation
    with torch.inference_mode():
        inputs = torch.from_numpy(pixels).float().permute(2, 0, 1)[None]
        x = CLIPModel.from_pretrained(clip).eval().get_image_features(pixel_values=inputs).pooler_output
        x = x / x.norm()
        weights = load_file(layers / "model.safetensors")
        for number in (0, 2, 4, 6, 7):
            x = x @ weights[f"layers.{number}.weight"].T + weights[f"layers.{number}.bias"]
    assert found == pytest.approx(x.item(), abs=1e-4)
    other = tiny_models.tiny_aesthetic_head(tmp_path / "other", features=30)
    with pytest.raises(UserError, match=r"rates 30 features, and the CLIP .* gives 24"):
        AestheticRater(settings.model_copy(update={"head": str(other)}))
