"""Frames for SmolVLM2: images, each scaled to the one size that the model sees."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpu_kernels.captioners.frames import decoded
from gpu_kernels.captioners.types import CaptionRequest, PreparedCaptionsConfig
from gpu_kernels.errors import UserError

if TYPE_CHECKING:
    import torch

_TEMPLATE_FILE = "chat_template.json"
"""Where older checkpoints have the chat template of their processor."""


class SmolVLMFrames:
    """The model's own image processor scales and normalises; no image is divided into several.

    Raises:
        UserError: the section limits the pixels, or the model has no chat template.
    """

    def __init__(self, folder: Path, tokenizer: Any, network: Any, config: PreparedCaptionsConfig) -> None:
        from transformers import AutoImageProcessor

        if config.max_pixels is not None:
            raise UserError("captions.max_pixels has no effect with SmolVLM2, which sees every frame at one size")
        self._frame_times = config.frame_times
        self._tokenizer, self._template = tokenizer, tokenizer.chat_template or _template(folder)
        self._pixels: Any = AutoImageProcessor.from_pretrained(folder, backend="pil", local_files_only=True)
        vision = network.vision_config
        tokens = int((vision.image_size // vision.patch_size) ** 2 / network.scale_factor**2)
        mark = getattr(tokenizer, "fake_image_token", "<fake_token_around_image>")
        overall = getattr(tokenizer, "global_image_token", "<global-img>")
        self._place: str = tokenizer.convert_ids_to_tokens(network.image_token_id)
        self.shown = f"{mark}{overall}{self._place * tokens}{mark}"
        """What stands in the prompt for an image."""

    def inputs(self, window: CaptionRequest, asked: str, device: "torch.device") -> dict[str, "torch.Tensor"]:
        """See `Frames`."""
        from PIL import Image

        frames = [Image.fromarray(frame) for frame in decoded(window.frames)]
        times = ", ".join(f"{seconds:.2f}" for seconds in window.times_s)
        asked = self._frame_times.format(count=len(frames), times=times) + asked
        content = [*[{"type": "image"}] * len(frames), {"type": "text", "text": asked}]
        text: str = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": content}],
            chat_template=self._template,
            tokenize=False,
            add_generation_prompt=True,
        )
        if (places := text.count(self._place)) != len(frames):
            raise ValueError(f"the chat template and the prompt hold {places} places for {len(frames)} images")
        pixels = self._pixels([frames], do_image_splitting=False, size=self._pixels.max_image_size, return_tensors="pt")
        tokens = self._tokenizer(text.replace(self._place, self.shown), return_tensors="pt")
        found = {key: tokens[key] for key in ("input_ids", "attention_mask")}
        found |= {key: pixels[key] for key in ("pixel_values", "pixel_attention_mask")}
        return {name: value.to(device) for name, value in found.items()}


def _template(folder: Path) -> str:
    file = folder / _TEMPLATE_FILE
    if not file.is_file():
        raise UserError(f"the model in {folder} has no chat template: choose one that was made to follow instructions")
    return json.loads(file.read_text())["chat_template"]
