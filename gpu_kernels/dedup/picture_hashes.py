"""Perceptual hashes of small pictures: signs of their lowest DCT coefficients, as in pHash and PDQ.

A picture has a hash of its active part, one of the centre 90 % of that and one of the centre 80 %: the first of a
cropped copy is near one of the others of its original. All sums are whole numbers that float64 holds exactly, so that a
hash is the same on every machine and does not depend on the pictures that are hashed with it.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.dedup.active_picture import active_boxes

VIEWS = (1.0, 0.9, 0.8)
"""Shares of each side of the active picture that are hashed, around its centre."""

BITS = 256
GREY = (9, 16)
"""Height and width of the small grey picture."""

_LUMA = np.array([299, 587, 114], np.float32)
"""Of ITU-R BT.601, in thousandths: the sums are whole numbers below 2**24, exact in float32."""
_FINE = 1 << 10
"""Cosines are whole multiples of one by this: products of 18 bits of luma and two cosines, summed up, have 49 bits."""


def _lowest() -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Frequencies along y and x of the coefficients that are used: the lowest, without the mean."""
    high, wide = np.mgrid[:27, :48]
    order = np.argsort((high * 1.375) ** 2 + wide**2, axis=None, kind="stable")[1 : BITS + 1]
    return high.ravel()[order], wide.ravel()[order]


_DOWN, _ACROSS = _lowest()

MIRRORED: NDArray[np.uint8] = np.packbits(_ACROSS % 2 == 1)
"""uint8 [32]: the hash of a mirrored picture is the hash XOR this, because odd cosines change their signs."""


class PictureHashes(NamedTuple):
    """Of each picture.

    Attributes:
        hashes: uint8 [n, len(VIEWS), 32], 256 bits each.
        greys: uint8 [n, 9, 16], the active picture, small and grey.
        shares: uint8 [n], of 255: how much of the frame the active picture is.
    """

    hashes: NDArray[np.uint8]
    greys: NDArray[np.uint8]
    shares: NDArray[np.uint8]


def picture_hashes(thumbnails: NDArray[np.uint8]) -> PictureHashes:
    """Hashes of pictures, each by itself; black borders do not count.

    Args:
        thumbnails: uint8 [n, h, w, 3], full-range RGB: the scan's, 27 by 48.

    Raises:
        ValueError: another shape or dtype.
    """
    return luma_hashes(luma_of(thumbnails))


def luma_of(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Their luma in thousandths of a level, whole numbers, float32 [n, h, w].

    Raises:
        ValueError: another shape or dtype than of thumbnails.
    """
    if thumbnails.dtype != np.uint8 or thumbnails.ndim != 4 or thumbnails.shape[3] != 3 or 0 in thumbnails.shape[1:]:
        raise ValueError(f"pictures must be uint8 [n, h, w, 3], not {thumbnails.dtype} {list(thumbnails.shape)}")
    return thumbnails.astype(np.float32) @ _LUMA


def luma_hashes(luma: NDArray[np.float32]) -> PictureHashes:
    """The hashes of pictures with this luma."""
    hashes = np.zeros((len(luma), len(VIEWS), BITS // 8), np.uint8)
    greys = np.zeros((len(luma), *GREY), np.uint8)
    shares = np.zeros(len(luma), np.uint8)
    if len(luma) == 0:
        return PictureHashes(hashes, greys, shares)
    boxes, which = np.unique(active_boxes(np.rint(luma / 1000).astype(np.uint8)), axis=0, return_inverse=True)
    for index, box in enumerate(boxes.tolist()):
        (own,) = np.nonzero(which.reshape(-1) == index)
        pictures = luma[own].astype(np.float64)
        hashes[own], greys[own] = _hashes(pictures, box), _greys(pictures, box)
        left, top, right, bottom = box
        shares[own] = round(255 * (right - left) * (bottom - top) / luma[0].size)
    return PictureHashes(hashes, greys, shares)


def _hashes(luma: NDArray[np.float64], box: list[float]) -> NDArray[np.uint8]:
    """Of pictures [n, h, w] with one active picture, uint8 [n, views, 32]."""
    count, height, width = luma.shape
    left, top, right, bottom = box
    inner = luma[:, int(np.ceil(top)) : int(bottom), int(np.ceil(left)) : int(right)]
    level = luma - np.rint(inner.mean((1, 2)))[:, None, None]  # a flat picture has no coefficients at all
    across = np.concatenate([_cosines(_ACROSS.max() + 1, width, *_centre(left, right, view)) for view in VIEWS], 1)
    rows = (level.reshape(-1, width) @ across).reshape(count, height, len(VIEWS), -1)
    found: list[NDArray[np.uint8]] = []
    for index, view in enumerate(VIEWS):
        down = _cosines(_DOWN.max() + 1, height, *_centre(top, bottom, view))
        columns = np.ascontiguousarray(rows[:, :, index].swapaxes(1, 2))  # [n, frequency along x, y]
        signs = (columns.reshape(-1, height) @ down).reshape(count, -1) > 0
        found.append(np.packbits(signs.take(_ACROSS * down.shape[1] + _DOWN, axis=1), axis=1))
    return np.stack(found, 1)


def _greys(luma: NDArray[np.float64], box: list[float]) -> NDArray[np.uint8]:
    """Means of the parts of the active picture."""
    count, height, width = luma.shape
    left, top, right, bottom = box
    across, down = parts(GREY[1], width, left, right), parts(GREY[0], height, top, bottom)
    rows = np.ascontiguousarray((luma.reshape(-1, width) @ across).reshape(count, height, -1).swapaxes(1, 2))
    sums = (rows.reshape(-1, height) @ down).reshape(count, GREY[1], GREY[0]).swapaxes(1, 2)
    return np.rint(sums / (1000 * down.sum(0)[:, None] * across.sum(0))).astype(np.uint8)


def _centre(low: float, high: float, share: float) -> tuple[float, float]:
    aside = (high - low) * (1 - share) / 2
    return low + aside, high - aside


@lru_cache(maxsize=1024)
def _cosines(count: int, size: int, low: float, high: float) -> NDArray[np.float64]:
    """Integrals of the first cosines of [low, high] over each pixel's part in it, [size, count], rounded to _FINE."""
    ends = (np.clip(np.arange(size + 1), low, high) - low) / (high - low)
    order = np.arange(count)
    sines = np.sin(np.pi * order * ends[:, None]) / (np.pi * np.maximum(order, 1))
    return np.rint(np.diff(np.where(order == 0, ends[:, None], sines), axis=0) * (high - low) * _FINE)


@lru_cache(maxsize=1024)
def parts(count: int, size: int, low: float, high: float) -> NDArray[np.float64]:
    """How much of each pixel lies in each of the equal parts of [low, high], [size, count], rounded to _FINE."""
    cuts = np.linspace(low, high, count + 1)
    pixels = np.arange(size)[:, None]
    within = np.minimum(pixels + 1, cuts[1:]) - np.maximum(pixels, cuts[:-1])
    return np.rint(np.maximum(within, 0) * _FINE)
