"""How much a video moves: per patch of the picture, from the codec's motion vectors or from optical flow.

The unit of all figures is a displacement from one frame to its reference, in pixels, divided by height + width.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from gpu_kernels.media.storyboards import storyboard_size
from gpu_kernels.strict import StrictModel

_PATCH = 256
_PEAK_PART, _PEAK_SAMPLES = 20, 2
_LEAST_SIDE = 32
"""OpenCV refuses smaller pictures for optical flow, or crashes on long ones."""


class MotionSignalsConfig(StrictModel):
    """How motion is sampled from a video."""

    samples_per_second: float = Field(default=2.0, gt=0)
    """Frames per second of video whose motion is measured."""
    flow_short_side: int = Field(default=128, ge=32)
    """Short side in pixels of the pictures given to optical flow, for codecs that export no motion vectors."""


def patch_grid(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the patches of a picture, each about 256 x 256 pixels, at least one."""
    return max(1, height // _PATCH), max(1, width // _PATCH)


def vector_motion(vectors: NDArray[np.void], height: int, width: int) -> NDArray[np.float32]:
    """Mean motion per patch of one frame, from its codec's block motion vectors.

    Each block's displacement, -motion / motion_scale, counts for every pixel that the block covers, the later block's
    where two overlap (as the two predictions of a B-frame do); elsewhere the motion is 0. A key frame has no vectors:
    its motion is unknown rather than 0, so sample another.

    Args:
        vectors: structured [n] with the fields of FFmpeg's AVMotionVector, as PyAV's MOTION_VECTORS side data gives it.
        height, width: the picture's size in pixels.

    Returns:
        float32 [rows, cols] of `patch_grid`, whose patches part the picture evenly also where 256 does not divide it.
    """
    block_width, block_height = vectors["w"].astype(np.int64), vectors["h"].astype(np.int64)
    left, top = vectors["dst_x"] - block_width // 2, vectors["dst_y"] - block_height // 2
    motion = np.hypot(vectors["motion_x"], vectors["motion_y"]) / vectors["motion_scale"] / (height + width)

    # Blocks are constant on the largest square cells that all their edges respect: 8 x 8 in H.264.
    cell = max(1, int(np.gcd.reduce(np.concatenate([left, top, block_width, block_height]), initial=0)))
    latest = np.full((-(-height // cell), -(-width // cell)), -1)
    for packed in np.unique(block_height << 32 | block_width).tolist():
        size = packed >> 32, packed & 0xFFFFFFFF
        index = np.flatnonzero((block_height == size[0]) & (block_width == size[1]))[:, None, None]
        row = top[index] // cell + np.arange(size[0] // cell)[:, None]
        column = left[index] // cell + np.arange(size[1] // cell)
        row, column, index = np.broadcast_arrays(row, column, index)
        inside = (row >= 0) & (row < latest.shape[0]) & (column >= 0) & (column < latest.shape[1])
        np.maximum.at(latest, (row[inside], column[inside]), index[inside])
    return _patch_means(np.append(motion, 0)[latest], height, width, *patch_grid(height, width), cell)


def flow_size(width: int, height: int, short_side: int) -> tuple[int, int]:
    """Width and height of the pictures for optical flow: a short side of `short_side` at most, small ones enlarged."""
    width, height = storyboard_size(width, height, short_side)
    return max(_LEAST_SIDE, width), max(_LEAST_SIDE, height)


def flow_motion(previous_gray: NDArray[np.uint8], gray: NDArray[np.uint8], rows: int, cols: int) -> NDArray[np.float32]:
    """Mean motion per patch between two successive frames, from dense optical flow.

    Dense inverse search (Kroeger et al. 2016, arXiv 1603.03590) at its fastest preset, which was as accurate here as
    the slower ones and as Farneback's method. The unit does not depend on the size of the pictures, so pass small ones.

    Args:
        previous_gray, gray: uint8 [h, w] of one size, such as `flow_size` gives.
        rows, cols: the patches to part the picture into, of the full picture's `patch_grid`.

    Returns:
        float32 [rows, cols].
    """
    import cv2

    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    flow = search.calc(previous_gray, gray, None)  # pyright: ignore  # None means: no first guess
    height, width = gray.shape
    motion = np.hypot(flow[..., 0], flow[..., 1], dtype=np.float64) / (height + width)
    return _patch_means(motion, height, width, rows, cols, 1)


class SpanMotion(NamedTuple):
    """A clip's motion scores.

    Attributes:
        global_mean: over space and time.
        per_patch_min: the least of the patches' means over time.
        peak: what the liveliest patch reaches in a twentieth of the samples, and in two at least: movement anywhere in
            the picture, however small a part of it and of the clip; but not the one sample in which a still picture
            jumps because an encoder began anew.
    """

    global_mean: float
    per_patch_min: float
    peak: float


def span_motion(
    sample_frames: NDArray[np.integer], patches: NDArray[np.float32], start_frame: int, end_frame: int
) -> SpanMotion:
    """A clip's motion, over the samples in [start_frame, end_frame); if none is, of the last before it.

    The first of all stands in where there is none before either. What comes after a clip never changes its scores.

    Args:
        sample_frames: [n], the frames that were sampled.
        patches: float32 [n, rows, cols], the motion of each.

    Raises:
        ValueError: there is no sample at all.
    """
    if not len(sample_frames):
        raise ValueError("no motion samples")
    chosen = (sample_frames >= start_frame) & (sample_frames < end_frame)
    if not chosen.any():
        chosen[max(0, int(np.searchsorted(sample_frames, start_frame)) - 1)] = True
    samples = patches[chosen]
    over_time = samples.mean(0, dtype=np.float64)
    reached = min(len(samples), max(_PEAK_SAMPLES, -(-len(samples) // _PEAK_PART)))
    peak = np.partition(samples, len(samples) - reached, axis=0)[len(samples) - reached].max()
    return SpanMotion(float(over_time.mean()), float(over_time.min()), float(peak))


def _patch_means(
    cells: NDArray[np.float64], height: int, width: int, rows: int, cols: int, cell: int
) -> NDArray[np.float32]:
    means = _overlaps(height, rows, cell) @ cells @ _overlaps(width, cols, cell).T
    return means.astype(np.float32)


@lru_cache(maxsize=64)
def _overlaps(length: int, parts: int, cell: int) -> NDArray[np.float64]:
    """Share of each of `parts` even parts of `length` pixels that each cell covers: [parts, cells], rows sum to 1."""
    part = np.arange(parts + 1) * (length / parts)
    edge = np.minimum(np.arange(-(-length // cell) + 1) * cell, length)
    shared = np.minimum(part[1:, None], edge[1:]) - np.maximum(part[:-1, None], edge[:-1])
    return np.maximum(shared, 0) * (parts / length)
