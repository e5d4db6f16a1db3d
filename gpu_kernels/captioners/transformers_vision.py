"""Captions by a vision-language model of transformers, loaded into this process."""

import hashlib
from typing import TYPE_CHECKING, Any, Literal, Protocol

from gpu_kernels.captioners.generating import generated
from gpu_kernels.captioners.transformers_qwen import Qwen3Frames, QwenFrames
from gpu_kernels.captioners.transformers_smolvlm import SmolVLMFrames
from gpu_kernels.captioners.types import (
    MINIMUM_NEW_TOKENS,
    NO_FRAMES,
    Caption,
    Captioner,
    CaptionRequest,
    LoadedModelConfig,
    PreparedCaptionsConfig,
    failed_caption,
    prompt_hash,
)
from gpu_kernels.errors import UserError
from gpu_kernels.models.files import torch_device, whole_model
from gpu_kernels.models.resolve import model_folder

if TYPE_CHECKING:
    from pathlib import Path

    import torch


class Frames(Protocol):
    """Makes the frames and the prompt of a window ready for the networks of a family.

    Their preparation is the project's own, because transformers' preparation of videos cannot be imported without
    torchvision, and rows must not depend on what else is installed.
    """

    def __init__(self, folder: "Path", tokenizer: Any, network: Any, config: PreparedCaptionsConfig) -> None:
        """Read what is needed from the model's folder; `network` is its configuration."""
        ...

    def inputs(self, window: CaptionRequest, asked: str, device: "torch.device") -> dict[str, "torch.Tensor"]:
        """The network's inputs, on its device.

        Raises:
            OSError: a frame cannot be decoded.
            ValueError: frames differ in size, or the chat template has no place for them.
        """
        ...


_FAMILIES: dict[str, tuple[str, type[Frames]]] = {
    "qwen2_5_vl": ("Qwen2_5_VLForConditionalGeneration", QwenFrames),
    "qwen3_vl": ("Qwen3VLForConditionalGeneration", Qwen3Frames),
    "smolvlm": ("SmolVLMForConditionalGeneration", SmolVLMFrames),
}
"""By `model_type`, the class in transformers, and what makes its frames ready."""


class TransformersCaptionsConfig(PreparedCaptionsConfig, LoadedModelConfig):
    """A Qwen2.5-VL, Qwen3-VL or SmolVLM2 model loaded in the worker."""

    backend: Literal["transformers"] = "transformers"

    def load(self) -> Captioner:
        return TransformersCaptioner(self)


class TransformersCaptioner:
    """A model in this process, one window at a time, so that an answer cannot depend on its neighbours.

    Raises:
        UserError: the model is of no family that is known here.
    """

    def __init__(self, config: TransformersCaptionsConfig) -> None:
        import torch
        import transformers

        self.model, self.revision = config.identity()
        self._config = config
        self._device = torch_device(config.device)
        folder = model_folder(config.model, self.revision)
        network: Any = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
        if network.model_type not in _FAMILIES:
            raise UserError(
                f"model {self.model!r} is a {network.model_type} model; captions.backend transformers knows "
                f"{', '.join(_FAMILIES)}. A server with any model can be asked with captions.backend openai"
            )
        name, frames = _FAMILIES[network.model_type]
        self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._frames = frames(folder, self._tokenizer, network, config)
        dtype = torch.float32 if self._device.type == "cpu" else torch.bfloat16
        self._network = whole_model(getattr(transformers, name), folder, self.model, dtype=dtype)
        self._network.to(self._device)

    def caption(self, window: CaptionRequest, key: str = "") -> Caption:
        try:
            return self._caption_one(window) if window.frames else NO_FRAMES
        except Exception as failure:
            return failed_caption(failure)

    def _caption_one(self, window: CaptionRequest) -> Caption:
        seed = _seed(window, prompt_hash(self._config))
        least = MINIMUM_NEW_TOKENS if window.schema is None else 0  # what has to follow a schema may be over sooner
        return generated(self._network, self._tokenizer, self.model_inputs(window), self._config, seed, least)

    def model_inputs(self, window: CaptionRequest) -> dict[str, "torch.Tensor"]:
        """See `Frames.inputs`."""
        return self._frames.inputs(window, window.prompt or self._config.prompt, self._device)


def _seed(window: CaptionRequest, prompt: str) -> int:
    content = hashlib.sha256((prompt + (window.prompt or "")).encode())
    for frame in window.frames:
        content.update(hashlib.sha256(frame).digest())
    return int.from_bytes(content.digest()[:8], "little") >> 1
