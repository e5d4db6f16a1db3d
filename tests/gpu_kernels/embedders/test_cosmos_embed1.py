"""Cosmos-Embed1: a folder whose own code has the interface of the published one."""

import json
from pathlib import Path

import numpy as np
import pytest

from gpu_kernels.embedders.cosmos_embed1 import CosmosEmbed1Config
from gpu_kernels.embedders.types import embedded
from gpu_kernels.errors import UserError

_CONFIGURATION = """
from transformers import PretrainedConfig

class Embed1Config(PretrainedConfig):
    model_type = "cosmos-embed1"

    def __init__(self, embed_dim=12, **rest):
        self.embed_dim = embed_dim
        super().__init__(**rest)
"""
_MODEL = """
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from .configuration_embed1 import Embed1Config

@dataclass
class VideoOutput:
    visual_proj: torch.Tensor

@dataclass
class TextOutput:
    text_proj: torch.Tensor

class Embed1(PreTrainedModel):
    config_class = Embed1Config

    def __init__(self, config):
        super().__init__(config)
        self.visual = torch.nn.Linear(3, config.embed_dim)
        self.text = torch.nn.Embedding(128, config.embed_dim)
        self.post_init()

    def get_video_embeddings(self, videos):
        weights = torch.arange(1.0, videos.shape[2] + 1)
        return VideoOutput(self.visual((videos.mean((3, 4)) * weights).mean(2)))

    def get_text_embeddings(self, input_ids, attention_mask):
        return TextOutput(self.text(input_ids).mean(1))
"""
_PROCESSOR = """
import torch
from transformers import BatchFeature, ProcessorMixin

class Embed1Processor(ProcessorMixin):
    attributes = []

    def __init__(self, num_video_frames=4, **rest):
        super().__init__()
        self.num_video_frames = num_video_frames

    def __call__(self, videos=None, text=None, return_tensors=None):
        if text is not None:
            ids = torch.tensor([[ord(letter) for letter in each] for each in text])
            return BatchFeature({"input_ids": ids, "attention_mask": torch.ones_like(ids)})
        assert videos.dtype == "uint8" and videos.shape[1] == self.num_video_frames
        return BatchFeature({"videos": torch.tensor(videos).permute(0, 2, 1, 3, 4) / 255})
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import torch
    from safetensors.torch import save_file

    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = tmp_path / "Cosmos-Embed1-224p"
    folder.mkdir()
    for name, code in (("configuration", _CONFIGURATION), ("modeling", _MODEL), ("processing", _PROCESSOR)):
        (folder / f"{name}_embed1.py").write_text(code)
    named = {"AutoConfig": "configuration_embed1.Embed1Config", "AutoModel": "modeling_embed1.Embed1"}
    config = {"model_type": "cosmos-embed1", "embed_dim": 12, "auto_map": named}
    (folder / "config.json").write_text(json.dumps(config))
    named = {"AutoProcessor": "processing_embed1.Embed1Processor"}
    processor = {"processor_class": "Embed1Processor", "num_video_frames": 4, "auto_map": named}
    (folder / "processor_config.json").write_text(json.dumps(processor))
    torch.manual_seed(0)
    weights = {"visual.weight": torch.randn(12, 3), "visual.bias": torch.randn(12), "text.weight": torch.randn(128, 12)}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def pinned(folder: Path, **settings: object) -> CosmosEmbed1Config:
    config = CosmosEmbed1Config.model_validate({"model": str(folder), "device": "cpu"})
    with pytest.raises(UserError, match="set revision: ") as said:
        config.identity()
    revision = str(said.value).rpartition(" ")[2]
    return config.model_copy(update={"revision": revision, **settings})


def test_clips_and_words_by_the_code_of_the_folder(folder: Path, noise: list[np.ndarray]) -> None:
    from safetensors.numpy import load_file

    config = pinned(folder, trust_code=True)
    embedder, weights = config.load(), load_file(folder / "model.safetensors")
    frames = [frame[:33, :40] for frame in noise]
    for clip in (frames, frames[:1]):
        vector, used = embedded(embedder, clip)
        means = np.stack([frame.mean((0, 1)) / 255 for frame in clip])
        mean = (means * np.arange(1, len(clip) + 1)[:, None]).mean(0)
        expected = weights["visual.weight"] @ mean + weights["visual.bias"]
        np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-5)
        assert used == len(clip)
    assert embedder.embed_clip(noise).shape == (12,)  # of different sizes
    words = config.load_text().embed_text(["red", "a car"])
    expected = weights["text.weight"][[ord(letter) for letter in "a car"]].mean(0)
    np.testing.assert_allclose(words[1], expected / np.linalg.norm(expected), atol=1e-5)
    assert config.load_text().embed_text([]).shape == (0, 12)


def test_code_is_run_only_where_it_is_pinned_and_allowed(folder: Path) -> None:
    trap = folder.parent / "ran"
    (folder / "modeling_embed1.py").write_text(f"open({str(trap)!r}, 'w').close()\n{_MODEL}")
    config = pinned(folder)
    with pytest.raises(UserError, match="trust_code: true"):
        config.load()
    allowed = config.model_copy(update={"trust_code": True})
    (folder / "modeling_embed1.py").write_text(f"open({str(trap)!r}, 'w').close()\n\n{_MODEL}")
    with pytest.raises(UserError, match="pins revision"):
        allowed.load()
    assert not trap.exists()
    assert allowed.settings() == config.settings()


def test_code_of_other_repositories_and_code_that_does_not_run_are_errors(folder: Path) -> None:
    original = json.loads((folder / "config.json").read_text())
    changed = original | {"auto_map": {"AutoModel": "someone/else--modeling.Embed1"}}
    (folder / "config.json").write_text(json.dumps(changed))
    with pytest.raises(UserError, match="code of another repository"):
        pinned(folder, trust_code=True).load()
    (folder / "config.json").write_text(json.dumps(original))
    (folder / "modeling_embed1.py").write_text("import a_package_that_is_not_installed\n" + _MODEL)
    with pytest.raises(UserError, match=r"does not run here.*a_package_that_is_not_installed.*engine\.environments"):
        pinned(folder, trust_code=True).load()
