"""Where shots begin and end: the transition curve of a video read once, and the shots that a threshold makes of it."""

import ctypes
from collections.abc import Iterable
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.models.registry import TRANSNETV2
from gpu_kernels.models.section import ModelSection, Wanted

_WINDOW = {"exact": 100, "fast": 300}
CONTEXT_FRAMES = 25
"""Frames on either side of those that a window gives."""
_FRAME = (27, 48, 3)
_GPU_FRAMES = 2400
"""Frames that a GPU takes at once: some 2 GiB of activations."""


class ShotSignalsConfig(ModelSection):
    """How the transition curve is computed."""

    network: Literal["transnetv2", "none"] = "transnetv2"
    """The network that reads the curve; `none` only reads frame times, which is all that fixed-stride clips need."""
    precision: Literal["fast", "exact"] = "fast"
    """`exact` is the model's own curve: float32, windows of 100 frames of which 50 are kept. `fast` takes windows of
    300 frames, of which 250 are kept, and the formats that the machine is quick at: 8-bit integers and bfloat16 on a
    CPU that has them, float16 on a GPU, else float32. It costs a fifth, and finds the same shots on all footage with
    known cuts; the curve moves by up to 0.1 around fast motion, and the ends of a dissolve may move by a frame."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network runs; `auto` takes a GPU if there is one. Number formats differ, and so do the last digits."""

    def models(self) -> tuple[Wanted, ...]:
        return () if self.network == "none" else (Wanted(TRANSNETV2.name),)


class ShotNetwork(Protocol):
    """A network that reads windows of `window` frames, up to `batch` at once.

    It gives for uint8 [B, window, 27, 48, 3], RGB, float32 [B, window] in 0..1.
    """

    window: int
    batch: int

    def __call__(self, windows: NDArray[np.uint8], /) -> NDArray[np.float32]: ...


def model_identity(config: ShotSignalsConfig) -> tuple[str, str]:
    """(model, revision) of the network that `config` asks for, without loading it.

    Raises:
        FileNotFoundError: the package that ships the weights is not installed.
    """
    if config.network == "none":
        return "none", "none"
    from gpu_kernels.shots.transnetv2_weights import weights_revision

    return config.network, weights_revision()


