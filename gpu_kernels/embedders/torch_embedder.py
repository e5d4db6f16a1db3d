"""A network of torch as an embedder: frames in batches of one size, whatever their number."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gpu_kernels.embedders.types import check_frames, unit_rows

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

_CUDA_BATCH = 32


@dataclass(frozen=True)
class TorchEmbedder:
    """A network, with the preparation that it was trained with."""

    name: str
    revision: str
    dimension: int
    device: "torch.device"
    pixels: "Callable[[Image], torch.Tensor]"
    """One image to the network's float32 input [3, h, w], always of one size."""
    features: "Callable[[torch.Tensor], torch.Tensor]"
    """Input [b, 3, h, w] to features [b, d]."""

    def embed(self, frames: Sequence[np.ndarray]) -> np.ndarray:
        import torch
        from PIL import Image

        check_frames(frames)
        # Convolutions and matrix products choose their kernels by batch size and round differently with each, so the
        # batch has one size always: 1 on a CPU, where it costs nothing, a padded one on a GPU.
        size = 1 if self.device.type == "cpu" else _CUDA_BATCH
        rows = np.empty((len(frames), self.dimension), dtype=np.float64)
        with torch.inference_mode():
            for start in range(0, len(frames), size):
                inputs = torch.stack([self.pixels(Image.fromarray(frame)) for frame in frames[start : start + size]])
                count = len(inputs)
                padded = torch.cat([inputs, inputs.new_zeros(size - count, *inputs.shape[1:])])
                rows[start : start + count] = self.features(padded.to(self.device))[:count].float().cpu().numpy()
        return unit_rows(rows)
