"""How technically good a picture is, from its luma at full size: as decoded, before anything scales it."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_BANDS, _BAND_ROWS = 6, 16
"""A picture is looked at in so many bands across it, of so many lines."""
_BLUR_SIDE = 360
"""Short side at which blur is measured, so that pictures of all sizes compare."""
_BLUR_BANDS, _BLUR_ROWS = 3, 40
_WINDOW = 9
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


def blur_size(width: int, height: int) -> tuple[int, int]:
    """Width and height of the picture that blur is measured in."""
    scale = min(1.0, _BLUR_SIDE / min(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def picture_quality(luma: NDArray[np.uint8], levels: NDArray[np.uint8], reduced: NDArray[np.uint8]) -> PictureQuality:
    """Measure one picture, in bands across it: they tell as much as all of it.

    Args:
        luma: uint8 [h, w], at full size; at least 16 pixels each way, or all is 0.
        levels: uint8 [256], what each of its values is in full range.
        reduced: the picture in `blur_size`.
    """
    if min(luma.shape) < 16:
        return PictureQuality(0, 0, 0, 0, 0, 0, 0)
    bands = levels[_bands(luma, _BANDS, _BAND_ROWS)]
    return PictureQuality(
        blur=blur(reduced),
        noise=_noise(bands),
        blockiness=_blockiness(bands),
        banding=_banding(bands[:, ::8].reshape(-1, luma.shape[1]).astype(np.int16)),
        combing=_combing(bands),
        dark=np.count_nonzero(bands <= _DARK) / bands.size,
        bright=np.count_nonzero(bands >= _BRIGHT) / bands.size,
    )


def blur(reduced: NDArray[np.uint8]) -> float:
    """The re-blur ratio of a picture of `blur_size`; 1 for one without any edge."""
    import cv2

    bands = _bands(reduced, _BLUR_BANDS, _BLUR_ROWS)
    beside, below = np.concatenate(bands, axis=1), np.concatenate(bands, axis=0)  # no band looks at another
    found = 0.0
    for picture, window, later, earlier in (
        (beside, (1, _WINDOW), np.s_[1:], np.s_[:-1]),
        (below, (_WINDOW, 1), np.s_[:, 1:], np.s_[:, :-1]),
    ):
        sharp = cv2.absdiff(picture[later], picture[earlier])
        sums = cv2.boxFilter(picture, cv2.CV_16U, window, normalize=False)
        total = cv2.sumElems(sharp)[0] * _WINDOW
        lost = cv2.subtract(sharp.astype(np.uint16) * np.uint16(_WINDOW), cv2.absdiff(sums[later], sums[earlier]))
        found = max(found, 1 - cv2.sumElems(lost)[0] / total if total else 1.0)
    return found


def _bands(gray: NDArray[np.uint8], count: int, rows: int) -> NDArray[np.uint8]:
    """[bands, rows, width], each beginning at a multiple of 8 lines."""
    height = gray.shape[0]
    if height <= count * rows:
        return gray[None]
    starts = np.linspace(0, height - rows, count).astype(int) // 8 * 8
    return np.stack([gray[start : start + rows] for start in starts])


def _apart(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.maximum(one, other) - np.minimum(one, other)


def _noise(bands: NDArray[np.uint8]) -> float:
    rows, columns = bands.shape[1] // 2 * 2, bands.shape[2] // 2 * 2
    steps = bands[:, 0:rows:2, :columns].astype(np.int16) - bands[:, 1:rows:2, :columns]
    detail = np.abs(steps[..., 0::2] - steps[..., 1::2]).ravel()
    counts = np.bincount(detail)
    half = len(detail) // 2
    if not half:
        return 0.0
    within = np.minimum(np.cumsum(counts), half)  # how many of the smaller half are at most so large
    return float(np.diff(within, prepend=0) @ np.arange(len(counts))) / half / 2 / _TRIMMED


def _blockiness(bands: NDArray[np.uint8]) -> float:
    steps = _apart(bands[..., 1:], bands[..., :-1]).mean((0, 1), dtype=np.float32).astype(np.float64)
    at_border = np.arange(len(steps)) % 8 == 7
    return float((steps[at_border].mean() + 0.1) / (steps[~at_border].mean() + 0.1))


def _combing(bands: NDArray[np.uint8]) -> float:
    above, line, below = bands[:, :-2], bands[:, 1:-1], bands[:, 2:]
    least = np.minimum(_apart(line, above), _apart(line, below))
    # Where the lines around are so much more alike, the one between them is brighter than both, or darker.
    alike = _apart(above, below) < (least + 1) // 2
    return np.count_nonzero(alike & (least > _COMB)) / alike.size


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
