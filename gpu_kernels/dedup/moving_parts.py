"""Whether what moves in two spans moves alike: small grey pictures without what stands still in them.

A copy's moving part correlates with the original's, whatever its brightness. Other moments before the same camera show
the same picture, yet move otherwise.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.dedup.picture_hashes import GREY

_WINDOW_SECONDS = 3.0
"""A picture's still part is its mean over so long: 2 to 4 s tell best (docs/dedup.md)."""
_LEAST_SAMPLES = 5
_ALMOST_ONE = 1 - 1e-9
_PLAIN = 2.0
"""Standard deviation in grey levels below which a picture shows nothing."""
_EITHER_SIDE = 2
"""Samples between a moment and those whose difference is its change."""


def plain(greys: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which pictures show nothing, black ones or fog: their hashes are noise, and near those of many others.

    Args:
        greys: uint8 [n, h, w].
    """
    return greys.std((1, 2)) < _PLAIN


def as_seen(greys: NDArray[np.uint8], share: float, mirrored: bool) -> NDArray[np.float32]:
    """The centre of grey pictures, a share of each side, in their own size: float32 [n, h, w]."""
    pictures: NDArray[np.float32] = greys.astype(np.float32)
    if share < 1:
        pictures = np.matmul(_centre(GREY[0], share) @ pictures, _centre(GREY[1], share).T, dtype=np.float32)
    return pictures[:, :, ::-1] if mirrored else pictures


@lru_cache(maxsize=64)
def _centre(size: int, share: float) -> NDArray[np.float32]:
    """Means of equal parts of the centre of a line, [size, size]."""
    cuts = size * ((1 - share) / 2 + share * np.arange(size + 1) / size)
    pixels = np.arange(size)
    within = np.minimum(pixels + 1, cuts[1:, None]) - np.maximum(pixels, cuts[:-1, None])
    return np.maximum(within, 0).astype(np.float32) / np.float32(share)


def changes(pictures: NDArray[np.float32], least: float) -> NDArray[np.float32]:
    """How each picture changes around its moment, as a unit vector, float32 [n, h * w]; zero where that is less than
    `least` grey levels (root mean square), so that a product of two is their likeness.

    Args:
        pictures: float32 [n, h, w], of successive samples.
    """
    count = len(pictures)
    at = np.arange(count)
    later, earlier = np.minimum(at + _EITHER_SIDE, count - 1), np.maximum(at - _EITHER_SIDE, 0)
    change = (pictures[later] - pictures[earlier]).reshape(count, -1)
    norm = np.linalg.norm(change, axis=1)
    norm[norm < least * np.sqrt(change.shape[1])] = np.inf
    return change / norm[:, None]


def motion_correlation(
    a: NDArray[np.float32],
    b: NDArray[np.float32],
    when: NDArray[np.float64],
    seconds_b: NDArray[np.float64],
    least: float,
) -> float | None:
    """How surely what moves moves alike, -1 to 1, over windows in which something does on both sides; None without one.

    The correlation less a standard error (of Fisher's z, with a value a second), because what is short is easily alike.

    Args:
        a, b: [n, h, w] and [m, h, w], pictures of the two spans; b is looked at between its samples, too, because half
            a step costs a tenth of the correlation.
        when: [n], increasing, where in b each picture of a is, in seconds.
        seconds_b: [m], times of b's samples.
        least: grey levels, root mean square.
    """
    inside = (when >= seconds_b[0]) & (when <= seconds_b[-1])
    a, when = a[inside], when[inside]
    if len(a) < _LEAST_SAMPLES or len(b) < 2:
        return None
    right = np.clip(np.searchsorted(seconds_b, when), 1, len(b) - 1)
    left = right - 1
    part = ((when - seconds_b[left]) / (seconds_b[right] - seconds_b[left])).astype(np.float32)[:, None, None]
    other = b[left] * (1 - part) + b[right] * part
    both = own_a = own_b = seconds = 0.0
    for window in np.array_split(np.arange(len(a)), max(1, round((when[-1] - when[0]) / _WINDOW_SECONDS))):
        if len(window) < _LEAST_SAMPLES:
            continue
        moving_a, moving_b = (each[window] - each[window].mean(0) for each in (a, other))
        energy_a, energy_b = (float((each * each).sum(dtype=np.float64)) for each in (moving_a, moving_b))
        if min(energy_a, energy_b) < least**2 * moving_a.size:
            continue
        both += float((moving_a * moving_b).sum(dtype=np.float64))
        own_a, own_b = own_a + energy_a, own_b + energy_b
        seconds += float(when[window[-1]] - when[window[0]])
    if seconds == 0:
        return None
    correlation = min(both / float(np.sqrt(own_a * own_b)), _ALMOST_ONE)
    return float(np.tanh(np.arctanh(correlation) - 1 / np.sqrt(seconds)))
