"""Frames for Qwen2.5-VL and Qwen3-VL: a video, cut into patches of two frames each."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpu_kernels.captioners.frames import cut, decoded, fitted_size, resized
from gpu_kernels.captioners.types import CaptionRequest, PreparedCaptionsConfig

if TYPE_CHECKING:
    import torch

Grid = tuple[int, int, int]
"""Of patches: in time, rows, columns."""


class QwenFrames:
    """For Qwen2.5-VL, which is told the time between pairs of frames beside the prompt."""

    def __init__(self, folder: Path, tokenizer: Any, network: Any, config: PreparedCaptionsConfig) -> None:
        from transformers import AutoImageProcessor

        self._tokenizer, self._network, self._max_pixels = tokenizer, network, config.max_pixels
        self._place: str = tokenizer.convert_ids_to_tokens(network.video_token_id)
        self._pixels: Any = AutoImageProcessor.from_pretrained(folder, backend="pil", local_files_only=True)

    def inputs(self, window: CaptionRequest, asked: str, device: "torch.device") -> dict[str, "torch.Tensor"]:
        """See `Frames`."""
        import torch

        settings = self._pixels
        frames = decoded(window.frames)
        factor = settings.patch_size * settings.merge_size
        height, width = frames[0].shape[:2]
        height, width = fitted_size(height, width, len(frames), factor, self._max_pixels)
        pixels = resized(frames, height, width)
        patches, grid = cut(pixels, settings.patch_size, settings.temporal_patch_size, settings.merge_size)
        text = self._prompted(asked).replace(self._place, self.shown(grid, window.times_s))
        input_ids = self._tokenizer(text, return_tensors="pt")["input_ids"]
        inputs = {
            "input_ids": input_ids,
            "attention_mask": torch.ones_like(input_ids),
            "mm_token_type_ids": (input_ids == self._network.video_token_id).int() * 2,  # 0 is text, 2 is video
            "pixel_values_videos": torch.from_numpy(patches),  # a quarter of the bytes until they are there
            "video_grid_thw": torch.tensor([grid]),
            **self._timing(window.times_s),
        }
        there = {name: value.to(device) for name, value in inputs.items()}
        there["pixel_values_videos"] = normalised(there["pixel_values_videos"], settings.image_mean, settings.image_std)
        return there

    def shown(self, grid: Grid, times_s: Sequence[float]) -> str:
        """What stands in the prompt for a video whose frames were taken at some times."""
        return self._place * (math.prod(grid) // self._pixels.merge_size**2)

    def _timing(self, times_s: Sequence[float]) -> dict[str, "torch.Tensor"]:
        """Inputs that say when frames were taken: the network's temporal position counts seconds per pair."""
        import torch

        spacing = (times_s[-1] - times_s[0]) / max(len(times_s) - 1, 1)
        seconds = self._pixels.temporal_patch_size * spacing
        return {"second_per_grid_ts": torch.tensor([seconds], dtype=torch.float32)}

    def _prompted(self, asked: str) -> str:
        content = [{"type": "video"}, {"type": "text", "text": asked}]
        text: str = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        if (places := text.count(self._place)) != 1:
            raise ValueError(f"the chat template and the prompt hold {places} places for a video, not one")
        return text


class Qwen3Frames(QwenFrames):
    """For Qwen3-VL, which reads in the prompt when each pair of frames was taken."""

    def __init__(self, folder: Path, tokenizer: Any, network: Any, config: PreparedCaptionsConfig) -> None:
        super().__init__(folder, tokenizer, network, config)
        marks = [network.vision_start_token_id, network.vision_end_token_id]
        self._before, self._after = tokenizer.convert_ids_to_tokens(marks)

    def shown(self, grid: Grid, times_s: Sequence[float]) -> str:
        """Of each pair the mean time, and its tokens between marks of their own."""
        pairs, temporal = grid[0], self._pixels.temporal_patch_size
        times = [*times_s, *[times_s[-1]] * (pairs * temporal - len(times_s))]
        tokens = self._place * (grid[1] * grid[2] // self._pixels.merge_size**2)
        seconds = [(times[pair * temporal] + times[(pair + 1) * temporal - 1]) / 2 for pair in range(pairs)]
        return "".join(f"<{each:.1f} seconds>{self._before}{tokens}{self._after}" for each in seconds)

    def _timing(self, times_s: Sequence[float]) -> dict[str, "torch.Tensor"]:
        return {}


def normalised(patches: "torch.Tensor", mean: Sequence[float], std: Sequence[float]) -> "torch.Tensor":
    """uint8 patches of RGB frames, as `cut` gives them, scaled to 0..1 and normalised by `mean` and `std` of the three
    channels: float32, on the device where they are."""
    import torch

    # Tensors, because torch multiplies by the reciprocal of a number on a GPU, which rounds otherwise.
    whole, middle, spread = (
        torch.tensor(each, dtype=torch.float32, device=patches.device).reshape(-1, 1) for each in ([255.0], mean, std)
    )
    channels = patches.unflatten(1, (3, -1)).float()
    return channels.div_(whole).sub_(middle).div_(spread).flatten(1)
