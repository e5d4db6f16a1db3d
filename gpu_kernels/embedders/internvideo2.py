"""InternVideo2 of stage 2, from its checkpoint as safetensors: four frames of a clip at once, and words by BERT."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from gpu_kernels.embedders.named_model import NamedModelConfig
from gpu_kernels.embedders.types import ClipEmbedder, TextEmbedder, check_frames, unit_rows
from gpu_kernels.errors import NotThere, UserError
from gpu_kernels.models.files import torch_device
from gpu_kernels.models.resolve import model_folder

if TYPE_CHECKING:
    import torch

_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
_LONGEST = 40
"""Tokens of a text."""
_VISION, _TEXT = ("vision_encoder.", "vision_proj."), ("text_encoder.bert.", "text_proj.")
_OTHERS = re.compile(
    r"temp|itm_head\..+|text_encoder\.cls\..+|text_encoder\.bert\.embeddings\.position_ids"
    r"|vision_encoder\.((final_)?clip_decoder\..+|clip_(img_)?pos_embed)"
)
"""Weights of the checkpoint that only its training needs."""


class InternVideo2Config(NamedModelConfig):
    """InternVideo2 of stage 2, for meaning: four frames of a clip at once. Its checkpoint is a pickle: make a folder of
    it as [models](models.md#internvideo2) says."""

    knows_words: ClassVar[bool] = True

    backend: Literal["internvideo2"] = "internvideo2"

    def load(self) -> ClipEmbedder:
        import torch

        from gpu_kernels.embedders.internvideo2_network import Sizes, VisionTower

        name, revision = self.identity()
        device = torch_device(self.device)
        state = _part(model_folder(self.model, revision), name, _VISION)
        tower = _below(state, "vision_encoder.")
        try:
            sizes = Sizes.of(tower)
        except KeyError as absent:
            raise UserError(f"model {name!r} lacks the weight vision_encoder.{absent.args[0]}") from absent
        with torch.device("meta"):
            network = VisionTower(sizes)
        _load(network, tower, name, "vision_encoder.")
        projection = _projection(_below(state, "vision_proj."), name, "vision_proj.")
        whole = torch.nn.Sequential(network, projection).to(device).eval()
        return _Clips(name, revision, sizes.frames, sizes.side * sizes.patch, device, whole)

    def load_text(self) -> TextEmbedder:
        from transformers import BertTokenizer

        name, revision = self.identity()
        device = torch_device(self.device)
        folder = model_folder(self.model, revision)
        if not (folder / "vocab.txt").is_file():
            raise NotThere(f"model {name!r} has no vocab.txt: copy it from google-bert/bert-large-uncased")
        tokenizer = BertTokenizer.from_pretrained(folder, local_files_only=True)
        state = _part(folder, name, _TEXT)
        network = _bert(_below(state, "text_encoder.bert."), name).to(device)
        projection = _projection(_below(state, "text_proj."), name, "text_proj.").to(device)
        return _Words(name, revision, device, tokenizer, network, projection)


@dataclass(frozen=True)
class _Clips:
    """One clip at a time, so that its vector depends on nothing beside it."""

    name: str
    revision: str
    frames: int
    side: int
    device: "torch.device"
    network: Any

    def embed_clip(self, frames: Sequence[np.ndarray]) -> np.ndarray:
        import torch

        check_frames(frames)
        if len(frames) not in (1, self.frames):
            raise ValueError(f"model {self.name!r} takes {self.frames} frames or one, got {len(frames)}")
        pixels = np.stack([prepared(frame, self.side) for frame in frames])
        with torch.inference_mode():
            inputs = torch.from_numpy(pixels).permute(3, 0, 1, 2)[None].to(self.device)
            return unit_rows(self.network(inputs).double().cpu().numpy())[0]


def prepared(frame: np.ndarray, side: int) -> np.ndarray:
    """A picture, uint8 [h, w, 3], squeezed to a square (bilinear, not antialiased) and normalised: float32 [side, side,
    3], as InternVideo2's own demo and Cosmos-Curate do."""
    import cv2

    return (cv2.resize(frame, (side, side)) / np.float32(255) - _MEAN) / _DEVIATION


@dataclass(frozen=True)
class _Words:
    """One text at a time, filled up to 40 tokens, the filling masked."""

    name: str
    revision: str
    device: "torch.device"
    tokenizer: Any
    network: Any
    projection: Any

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        import torch

        rows = np.empty((len(texts), self.projection.out_features))
        with torch.inference_mode():
            for row, text in zip(rows, texts, strict=True):
                tokens = self.tokenizer(
                    [text], padding="max_length", truncation=True, max_length=_LONGEST, return_tensors="pt"
                ).to(self.device)
                found = self.network(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
                row[:] = self.projection(found.last_hidden_state[0, 0]).double().cpu().numpy()
        return unit_rows(rows)


def _bert(state: "Mapping[str, torch.Tensor]", name: str) -> Any:
    """The layers of BERT before those that look at pictures, too: these alone read a text by itself."""
    from transformers import BertConfig, BertModel

    layers = {int(match[1]) for match in map(re.compile(r"encoder\.layer\.(\d+)\.").match, state) if match}
    looking = {int(match[1]) for match in map(re.compile(r"encoder\.layer\.(\d+)\.cross").match, state) if match}
    reading = min(looking, default=len(layers))
    kept = {key: value for key, value in state.items() if _layer(key) < reading}
    try:
        words, width = kept["embeddings.word_embeddings.weight"].shape
        config = BertConfig(
            vocab_size=words,
            hidden_size=width,
            num_hidden_layers=reading,
            num_attention_heads=16,
            intermediate_size=kept["encoder.layer.0.intermediate.dense.weight"].shape[0],
            max_position_embeddings=kept["embeddings.position_embeddings.weight"].shape[0],
            type_vocab_size=kept["embeddings.token_type_embeddings.weight"].shape[0],
        )
    except KeyError as absent:
        raise UserError(f"model {name!r} lacks the weight text_encoder.bert.{absent.args[0]}") from absent
    network = BertModel(config, add_pooling_layer=False)
    _load(network, kept, name, "text_encoder.bert.")
    return network.eval()


def _layer(key: str) -> int:
    found = re.match(r"encoder\.layer\.(\d+)\.", key)
    return int(found[1]) if found else -1


def _projection(state: "Mapping[str, torch.Tensor]", name: str, prefix: str) -> Any:
    import torch

    if "weight" not in state:
        raise UserError(f"model {name!r} lacks the weight {prefix}weight")
    rows, columns = state["weight"].shape
    projection = torch.nn.Linear(columns, rows)
    _load(projection, state, name, prefix)
    return projection


def _load(network: Any, state: "Mapping[str, torch.Tensor]", name: str, prefix: str) -> None:
    """All weights of a network, and no others.

    Raises:
        UserError: one is missing, unknown or of another shape.
    """
    try:
        network.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise UserError(f"model {name!r} is no InternVideo2 of stage 2: {prefix[:-1]}: {error}") from error


def _below(state: "Mapping[str, torch.Tensor]", prefix: str) -> "dict[str, torch.Tensor]":
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _part(folder: Path, name: str, prefixes: Collection[str]) -> "dict[str, torch.Tensor]":
    """The weights of one side in float32, by name, without those of the training; others are not read.

    Raises:
        UserError: the folder has a weight that no InternVideo2 of stage 2 has.
    """
    import torch

    state: dict[str, torch.Tensor] = {}
    for key, file in _weights(folder):
        if _OTHERS.fullmatch(key):
            continue
        if not key.startswith((*_VISION, *_TEXT)):
            raise UserError(f"model {name!r} is no InternVideo2 of stage 2: it has an unknown weight {key}")
        if key.startswith(tuple(prefixes)):
            state[key] = file.get_tensor(key).float()
    return state


def _weights(folder: Path) -> Iterator[tuple[str, Any]]:
    from safetensors import safe_open

    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for key in file.keys():  # noqa: SIM118
                yield key, file
