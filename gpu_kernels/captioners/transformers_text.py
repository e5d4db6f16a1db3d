"""Captions rewritten by a causal language model, loaded into this process."""

import hashlib
from typing import Any, Literal

from pydantic import Field

from gpu_kernels.captioners.generating import generated
from gpu_kernels.captioners.texts import EnhancedCaptionsConfig
from gpu_kernels.captioners.types import (
    Caption,
    Captioner,
    CaptionRequest,
    LoadedModelConfig,
    failed_caption,
    prompt_hash,
)
from gpu_kernels.errors import UserError
from gpu_kernels.models.files import torch_device, whole_model
from gpu_kernels.models.resolve import model_folder


class LanguageModelConfig(EnhancedCaptionsConfig, LoadedModelConfig):
    """A causal language model of transformers, loaded in the worker."""

    backend: Literal["transformers"] = "transformers"
    model: str = Field(min_length=1)
    """A folder in the transformers format, a hub id `owner/name`, or the name of a model that `curate models list`
    shows. It needs a chat template."""

    def load(self) -> Captioner:
        return LanguageModel(self)


class LanguageModel:
    """A causal language model in this process, one text at a time, so that an answer cannot depend on its neighbours.

    Raises:
        UserError: it has no chat template, or is no causal language model.
    """

    def __init__(self, config: LanguageModelConfig) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.model, self.revision = config.identity()
        self._config = config
        self._device = torch_device(config.device)
        folder = model_folder(config.model, self.revision)
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        if not self._tokenizer.chat_template:
            raise UserError(
                f"model {self.model!r} has no chat template: choose one that was made to follow instructions"
            )
        dtype = torch.float32 if self._device.type == "cpu" else torch.bfloat16
        self._network = whole_model(AutoModelForCausalLM, folder, self.model, dtype=dtype)
        self._network.to(self._device)

    def caption(self, window: CaptionRequest, key: str = "") -> Caption:
        try:
            return self._written(window.prompt or self._config.prompt)
        except Exception as failure:
            return failed_caption(failure)

    def _written(self, asked: str) -> Caption:
        inputs = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": asked}],
            add_generation_prompt=True,
            enable_thinking=False,  # of templates that know it
            return_tensors="pt",
            return_dict=True,
        ).to(self._device)
        return generated(self._network, self._tokenizer, inputs, self._config, _seed(asked, prompt_hash(self._config)))


def _seed(asked: str, prompt: str) -> int:
    return int.from_bytes(hashlib.sha256((prompt + asked).encode()).digest()[:8], "little") >> 1
