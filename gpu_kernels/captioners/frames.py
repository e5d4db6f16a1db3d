"""Storyboard frames, made ready for models of Qwen's family."""

import io
import math
from collections.abc import Sequence

import numpy as np


def fitted_size(
    height: int, width: int, frames: int, factor: int = 28, max_pixels: int | None = None
) -> tuple[int, int]:
    """(height, width) in multiples of `factor` at which a model of Qwen's family sees each of `frames` frames, keeping
    the aspect ratio as nearly as multiples allow.

    A frame has at least 128 * factor**2 pixels and at most max(min(768 * factor**2, 24576 * factor**2 / frames * 2),
    1.05 * 128 * factor**2): more frames, fewer pixels each (the budget of Qwen's own preparation of videos). With
    `max_pixels` it has at most these, however many frames there are.

    Raises:
        ValueError: one side is more than 200 times the other.
    """
    if max(height, width) > 200 * min(height, width):
        raise ValueError(f"a frame of {width}x{height} is too elongated")
    area = factor**2
    least = 128 * area
    most = int(max(min(768 * area, 24576 * area / frames * 2), 1.05 * least)) if max_pixels is None else max_pixels
    least = min(least, most)
    fitted = [round(side / factor) * factor for side in (height, width)]
    if fitted[0] * fitted[1] > most:
        scale = math.sqrt(height * width / most)
        fitted = [max(1, math.floor(side / scale / factor)) * factor for side in (height, width)]
    elif fitted[0] * fitted[1] < least:
        scale = math.sqrt(least / (height * width))
        fitted = [math.ceil(side * scale / factor) * factor for side in (height, width)]
    return fitted[0], fitted[1]


def decoded(frames: Sequence[bytes]) -> list[np.ndarray]:
    """RGB pictures [H, W, 3] of one size, from JPEG.

    Raises:
        OSError: a frame cannot be decoded.
        ValueError: frames differ in size.
    """
    from PIL import Image

    images = [np.asarray(Image.open(io.BytesIO(frame)).convert("RGB")) for frame in frames]
    if len({image.shape for image in images}) > 1:
        raise ValueError(f"the frames of one window differ in size: {sorted({image.shape[:2] for image in images})}")
    return images


def resized(frames: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """Frames [n, height, width, 3], scaled bicubically."""
    from PIL import Image

    return np.stack(
        [np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC)) for frame in frames]
    )


def scaled(frames: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """As `resized`, and eight times as fast: bicubically by torch, which rounds a few values otherwise."""
    import torch

    stacked = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)
    if stacked.shape[2:] != (height, width):
        stacked = torch.nn.functional.interpolate(stacked, (height, width), mode="bicubic", antialias=True)
    return stacked.permute(0, 2, 3, 1).contiguous().numpy()


def cut(frames: np.ndarray, patch: int, temporal: int, merge: int) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Cut frames [n, H, W, 3] into the patches that models of Qwen's family embed.

    `temporal` successive frames share a patch, the last frame repeated to fill up. Patches are ordered by time, then by
    merge x merge block row by row, then within the block. H and W are multiples of patch * merge.

    Returns:
        [t * h * w, 3 * temporal * patch * patch] of the same type, and the grid (t, h, w), counted in patches.
    """
    if missing := -len(frames) % temporal:
        frames = np.concatenate([frames, np.repeat(frames[-1:], missing, axis=0)])
    count, height, width, channels = frames.shape
    grid = (count // temporal, height // patch, width // patch)
    parts = frames.reshape(
        grid[0], temporal, grid[1] // merge, merge, patch, grid[2] // merge, merge, patch, channels
    )  # t, frame, block row, row, y, block column, column, x, channel
    patches = parts.transpose(0, 2, 5, 3, 6, 8, 1, 4, 7)
    return np.ascontiguousarray(patches).reshape(math.prod(grid), -1), grid
