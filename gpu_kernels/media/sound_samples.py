"""Samples of sound as arrays. Where there are eight planes, PyAV takes what lies behind them for a ninth."""

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av import AudioFrame

MOST_CHANNELS = 8
"""Of frames with more, PyAV does not know where the planes are."""

_TYPES = {"s16": "i2", "s16p": "i2", "flt": "f4", "fltp": "f4", "dbl": "f8", "dblp": "f8"}


def samples_of(frame: "AudioFrame") -> np.ndarray:
    """The samples of a frame, [channels, samples].

    Args:
        frame: with as many channels as MOST_CHANNELS, at most.

    Raises:
        KeyError: they are of a type that nothing here makes.
    """
    kind, channels = np.dtype(_TYPES[frame.format.name]), frame.layout.nb_channels
    planes = cast("tuple[Any, ...]", frame.planes)
    if not frame.format.is_planar:
        return np.frombuffer(planes[0], kind, frame.samples * channels).reshape(-1, channels).T
    return np.stack([np.frombuffer(plane, kind, frame.samples) for plane in planes[:channels]])


def frame_of(samples: NDArray[np.float32], layout: str) -> "AudioFrame":
    """A frame of samples, float32 [channels, samples], which are as many as the layout has."""
    from av import AudioFrame

    return AudioFrame.from_ndarray(np.ascontiguousarray(samples.T).reshape(1, -1), format="flt", layout=layout)
