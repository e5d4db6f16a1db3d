"""Cosmos-Embed1 of NVIDIA (224p, 336p, 448p), by the code in its own checkpoint, which is run only when it is pinned
and allowed."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from gpu_kernels.embedders.types import ClipEmbedder, ClipEmbeddingsConfig, TextEmbedder, check_frames, unit_rows
from gpu_kernels.errors import NotThere, UserError
from gpu_kernels.models.files import folder_revision, torch_device, whole_model

if TYPE_CHECKING:
    import torch


class CosmosEmbed1Config(ClipEmbeddingsConfig):
    """Cosmos-Embed1, for meaning: several frames of a clip at once, as many as its processor says. It is run by the
    Python code in its folder, prepares frames by its own processor, and needs what that code imports."""

    without_effect: ClassVar[frozenset[str]] = ClipEmbeddingsConfig.without_effect | {"trust_code"}
    knows_words: ClassVar[bool] = True

    backend: Literal["cosmos_embed1"] = "cosmos_embed1"
    model: str = Field(min_length=1)
    """A folder with the files of nvidia/Cosmos-Embed1-224p, -336p or -448p, their code included."""
    revision: str | None = None
    """The 16 digits of the folder's content, its code included: without them, the error says what they are."""
    trust_code: bool = False
    """Whether the code in the folder may be run. Read it first; `revision` holds it to what was read."""

    def identity(self) -> tuple[str, str]:
        folder = self._folder()
        found = folder_revision(folder, code=True)
        if self.revision is None:
            raise UserError(
                f"clip_embeddings.revision has to pin the model folder {folder.name!r}, because its code is run: read "
                f"its .py files, then set revision: {found}"
            )
        if self.revision != found:
            raise UserError(
                f"the configuration pins revision {self.revision}, but the folder {folder.name!r} holds {found}"
            )
        return folder.resolve().name, found

    def load(self) -> ClipEmbedder:
        return self._loaded()

    def load_text(self) -> TextEmbedder:
        return self._loaded()

    def _folder(self) -> Path:
        folder = Path(self.model).expanduser()
        if not folder.is_dir():
            raise NotThere(
                f"model {self.model!r} is no folder here: stores keep no code, so fetch it by `hf download "
                "nvidia/Cosmos-Embed1-224p --revision COMMIT --local-dir FOLDER`, and name that folder"
            )
        return folder

    def _loaded(self) -> "_CosmosEmbed1":
        name, revision = self.identity()
        if not self.trust_code:
            raise UserError(
                f"model {name!r} is run by the Python code in its folder: read it, then set "
                "clip_embeddings.trust_code: true"
            )
        folder = self._folder()
        _no_code_from_elsewhere(folder, name)
        import torch
        from transformers import AutoModel, AutoProcessor

        device = torch_device(self.device)
        allowed = {"trust_remote_code": True}
        try:
            processor: Any = AutoProcessor.from_pretrained(folder, local_files_only=True, **allowed)
            network = whole_model(AutoModel, folder, name, dtype=torch.float32, **allowed).to(device)
            frames = int(processor.num_video_frames)
        except (ImportError, AttributeError, TypeError, KeyError, ValueError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(
                f"the code of model {name!r} does not run here ({type(error).__name__}: {error}): it needs the "
                "packages that it imports, and NVIDIA runs it with transformers 4.55; give the stage embed an "
                "environment of its own by engine.environments"
            ) from error
        return _CosmosEmbed1(name, revision, frames, device, processor, network)


def _no_code_from_elsewhere(folder: Path, name: str) -> None:
    """A configuration may name code of another repository, which transformers would fetch.

    Raises:
        UserError: it does.
    """
    for path in sorted(folder.glob("*.json")):
        try:
            settings = json.loads(path.read_bytes())
        except ValueError:
            continue
        named = settings.get("auto_map", {}) if isinstance(settings, dict) else {}
        values = named.values() if isinstance(named, dict) else [named]
        if any("--" in str(each) for each in values):
            raise UserError(f"{path.name} of model {name!r} names code of another repository: {named}; that is not run")


@dataclass(frozen=True)
class _CosmosEmbed1:
    """Both sides; the code does not come apart. One clip or text at a time, in float32."""

    name: str
    revision: str
    frames: int
    device: "torch.device"
    processor: Any
    network: Any

    def embed_clip(self, frames: Sequence[np.ndarray]) -> np.ndarray:
        import torch

        check_frames(frames)
        if len(frames) not in (1, self.frames):
            raise ValueError(f"model {self.name!r} takes {self.frames} frames or one, got {len(frames)}")
        video = np.stack(_of_one_size(frames)).transpose(0, 3, 1, 2)[None]
        self.processor.num_video_frames = len(frames)
        with torch.inference_mode():
            inputs = self.processor(videos=video, return_tensors="pt")["videos"]
            output = self.network.get_video_embeddings(videos=inputs.to(self.device, torch.float32))
            return unit_rows(output.visual_proj.double().cpu().numpy())[0]

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        import torch

        found: list[np.ndarray] = []
        with torch.inference_mode():
            for text in texts:
                tokens = self.processor(text=[text], return_tensors="pt").to(self.device)
                found.append(self.network.get_text_embeddings(**tokens).text_proj.double().cpu().numpy()[0])
        return unit_rows(np.stack(found)) if found else np.empty((0, self.network.config.embed_dim), np.float32)


def _of_one_size(frames: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Videos may change their size; a clip's frames take that of the first."""
    import cv2

    height, width = frames[0].shape[:2]
    return [
        each if each.shape[:2] == (height, width) else cv2.resize(each, (width, height), interpolation=cv2.INTER_AREA)
        for each in frames
    ]
