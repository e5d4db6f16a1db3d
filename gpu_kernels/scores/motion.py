"""How much a video moves: per patch of the picture, from the codec's motion vectors or from optical flow.

The unit of all figures is a displacement in pixels, divided by height + width: per frame, or, of vectors as they come,
up to the frame that the codec refers to.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from gpu_kernels.media.storyboards import storyboard_size
from gpu_kernels.strict import StrictModel

_PATCH = 256
_REFERENCE_LEAST = 10
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


@dataclass(frozen=True)
class VectorField:
    """The motion of one frame by its codec's vectors, of every cell of `cell` by `cell` pixels, [rows, columns]."""

    cells: NDArray[np.float64]
    cell: int
    height: int
    width: int

    def patch_means(self) -> NDArray[np.float32]:
        """The mean per patch of `patch_grid`; these part the picture evenly also where 256 does not divide it."""
        return _patch_means(self.cells, self.height, self.width, *patch_grid(self.height, self.width), self.cell)

    def centres(self) -> NDArray[np.float32]:
        """The mean of the four pixels in the middle of every patch of exactly 256 by 256 pixels, from the top left.

        This is what bilinear interpolation by 1/256 takes. Of a side below 256 pixels it is the middle.
        """
        rows, columns = (_middles(length) // self.cell for length in (self.height, self.width))
        taken = self.cells[rows[:, None], columns]
        return taken.reshape(len(rows) // 2, 2, -1, 2).mean((1, 3)).astype(np.float32)


def _middles(length: int) -> NDArray[np.int64]:
    """The two pixels in the middle of every patch along one side."""
    middle = np.arange(max(1, length // _PATCH)) * _PATCH + min(_PATCH, length) // 2
    return np.stack([np.maximum(middle - 1, 0), middle], axis=1).ravel()


def vector_field(vectors: NDArray[np.void], height: int, width: int) -> VectorField:
    """The motion of one frame, from its codec's block motion vectors.

    Each block's displacement, -motion / motion_scale, counts for every pixel that the block covers, the later block's
    where two overlap (as the two predictions of a B-frame do); elsewhere the motion is 0. A key frame has no vectors:
    its motion is unknown rather than 0, so sample another.

    Args:
        vectors: structured [n] with the fields of FFmpeg's AVMotionVector, as PyAV's MOTION_VECTORS side data gives it.
        height, width: the picture's size in pixels.
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
    return VectorField(np.append(motion, 0)[latest], cell, height, width)


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
        mean: per frame, over space and time.
        patch_min: the least of the patches' means over time.
        peak: what the liveliest patch reaches in a twentieth of the samples, and in two at least: movement anywhere in
            the picture, however small a part of it and of the clip; but not the one sample in which a still picture
            jumps because an encoder began anew. It is over the whole distance of a sample, not per frame: the error of
            a vector does not grow with its distance, so what is small and moves stands out more over a longer one.
    """

    mean: float
    patch_min: float
    peak: float


def span_motion(
    sample_frames: NDArray[np.integer],
    distances: NDArray[np.integer],
    patches: NDArray[np.float32],
    start_frame: int,
    end_frame: int,
) -> SpanMotion:
    """A clip's motion, over the samples in [start_frame, end_frame); if none is, of the last before it.

    The first of all stands in where there is none before either. What comes after a clip never changes its scores.

    Args:
        sample_frames: [n], the frames that were sampled.
        distances: [n], how many frames away the frame is that each was compared with.
        patches: float32 [n, rows, cols], the motion of each per frame.

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
    moved = samples * distances[chosen, None, None].astype(np.float32)
    peak = np.partition(moved, len(samples) - reached, axis=0)[len(samples) - reached].max()
    return SpanMotion(float(over_time.mean()), float(over_time.min()), float(peak))


class ReferenceMotion(NamedTuple):
    """A clip's motion scores as Cosmos-Curate computes them: of vectors as they come, however far they point.

    Attributes:
        global_mean: over space and time.
        per_patch_min_256: the least of the means over time of what `VectorField.centres` gives.
    """

    global_mean: float
    per_patch_min_256: float


def reference_motion(
    frames: NDArray[np.integer],
    means: NDArray[np.float32],
    centres: NDArray[np.float32],
    start_frame: int,
    end_frame: int,
    seconds: float,
) -> ReferenceMotion | None:
    """A clip's motion over the first samples in [start_frame, end_frame): one per second of it, and ten at least.

    As there are two samples per second, that is the first half. None if there is no sample.

    Args:
        frames: [n], the frames that were sampled, two per second, those without vectors left out.
        means: float32 [n], over the picture of each.
        centres: float32 [n, rows, cols], of each.
        seconds: length of the clip.
    """
    within = np.flatnonzero((frames >= start_frame) & (frames < end_frame))
    chosen = within[: max(_REFERENCE_LEAST, round(seconds))]
    if not len(chosen):
        return None
    least = centres[chosen].mean(0, dtype=np.float64).min()
    return ReferenceMotion(float(means[chosen].mean(dtype=np.float64)), float(least))


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
