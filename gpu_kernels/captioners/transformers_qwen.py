"""Frames for Qwen2.5-VL and Qwen3-VL: a video, cut into patches of two frames each."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

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

    def inputs(self, window: CaptionRequest, asked: str) -> dict[str, "torch.Tensor"]:
        """See `Frames`."""
        import torch

        settings = self._pixels
        frames = decoded(window.frames)
        factor = settings.patch_size * settings.merge_size
        height, width = frames[0].shape[:2]
        height, width = fitted_size(height, width, len(frames), factor, self._max_pixels)
        patches, grid = video_patches(
            resized(frames, height, width),
            np.asarray(settings.image_mean, dtype=np.float32),
            np.asarray(settings.image_std, dtype=np.float32),
            settings.patch_size,
            settings.temporal_patch_size,
            settings.merge_size,
        )
        text = self._prompted(asked).replace(self._place, self.shown(grid, window.times_s))
        input_ids = self._tokenizer(text, return_tensors="pt")["input_ids"]
        return {
            "input_ids": input_ids,
            "attention_mask": torch.ones_like(input_ids),
            "mm_token_type_ids": (input_ids == self._network.video_token_id).int() * 2,  # 0 is text, 2 is video
            "pixel_values_videos": torch.from_numpy(patches),
            "video_grid_thw": torch.tensor([grid]),
            **self._timing(window.times_s),
        }

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


def video_patches(
    frames: np.ndarray, mean: np.ndarray, std: np.ndarray, patch: int = 14, temporal: int = 2, merge: int = 2
) -> tuple[np.ndarray, Grid]:
    """Cut uint8 RGB frames into the patches that models of Qwen's family embed, with values scaled to 0..1 and
    normalised by `mean` and `std` per channel: float32, as `cut` says."""
    return cut((frames.astype(np.float32) / 255 - mean) / std, patch, temporal, merge)
