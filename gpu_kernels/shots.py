"""Where shots begin and end: the transition curve of a video read once, and the shots that a threshold makes of it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from gpu_kernels.strict import StrictModel

if TYPE_CHECKING:
    from gpu_kernels.transnetv2 import TransNetV2

_WINDOW, _STRIDE, _CONTEXT = 100, 50, 25
_FRAME = (27, 48, 3)


class ShotSignalsConfig(StrictModel):
    """How the transition curve is computed."""

    without_effect: ClassVar[frozenset[str]] = frozenset({"device", "batch_windows"})

    network: Literal["transnetv2", "none"] = "transnetv2"
    """The network that reads the curve; `none` only reads frame times, which is all that fixed-stride clips need."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network runs; `auto` takes a GPU if there is one."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of its convolutions. `bfloat16` is faster and moves the curve by a few thousandths."""
    batch_windows: int = Field(default=1, ge=1)
    """Windows of 100 frames given to the network at once; more than 1 pays only on a GPU."""


def model_identity(config: ShotSignalsConfig) -> tuple[str, str]:
    """(model, revision) of the network that `config` asks for, without loading it.

    Raises:
        FileNotFoundError: the package that ships the weights is not installed.
    """
    if config.network == "none":
        return "none", "none"
    from gpu_kernels.transnetv2_weights import weights_revision

    return config.network, weights_revision()


def load_network(config: ShotSignalsConfig) -> "TransNetV2 | None":
    """The shot boundary network that `config` asks for; None for `network: none`.

    Raises:
        FileNotFoundError: the package that ships the weights is not installed.
    """
    if config.network == "none":
        return None
    import torch

    from gpu_kernels.transnetv2 import TransNetV2

    device = ("cuda" if torch.cuda.is_available() else "cpu") if config.device == "auto" else config.device
    return TransNetV2(device, config.dtype)


class TransitionStream:
    """The transition curve of one video from its frames in order, holding no more than `batch_windows` windows of them.

    Windows of 100 frames step by 50 and the middle 50 of each are kept, as in the TransNetV2 paper (arXiv 2008.04838);
    the first and the last frame are repeated beyond the ends. How the frames are cut into chunks changes nothing.

    Args:
        network: uint8 [B, 100, 27, 48, 3] RGB -> float32 [B, 100] in 0..1, such as `transnetv2.TransNetV2`.
        batch_windows: windows per call of the network.
    """

    def __init__(self, network: Callable[[NDArray[np.uint8]], NDArray[np.float32]], batch_windows: int = 1) -> None:
        if batch_windows < 1:
            raise ValueError(f"batch_windows must be at least 1, not {batch_windows}")
        self._network = network
        self._batch = np.empty((batch_windows, _WINDOW, *_FRAME), np.uint8)
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
            self._fill(np.broadcast_to(frames[0], (_CONTEXT, *_FRAME)))
        self._fill(frames)
        self._last = frames[-1].copy()
        self._total += len(frames)

    def finish(self) -> NDArray[np.float32]:
        """The curve, float32 [total frames] in 0..1. The stream is spent then.

        A hard cut peaks at the last frame of the earlier shot; a gradual transition is a run of high frames.
        """
        if self._last is None:
            return np.zeros(0, np.float32)
        tail = _CONTEXT + _STRIDE - (self._total % _STRIDE or _STRIDE)
        self._fill(np.broadcast_to(self._last, (tail, *_FRAME)))
        self._run()
        return np.concatenate(self._curve)[: self._total]

    def _fill(self, frames: NDArray[np.uint8]) -> None:
        while len(frames):
            window = self._batch[self._full]
            taken = frames[: _WINDOW - self._held]
            window[self._held : self._held + len(taken)] = taken
            self._held += len(taken)
            frames = frames[len(taken) :]
            if self._held == _WINDOW:
                overlap = window[_STRIDE:].copy()
                self._full += 1
                if self._full == len(self._batch):
                    self._run()
                self._batch[self._full, : _WINDOW - _STRIDE] = overlap
                self._held = _WINDOW - _STRIDE

    def _run(self) -> None:
        if self._full:
            curves = self._network(self._batch[: self._full])
            self._curve.append(curves[:, _CONTEXT : _CONTEXT + _STRIDE].ravel())
            self._full = 0


def shot_boundaries(probabilities: NDArray[np.floating], threshold: float) -> list[tuple[int, int]]:
    """The shots [start, end) in frames of a video whose transition curve is `probabilities` [n], in order.

    A run of frames above the threshold parts two shots. A run of one frame is a hard cut: that frame is the earlier
    shot's last. The frames of a longer run, a gradual transition, belong to no shot. With no run, and likewise when
    every frame is in one, the whole video is one shot.
    """
    total = len(probabilities)
    edges = np.diff(np.concatenate(([0], probabilities > threshold, [0])).astype(np.int8))
    shots: list[tuple[int, int]] = []
    start = 0
    for first, after in zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True):
        shots.append((start, after if after - first == 1 else first))
        start = after
    shots.append((start, total))
    return [(a, b) for a, b in shots if a < b] or ([(0, total)] if total else [])