def load_network(config: ShotSignalsConfig) -> ShotNetwork | None:
    """The shot boundary network that `config` asks for; None for `network: none`. A CPU needs no torch.

    Raises:
        FileNotFoundError: the package that ships the weights is not installed.
    """
    if config.network == "none":
        return None
    window, exact = _WINDOW[config.precision], config.precision == "exact"
    if config.device == "cuda" or (config.device == "auto" and _has_gpu()):
        from gpu_kernels.shots.transnetv2_torch import TransNetV2 as OnGpu

        return OnGpu("cuda", window, exact, batch=_GPU_FRAMES // window)
    from gpu_kernels.shots.transnetv2_openvino import TransNetV2 as OnCpu

    return OnCpu(window, exact)


def _has_gpu() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")  # without a driver there is no reason to load torch
    except OSError:
        return False
    import torch

    return torch.cuda.is_available()


class TransitionStream:
    """The transition curve of one video from its frames in order, holding no more of them than one batch of windows.

    Window j gives the frames [j * stride, (j + 1) * stride) and sees 25 more on either side, as in the TransNetV2 paper
    (arXiv 2008.04838); the first and the last frame are repeated beyond the ends. How the frames are cut into chunks
    changes nothing, and neither does reading a video in segments of whole strides, with their context.

    Args:
        before: how many of the first frames are context only: 0, or 25 of a segment within a video.
    """

    def __init__(self, network: ShotNetwork, before: int = 0) -> None:
        self._network, self._before = network, before
        self._window, self._stride = network.window, network.window - 2 * CONTEXT_FRAMES
        self._batch = np.empty((network.batch, self._window, *_FRAME), np.uint8)
        self._full = 0  # windows of the batch that are complete
        self._held = 0  # frames in the window after those
        self._last: NDArray[np.uint8] | None = None
        self._total = 0
        self._curve: list[NDArray[np.float32]] = []

    def add(self, frames: NDArray[np.uint8]) -> None:
        """Take the next frames: uint8 [n, 27, 48, 3] RGB, n >= 0.

        Raises:
            ValueError: another shape or dtype.
        """
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != _FRAME:
            raise ValueError(f"frames must be uint8 [n, 27, 48, 3], not {frames.dtype} {list(frames.shape)}")
        if not len(frames):
            return
        if self._last is None:
            self._fill(np.broadcast_to(frames[0], (CONTEXT_FRAMES - self._before, *_FRAME)))
        self._fill(frames)
        self._last = frames[-1].copy()
        self._total += len(frames)

    def so_far(self, since: int = 0) -> NDArray[np.float32]:
        """What is known of the curve by now, from frame `since` on; it does not change any more."""
        start = sum(map(len, self._curve))
        parts: list[NDArray[np.float32]] = []
        for part in reversed(self._curve):
            if start <= since:
                break
            start -= len(part)
            parts.insert(0, part)
        return np.concatenate(parts)[max(0, since - start) :] if parts else np.zeros(0, np.float32)

    def finish(self, after: int = 0) -> NDArray[np.float32]:
        """The curve, float32 [frames that are no context] in 0..1. The stream is spent then.

        A hard cut peaks at the last frame of the earlier shot; a gradual transition is a run of high frames.

        Args:
            after: how many of the last frames were context only: 0, or 25 of a segment within a video.
        """
        if self._last is None:
            return np.zeros(0, np.float32)
        length = self._total - self._before - after
        tail = CONTEXT_FRAMES - after + -length % self._stride
        self._fill(np.broadcast_to(self._last, (tail, *_FRAME)))
        self._run()
        return np.concatenate(self._curve)[:length]

    def _fill(self, frames: NDArray[np.uint8]) -> None:
        while len(frames):
            window = self._batch[self._full]
            taken = frames[: self._window - self._held]
            window[self._held : self._held + len(taken)] = taken
            self._held += len(taken)
            frames = frames[len(taken) :]
            if self._held == self._window:
                overlap = window[self._stride :].copy()
                self._full += 1
                if self._full == len(self._batch):
                    self._run()
                self._batch[self._full, : 2 * CONTEXT_FRAMES] = overlap
                self._held = 2 * CONTEXT_FRAMES

    def _run(self) -> None:
        if self._full:
            curves = self._network(self._batch[: self._full])
            self._curve.append(curves[:, CONTEXT_FRAMES : CONTEXT_FRAMES + self._stride].ravel())
            self._full = 0


def runs_above(probabilities: NDArray[np.floating], threshold: float) -> list[tuple[int, int]]:
    """The runs [first, end) of frames above a threshold, in order."""
    edges = np.diff(np.concatenate(([0], probabilities > threshold, [0])).astype(np.int8))
    return list(zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True))


def shots_between(runs: Iterable[tuple[int, int]], total: int) -> list[tuple[int, int]]:
    """The shots [start, end) of a video of `total` frames in which runs of frames [first, end) part shots.

    A run of one frame is a hard cut: that frame is the earlier shot's last. The frames of a longer run, a gradual
    transition, belong to no shot. With no run, and likewise when every frame is in one, the whole video is one shot.
    """
    shots: list[tuple[int, int]] = []
    start = 0
    for first, after in runs:
        shots.append((start, after if after - first == 1 else first))
        start = after
    shots.append((start, total))
    return [(a, b) for a, b in shots if a < b] or ([(0, total)] if total else [])


def shot_boundaries(probabilities: NDArray[np.floating], threshold: float) -> list[tuple[int, int]]:
    """The shots of a video whose transition curve is `probabilities` [n]: those between the runs above a threshold."""
    return shots_between(runs_above(probabilities, threshold), len(probabilities))
