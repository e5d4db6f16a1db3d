"""Captions by Qwen2.5-VL, loaded into this process."""

import hashlib
import math
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from gpu_kernels.captioners.frames import cut, decoded, fitted_size, resized
from gpu_kernels.captioners.types import (
    MINIMUM_NEW_TOKENS,
    NO_FRAMES,
    Caption,
    Captioner,
    CaptionRequest,
    PreparedCaptionsConfig,
    failed_caption,
    prompt_hash,
)
from gpu_kernels.errors import UserError
from gpu_kernels.models.files import Device, torch_device, whole_model
from gpu_kernels.models.resolve import check_hub_pin, model_folder, pinned_model
from gpu_kernels.models.section import Wanted

if TYPE_CHECKING:
    import torch


class QwenCaptionsConfig(PreparedCaptionsConfig):
    """A Qwen2.5-VL model loaded in the worker."""

    without_effect: ClassVar[frozenset[str]] = frozenset({"device"})

    backend: Literal["transformers"] = "transformers"
    model: str = Field(min_length=1)
    """A folder in the transformers format, a hub id `owner/name`, or the name of a model that `curate models list`
    shows."""
    revision: str | None = None
    """The commit of a hub id (needed with one); with a folder it is optional and pins the folder's content."""
    device: Device = "auto"
    """Where the model runs; `auto` is a GPU if torch sees one."""

    @model_validator(mode="after")
    def _pinned(self) -> "QwenCaptionsConfig":
        check_hub_pin(self.model, self.revision)
        return self

    @property
    def runs_on(self) -> Device:
        return self.device

    def identity(self) -> tuple[str, str]:
        return pinned_model(self.model, self.revision)

    def models(self) -> tuple[Wanted, ...]:
        return (Wanted(self.model, self.revision),)

    def load(self) -> Captioner:
        return QwenCaptioner(self)


class QwenCaptioner:
    """Qwen2.5-VL in this process, one window at a time, so that an answer cannot depend on its neighbours.

    Frames go in as a video. Their preparation is done here, because transformers' own video processor cannot be
    imported without torchvision.
    """

    def __init__(self, config: QwenCaptionsConfig) -> None:
        import torch
        from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer, Qwen2_5_VLForConditionalGeneration

        self.model, self.revision = config.identity()
        self._config = config
        self._device = torch_device(config.device)
        folder = model_folder(config.model, self.revision)
        family = AutoConfig.from_pretrained(folder, local_files_only=True).model_type
        if family != "qwen2_5_vl":
            raise UserError(f"model {self.model!r} is a {family} model; captions need a qwen2_5_vl one")
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._pixels: Any = AutoImageProcessor.from_pretrained(folder, backend="pil", local_files_only=True)
        dtype = torch.float32 if self._device.type == "cpu" else torch.bfloat16
        self._network = whole_model(Qwen2_5_VLForConditionalGeneration, folder, self.model, dtype=dtype)
        self._network.to(self._device)

    def caption(self, window: CaptionRequest, key: str = "") -> Caption:
        try:
            return self._caption_one(window) if window.frames else NO_FRAMES
        except Exception as failure:
            return failed_caption(failure)

    def _caption_one(self, window: CaptionRequest) -> Caption:
        import torch

        inputs = self.model_inputs(window)
        prompt_tokens = inputs["input_ids"].shape[1]
        seeded = [self._device] if self._device.type == "cuda" else []
        with torch.inference_mode(), torch.random.fork_rng(devices=seeded):
            torch.manual_seed(_seed(window, prompt_hash(self._config)))
            output = self._network.generate(
                **inputs,
                **self._sampling(),
                min_new_tokens=MINIMUM_NEW_TOKENS,
                max_new_tokens=self._config.max_tokens,
                repetition_penalty=self._config.repetition_penalty,
            )
        answer = output[0, prompt_tokens:]
        ended = answer[-1].item() in np.atleast_1d(self._network.generation_config.eos_token_id)
        text = self._tokenizer.decode(answer, skip_special_tokens=True).strip()
        counts = (prompt_tokens, len(answer))
        if not text:
            return Caption(None, "error", "the answer is empty", *counts)
        return Caption(text, "success" if ended else "truncated", None, *counts)

    @property
    def _greedy(self) -> bool:
        # The likeliest token alone almost always exceeds so small a top_p: sampling would be a slower greedy choice.
        return self._config.temperature == 0 or self._config.top_p <= 0.01

    def _sampling(self) -> dict[str, Any]:
        if self._greedy:
            return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        return {"do_sample": True, "temperature": self._config.temperature, "top_p": self._config.top_p, "top_k": 0}

    def model_inputs(self, window: CaptionRequest) -> dict[str, "torch.Tensor"]:
        """The network's inputs for one window, on its device.

        Raises:
            OSError: a frame cannot be decoded.
            ValueError: frames differ in size, or the chat template has no place for a video.
        """
        import torch

        settings = self._pixels
        frames = decoded(window.frames)
        factor = settings.patch_size * settings.merge_size
        height, width = frames[0].shape[:2]
        height, width = fitted_size(height, width, len(frames), factor, self._config.max_pixels)
        patches, grid = video_patches(
            resized(frames, height, width),
            np.asarray(settings.image_mean, dtype=np.float32),
            np.asarray(settings.image_std, dtype=np.float32),
            settings.patch_size,
            settings.temporal_patch_size,
            settings.merge_size,
        )
        input_ids = self._prompt_ids(window.prompt or self._config.prompt, math.prod(grid) // settings.merge_size**2)
        video_id = self._network.config.video_token_id
        # Spacing of the pairs of frames in seconds; the network's temporal position counts it.
        spacing = (window.times_s[-1] - window.times_s[0]) / max(len(frames) - 1, 1)
        inputs = {
            "input_ids": input_ids,
            "attention_mask": torch.ones_like(input_ids),
            "mm_token_type_ids": (input_ids == video_id).int() * 2,  # 0 is text, 2 is video
            "pixel_values_videos": torch.from_numpy(patches),
            "video_grid_thw": torch.tensor([grid]),
            "second_per_grid_ts": torch.tensor([settings.temporal_patch_size * spacing], dtype=torch.float32),
        }
        return {name: value.to(self._device) for name, value in inputs.items()}

    def _prompt_ids(self, prompt: str, video_tokens: int) -> "torch.Tensor":
        content = [{"type": "video"}, {"type": "text", "text": prompt}]
        text = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        place = self._tokenizer.convert_ids_to_tokens(self._network.config.video_token_id)
        if text.count(place) != 1:
            raise ValueError(f"the chat template and the prompt hold {text.count(place)} places for a video, not one")
        return self._tokenizer(text.replace(place, place * video_tokens), return_tensors="pt")["input_ids"]


def video_patches(
    frames: np.ndarray, mean: np.ndarray, std: np.ndarray, patch: int = 14, temporal: int = 2, merge: int = 2
) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Cut uint8 RGB frames into the patches that Qwen2.5-VL embeds, with values scaled to 0..1 and normalised by `mean`
    and `std` per channel: float32, as `cut` says."""
    return cut((frames.astype(np.float32) / 255 - mean) / std, patch, temporal, merge)


def _seed(window: CaptionRequest, prompt: str) -> int:
    content = hashlib.sha256((prompt + (window.prompt or "")).encode())
    for frame in window.frames:
        content.update(hashlib.sha256(frame).digest())
    return int.from_bytes(content.digest()[:8], "little") >> 1
