"""Pictures that are made worse by known amounts, and levels that can be counted."""

import cv2
import numpy as np
import pytest

from gpu_kernels.scores.picture_quality import PictureQuality, blur, blur_size
from gpu_kernels.scores.picture_quality import picture_quality as measured


def scene(height: int = 360, width: int = 640) -> np.ndarray:
    """Shapes with edges on a gradient."""
    draw = np.random.default_rng(5)
    picture = np.repeat(np.linspace(60, 180, width, dtype=np.float32)[None], height, axis=0)
    for _ in range(60):
        x, y, size, level = draw.integers([0, 0, 10, 20], [width, height, 60, 235]).tolist()
        cv2.rectangle(picture, (x, y), (x + size, y + size), level, -1)
    return picture


def picture_quality(gray: np.ndarray) -> PictureQuality:
    reduced = cv2.resize(gray, blur_size(gray.shape[1], gray.shape[0]), interpolation=cv2.INTER_AREA)
    return measured(gray, np.arange(256, dtype=np.uint8), np.asarray(reduced, np.uint8))


def whole_blur(gray: np.ndarray) -> float:
    """Crete et al. 2007, of all of a picture and in floating point."""
    picture, found = gray.astype(np.float64), 0.0
    for axis, window in ((0, (1, 9)), (1, (9, 1))):
        sharp = np.abs(np.diff(picture, axis=axis))
        again = np.abs(np.diff(cv2.blur(picture, window), axis=axis))
        found = max(found, 1 - np.maximum(0, sharp - again).sum() / sharp.sum())
    return found


def test_blur_in_whole_numbers_and_bands_is_that_of_the_picture() -> None:
    few = (scene(120, 640) + np.random.default_rng(2).normal(0, 3, (120, 640))).clip(0, 255).astype(np.uint8)
    assert blur(few) == pytest.approx(whole_blur(few), abs=1e-6)  # so low a picture is looked at as a whole
    whole = scene().astype(np.uint8)
    assert blur(whole) == pytest.approx(whole_blur(whole), abs=0.05)


def test_blur_and_noise_rise_with_what_is_done() -> None:
    picture, draw = scene(), np.random.default_rng(1)
    blurred = [blur(cv2.GaussianBlur(picture, (0, 0), sigma).astype(np.uint8)) for sigma in (0.6, 1, 2, 4)]
    assert blurred == sorted(blurred) and blurred[-1] - blurred[0] > 0.2
    dark = blur((cv2.GaussianBlur(picture, (0, 0), 2) * 0.3).astype(np.uint8))
    assert dark == pytest.approx(blurred[2], abs=0.08)
    for sigma in (2, 5, 10):
        noisy = (scene() + draw.normal(0, sigma, picture.shape)).clip(0, 255).astype(np.uint8)
        assert picture_quality(noisy).noise == pytest.approx(sigma, rel=0.1)
    assert picture_quality(np.full((360, 640), 90, np.uint8)).noise == 0


def test_blocks_bands_fields_and_clipped_levels() -> None:
    draw = np.random.default_rng(1)
    picture = scene().astype(np.uint8)
    _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 5])
    blocky = np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_GRAYSCALE), np.uint8)
    assert picture_quality(blocky).blockiness > 2 > 1.3 > picture_quality(picture).blockiness

    ramp = np.repeat(np.linspace(100, 140, 640)[None], 360, axis=0)
    dithered = (ramp + draw.normal(0, 0.8, ramp.shape)).round().astype(np.uint8)
    assert picture_quality(ramp.round().astype(np.uint8)).banding > 0.8
    assert picture_quality(dithered).banding < 0.1

    woven = picture.copy()
    woven[1::2] = np.roll(picture, 12, axis=1)[1::2]
    assert picture_quality(woven).combing > 0.02 > 0.001 > picture_quality(picture).combing

    half = np.full((360, 640), 128, np.uint8)
    half[:, :160], half[:, 160:192] = 0, 255
    found = picture_quality(half)
    assert (found.dark, found.bright) == (0.25, 0.05)


def test_large_and_tiny_pictures() -> None:
    large = cv2.resize(scene().astype(np.uint8), (1920, 1080), interpolation=cv2.INTER_CUBIC)
    assert all(np.isfinite(picture_quality(large)))
    assert picture_quality(np.zeros((8, 40), np.uint8)) == PictureQuality(0, 0, 0, 0, 0, 0, 0)
