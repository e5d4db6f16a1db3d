"""How technically good a picture is, from its luma at full size: as decoded, before anything scales it."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_BANDS, _BAND_ROWS = 8, 32
"""A large picture is looked at in so many bands across it, of so many lines."""
_BLUR_SIDE = 360
"""Short side at which blur is measured, so that pictures of all sizes compare."""
_TRIMMED = 0.3247
"""Mean of the smaller half of |x| for a normal distribution of width 1."""
_DARK, _BRIGHT = 2, 253
_COMB = 12
_BAND_LEAST, _BAND_STEP = 8, 4


class PictureQuality(NamedTuple):
    """Of one picture.

    Attributes:
        blur: 0 (sharp) to 1, by how little is lost when it is blurred again (Crete et al. 2007).
        noise: standard deviation of the finest diagonal detail, in grey levels.
        blockiness: differences across the borders of blocks of 8 pixels, by those within blocks; about 1 without them.
        banding: share of pixels in steps of what should be a gradient.
        combing: share of pixels that lie between two like lines and differ from both, as in woven fields.
        dark, bright: share of pixels at the darkest and at the brightest levels.
    """

    blur: float
    noise: float
    blockiness: float
    banding: float
    combing: float
    dark: float
    bright: float


def picture_quality(gray: NDArray[np.uint8]) -> PictureQuality:
    """Measure one picture, uint8 [h, w], full range; at least 16 pixels each way, or all is 0."""
    if min(gray.shape) < 16:
        return PictureQuality(0, 0, 0, 0, 0, 0, 0)
    bands = _bands(gray)
    levels = bands.astype(np.int16)
    return PictureQuality(
        blur=blur(gray),
        noise=_noise(levels),
        blockiness=_blockiness(levels),
        banding=_banding(levels[:, ::4].reshape(-1, gray.shape[1])),
        combing=_combing(levels),
        dark=float((bands <= _DARK).mean()),
        bright=float((bands >= _BRIGHT).mean()),
    )


def blur(gray: NDArray[np.uint8]) -> float:
    """The re-blur ratio of a picture, at a short side of 360 pixels at most; 1 for one without any edge."""
    import cv2

    height, width = gray.shape
    if min(height, width) > _BLUR_SIDE:
        scale = _BLUR_SIDE / min(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        gray = np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.uint8)
    picture, found = gray.astype(np.float32), 0.0
    for axis, kernel in ((0, (1, 9)), (1, (9, 1))):
        sharp = np.abs(np.diff(picture, axis=axis))
        blurred = np.abs(np.diff(np.asarray(cv2.blur(picture, kernel), np.float32), axis=axis))
        total = float(sharp.sum(dtype=np.float64))
        lost = float(np.maximum(0, sharp - blurred).sum(dtype=np.float64))
        found = max(found, 1 - lost / total if total else 1.0)
    return found


def _bands(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[bands, rows, width], each beginning at a multiple of 8 lines."""
    height = gray.shape[0]
    if height <= _BANDS * _BAND_ROWS:
        return gray[None]
    starts = np.linspace(0, height - _BAND_ROWS, _BANDS).astype(int) // 8 * 8
    return np.stack([gray[start : start + _BAND_ROWS] for start in starts])


def _noise(levels: NDArray[np.int16]) -> float:
    rows, columns = levels.shape[1] // 2 * 2, levels.shape[2] // 2 * 2
    even, odd = levels[:, 0:rows:2, :columns], levels[:, 1:rows:2, :columns]
    detail = np.abs((even - odd)[..., 0::2] - (even - odd)[..., 1::2]).ravel()
    half = np.partition(detail, len(detail) // 2)[: len(detail) // 2]
    return float(half.mean(dtype=np.float64)) / 2 / _TRIMMED if len(half) else 0.0


def _blockiness(levels: NDArray[np.int16]) -> float:
    steps = np.abs(np.diff(levels, axis=2)).mean((0, 1), dtype=np.float64)
    at_border = np.arange(len(steps)) % 8 == 7
    return float((steps[at_border].mean() + 0.1) / (steps[~at_border].mean() + 0.1))


def _combing(levels: NDArray[np.int16]) -> float:
    above, line, below = levels[:, :-2], levels[:, 1:-1], levels[:, 2:]
    to_above, to_below = line - above, line - below
    least = np.minimum(np.abs(to_above), np.abs(to_below))
    combed = (least > _COMB) & ((to_above > 0) == (to_below > 0)) & (np.abs(above - below) * 2 < least)
    return float(combed.mean())


def _banding(rows: NDArray[np.int16]) -> float:
    """Pixels in level runs between two small steps in one direction."""
    steps = np.diff(rows, axis=1)
    width = steps.shape[1]
    places = np.flatnonzero(steps)
    if len(places) < 2:
        return 0.0
    size = steps.ravel()[places]
    length = np.diff(places)
    one_row = places[1:] // width == places[:-1] // width
    gradual = (size[1:] > 0) == (size[:-1] > 0)
    small = (np.abs(size[1:]) <= _BAND_STEP) & (np.abs(size[:-1]) <= _BAND_STEP)
    banded = one_row & gradual & small & (length >= _BAND_LEAST) & (length <= width // 6)
    return float(length[banded].sum()) / rows.size
