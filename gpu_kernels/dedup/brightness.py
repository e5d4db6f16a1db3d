"""Whether two clips brighten and darken together over time, which copies do and other moments do not."""

from dataclasses import dataclass

import numpy as np

_CURVE_HZ = 10
_TREND_SAMPLES = 11
_LAG_SAMPLES = 2
_LEAST_SAMPLES = 5
_ALMOST_ONE = 1 - 1e-9


@dataclass(frozen=True)
class LumaCurve:
    """How a clip's mean brightness changes, 10 values a second, without what takes longer than a second.

    The level and its slow changes, with clouds or an exposure control, are alike in many moments before one camera.
    """

    values: np.ndarray

    @classmethod
    def of(cls, pts_ns: np.ndarray, luma: np.ndarray) -> "LumaCurve":
        """From the times of a clip's frames, int64 [n], increasing, and the brightness of each, float32 [n]."""
        seconds = (pts_ns - pts_ns[0]) / 1e9
        level = np.interp(np.arange(0, seconds[-1], 1 / _CURVE_HZ), seconds, luma)
        if len(level) == 0:
            return cls(level)
        around = np.pad(level, _TREND_SAMPLES // 2, "edge")
        return cls(level - np.convolve(around, np.full(_TREND_SAMPLES, 1 / _TREND_SAMPLES), "valid"))


def luma_correlation(one: LumaCurve, other: LumaCurve) -> float | None:
    """How surely two clips brighten and darken together, -1 to 1; None where one of them does not change at all.

    The greatest correlation with one of them moved by up to 0.2 s, less a standard error (of Fisher's z, with a value a
    second), because what is short is easily alike. What only one of them has, at either end, does not count.
    """
    best = None
    for lag in range(-_LAG_SAMPLES, _LAG_SAMPLES + 1):
        a, b = one.values[max(0, lag) :], other.values[max(0, -lag) :]
        length = min(len(a), len(b))
        if length < _LEAST_SAMPLES:
            continue
        a, b = a[:length] - a[:length].mean(), b[:length] - b[:length].mean()
        norm = float(np.linalg.norm(a) * np.linalg.norm(b))
        if norm > 0:
            best = max(best if best is not None else -_ALMOST_ONE, min(float(a @ b) / norm, _ALMOST_ONE))
    if best is None:
        return None
    seconds = min(len(one.values), len(other.values)) / _CURVE_HZ
    return float(np.tanh(np.arctanh(best) - 1 / np.sqrt(seconds)))
