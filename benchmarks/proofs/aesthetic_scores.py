"""The arithmetic of the reference's score on a CLIP ViT-L/14 and a head of its sizes, with random weights: no real ones
could be had. How well it rates pictures is not shown by this."""

# pyright: basic

from itertools import pairwise
from pathlib import Path

import numpy as np
from proof_pictures import pictures_per_second

from gpu_kernels.scores.aesthetic import AestheticRater, AestheticScoresConfig
from proofs.proof import Material, Proof

PICTURES = 3
"""Of each of the first films: a picture costs seconds."""
FILMS = 4
MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
LAYERS = (0, 2, 4, 6, 7)
WIDTHS = (768, 1024, 128, 64, 16, 1)


def random_clip(folder: Path, seed: int) -> Path:
    """A ViT-L/14 for 224 pixels; the side of texts, which nobody asks, is small."""
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    torch.manual_seed(seed)
    sizes = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
    vision = {**sizes, "patch_size": 14, "image_size": 224}
    text = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=768)).save_pretrained(folder)
    CLIPImageProcessor().save_pretrained(folder)
    return folder


def random_head(folder: Path, seed: int) -> Path:
    """Five linear layers without anything between them."""
    from safetensors.numpy import save_file

    random, tensors = np.random.default_rng(seed), {}
    for number, (taken, given) in zip(LAYERS, pairwise(WIDTHS), strict=True):
        tensors[f"layers.{number}.weight"] = random.normal(0, taken**-0.5, (given, taken)).astype(np.float32)
        tensors[f"layers.{number}.bias"] = random.normal(0, 1, given).astype(np.float32)
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    return folder


def by_hand(clip: Path, head: Path):
    """The score of a picture: prepared by Pillow, the layers one after the other."""
    import torch
    from PIL import Image
    from safetensors.torch import load_file
    from transformers import CLIPModel

    model, weights = CLIPModel.from_pretrained(clip).eval(), load_file(head / "model.safetensors")

    def score(picture: np.ndarray) -> float:
        high, wide = picture.shape[:2]
        size = (224 * wide // min(high, wide), 224 * high // min(high, wide))
        shrunk = Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC)
        left, top = (size[0] - 224) // 2, (size[1] - 224) // 2
        pixels = (np.asarray(shrunk.crop((left, top, left + 224, top + 224))) / 255 - MEAN) / DEVIATION
        with torch.inference_mode():
            taken = torch.from_numpy(pixels).float().permute(2, 0, 1)[None]
            x = model.visual_projection(model.vision_model(taken).pooler_output)
            x = x / x.norm()
            for number in LAYERS:
                x = x @ weights[f"layers.{number}.weight"].T + weights[f"layers.{number}.bias"]
        return x.item()

    return score


def prove(material: Material) -> Proof:
    """Differences to the arithmetic by hand, beside the spread of the scores."""
    clip = random_clip(material.scratch / "clip", material.seed)
    head = random_head(material.scratch / "head", material.seed)
    settings = AestheticScoresConfig(enabled=True, model=str(clip), head=str(head), device="cpu")
    rate, expected = AestheticRater(settings), by_hand(clip, head)
    proof = Proof(("pictures", "scores", "greatest difference to the arithmetic by hand"))
    differences, scores = [], []
    for path in material.footage[:FILMS]:
        pictures = list(pictures_per_second(path, PICTURES))
        with proof.timed(len(pictures)):
            found = [rate(picture) for picture in pictures]
        off = [abs(own - expected(picture)) for own, picture in zip(found, pictures, strict=True)]
        proof.rows.append((f"{path.stem}, {len(pictures)}", f"{min(found):.3f} to {max(found):.3f}", f"{max(off):.1e}"))
        differences += off
        scores += found
    proof.figures |= {"greatest_difference": max(differences), "spread": max(scores) - min(scores)}
    return proof
