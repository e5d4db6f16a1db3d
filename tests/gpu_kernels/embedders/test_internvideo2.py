"""InternVideo2 on a tiny checkpoint of the published names, against NumPy in float64 and transformers' BERT."""

from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.special import erf, softmax
from transformers import BertConfig, BertModel, BertTokenizer

from gpu_kernels.embedders.internvideo2 import InternVideo2Config, prepared
from gpu_kernels.embedders.internvideo2_convert import convert
from gpu_kernels.embedders.types import embedded
from gpu_kernels.errors import UserError

State = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def folder(tiny_models: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.tiny_internvideo2(tmp_path_factory.mktemp("models") / "iv2")


def heads(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Attention with 16 heads of [n, c]."""
    size = q.shape[1] // 16
    cut = [slice(h * size, (h + 1) * size) for h in range(16)]
    return np.concatenate([softmax(q[:, s] @ k[:, s].T / size**0.5, axis=1) @ v[:, s] for s in cut], axis=1)


def layer_norm(x: np.ndarray, w: State, name: str) -> np.ndarray:
    centred = x - x.mean(1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]


def rms(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-6) * weight


def tower(pixels: np.ndarray, w: State) -> np.ndarray:
    """The vector of frames [t, side, side, 3]."""
    kernel = w["vision_encoder.patch_embed.proj.weight"][:, :, 0]
    patch = kernel.shape[-1]
    x = []
    for frame in pixels:
        for top in range(0, frame.shape[0], patch):
            for left in range(0, frame.shape[1], patch):
                x.append(np.einsum("yxc,dcyx->d", frame[top : top + patch, left : left + patch], kernel))
    x = np.array(x) + w["vision_encoder.patch_embed.proj.bias"]
    positions = w[f"vision_encoder.{'img_' if len(pixels) == 1 else ''}pos_embed"][0]
    x = np.concatenate([w["vision_encoder.cls_token"][0], x]) + positions
    for number in range(2):
        b = {key.split(f"blocks.{number}.")[1]: value for key, value in w.items() if f"blocks.{number}." in key}
        q, k, v = np.split(rms(x, b["norm1.weight"]) @ b["attn.qkv.weight"].T, 3, axis=1)
        seen = heads(rms(q, b["attn.q_norm.weight"]), rms(k, b["attn.k_norm.weight"]), v)
        x = x + (seen @ b["attn.proj.weight"].T + b["attn.proj.bias"]) * b["ls1.gamma"]
        hidden = rms(x, b["norm2.weight"]) @ b["mlp.fc1.weight"].T + b["mlp.fc1.bias"]
        hidden = hidden * (1 + erf(hidden / 2**0.5)) / 2
        x = x + (hidden @ b["mlp.fc2.weight"].T + b["mlp.fc2.bias"]) * b["ls2.gamma"]
    p = {key.split("clip_projector.")[1]: value for key, value in w.items() if "clip_projector." in key}
    inputs = [(x.mean(0, keepdims=True), "q"), (x, "k"), (x, "v")]
    qkv = [
        layer_norm(each, p, f"norm1_{n}") @ p[f"cross_attn.{n}.weight"].T + p[f"cross_attn.{n}_bias"]
        for each, n in inputs
    ]
    pooled = heads(*qkv) @ p["cross_attn.proj.weight"].T + p["cross_attn.proj.bias"]
    found = (pooled @ w["vision_proj.weight"].T + w["vision_proj.bias"])[0]
    return found / np.linalg.norm(found)


def test_clips_and_pictures_equal_the_architecture_in_numpy(folder: Path, noise: list[np.ndarray]) -> None:
    config = InternVideo2Config(model=str(folder), device="cpu")
    embedder = config.load()
    weights = {name: value.double().numpy() for name, value in load_file(folder / "model.safetensors").items()}
    for frames in (noise, noise[:1]):
        pixels = np.stack([prepared(frame, 28) for frame in frames]).astype(np.float64)
        vector = embedder.embed_clip(frames)
        assert vector.dtype == np.float32
        np.testing.assert_allclose(vector, tower(pixels, weights), atol=1e-5)
    # Of nine frames every second, the first four.
    many = [*noise, *noise[::-1], noise[0]]
    vector, used = embedded(embedder, many)
    assert used == embedder.frames == 4
    assert np.array_equal(vector, embedder.embed_clip(many[:8:2]))
    with pytest.raises(ValueError, match="takes 4 frames"):
        embedder.embed_clip(noise[:2])


def test_frames_are_prepared_as_the_reference_does(noise: list[np.ndarray]) -> None:
    """Its own lines: OpenCV's default scaling, not that of Pillow."""
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    for frame in noise:
        expected = (cv2.resize(frame, (224, 224), interpolation=cv2.INTER_LINEAR) / 255 - mean) / deviation
        assert np.abs(prepared(frame, 224) - expected).max() < 1e-5


def test_words_are_read_by_the_layers_before_those_that_look(folder: Path) -> None:
    words = InternVideo2Config(model=str(folder), device="cpu").load_text()
    state = load_file(folder / "model.safetensors")
    size: dict[str, Any] = {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 16,
    }
    bert = BertModel(BertConfig(**size, vocab_size=16, max_position_embeddings=48), add_pooling_layer=False).eval()
    own = {key.removeprefix("text_encoder.bert."): value for key, value in state.items() if ".bert." in key}
    bert.load_state_dict({key: value for key, value in own.items() if key in bert.state_dict()})
    tokenizer = BertTokenizer.from_pretrained(folder)
    texts = ["A dog runs", "car " * 100]
    with torch.inference_mode():
        tokens = tokenizer(texts, padding="max_length", truncation=True, max_length=40, return_tensors="pt")
        first = bert(tokens["input_ids"], attention_mask=tokens["attention_mask"]).last_hidden_state[:, 0]
        expected = first @ state["text_proj.weight"].T + state["text_proj.bias"]
    found = words.embed_text(texts)
    np.testing.assert_allclose(found, torch.nn.functional.normalize(expected, dim=1).numpy(), atol=1e-5)
    assert np.array_equal(words.embed_text(texts[1:])[0], found[1])
    assert words.embed_text([]).shape == (0, found.shape[1])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"vision_encoder.blocks.1.ls1.gamma": None}, "blocks.1.ls1.gamma"),
        ({"vision_encoder.img_pos_embed": None}, "lacks the weight vision_encoder.img_pos_embed"),
        ({"vision_encoder.blocks.0.attn.more": torch.zeros(2)}, "blocks.0.attn.more"),
        ({"audio_encoder.weight": torch.zeros(2)}, "unknown weight audio_encoder.weight"),
        ({"vision_proj.bias": torch.zeros(2)}, "size mismatch"),
    ],
)
def test_missing_and_unknown_weights_are_errors(
    folder: Path, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    state = load_file(folder / "model.safetensors") | change
    save_file({key: value for key, value in state.items() if value is not None}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=said):
        InternVideo2Config(model=str(tmp_path), device="cpu").load()


def test_the_published_pickle_becomes_a_folder(folder: Path, tmp_path: Path, noise: list[np.ndarray]) -> None:
    state = load_file(folder / "model.safetensors")
    torch.save({"module": state | {"itm_head.bias": state["itm_head.bias"]}, "step": 3}, tmp_path / "iv2.pt")
    convert(tmp_path / "iv2.pt", folder, tmp_path / "made")
    made, known = (InternVideo2Config(model=str(each), device="cpu") for each in (tmp_path / "made", folder))
    assert made.identity()[1] == known.identity()[1]
    assert np.array_equal(made.load().embed_clip(noise), known.load().embed_clip(noise))

    torch.save({"model": {"weight": pytest.approx}}, tmp_path / "code.pt")
    with pytest.raises(UserError, match="tensors alone"):
        convert(tmp_path / "code.pt", folder, tmp_path / "never")
