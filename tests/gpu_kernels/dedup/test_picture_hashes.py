from typing import Any

import cv2
import numpy as np
import pytest

from gpu_kernels.dedup.active_picture import active_boxes
from gpu_kernels.dedup.picture_hashes import BITS, MIRRORED, VIEWS, picture_hashes


def large(count: int, seed: int = 1) -> np.ndarray:
    """uint8 [count, 360, 640, 3]: coloured patches of several sizes."""
    random = np.random.default_rng(seed)
    pictures = np.zeros((count, 360, 640, 3), np.float32)
    for cells, weight in ((3, 90), (7, 50), (16, 30), (40, 15)):
        for picture in pictures:
            coarse = random.normal(0, weight, (cells, cells * 16 // 9, 3)).astype(np.float32)
            picture += cv2.resize(coarse, (640, 360), interpolation=cv2.INTER_CUBIC)
    return np.clip(pictures + 128, 0, 255).astype(np.uint8)


def small(pictures: np.ndarray) -> np.ndarray:
    return np.stack([cv2.resize(picture, (48, 27), interpolation=cv2.INTER_AREA) for picture in pictures])


def barred(pictures: np.ndarray, across: float, down: float, level: int = 0) -> np.ndarray:
    """Pictures with bars on either side, by their share of the new width or height."""
    _, height, width, _ = pictures.shape
    x, y = round(width * across / (1 - 2 * across)), round(height * down / (1 - 2 * down))
    return np.pad(pictures, ((0, 0), (y, y), (x, x), (0, 0)), constant_values=level)


def bits(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.bitwise_count(one ^ other).sum(-1)


def test_bits_are_signs_of_the_lowest_cosines_of_the_picture():
    thumbnails = small(large(4))
    found = np.unpackbits(picture_hashes(thumbnails).hashes, axis=2)
    fine = 40  # points per pixel: sums over them are the integrals, nearly
    luma = (thumbnails.astype(np.float64) @ [0.299, 0.587, 0.114]).repeat(fine, 1).repeat(fine, 2)
    order = sorted(((1.375 * v) ** 2 + u**2, v, u) for v in range(27) for u in range(48))[1 : BITS + 1]
    for index, view in enumerate(VIEWS):
        aside = [round(size * (1 - view) / 2) for size in luma.shape[1:]]
        centre = luma[:, aside[0] : luma.shape[1] - aside[0], aside[1] : luma.shape[2] - aside[1]]
        points = [(np.arange(size) + 0.5) / size for size in centre.shape[1:]]
        down = np.array([np.cos(np.pi * v * points[0]) for _, v, _ in order])
        across = np.array([np.cos(np.pi * u * points[1]) for _, _, u in order])
        means = np.einsum("by,nyx,bx->nb", down, centre, across, optimize=True) / centre[0].size
        clear = np.abs(means) > 0.05
        assert clear.mean() > 0.85
        assert ((means > 0) == found[:, index])[clear].all()


def test_values_of_a_picture_depend_on_it_alone_and_never_change():
    mixed = np.concatenate([small(large(9)), small(barred(large(4, 2), 0.125, 0)), small(barred(large(4, 3), 0, 0.12))])
    together = picture_hashes(mixed)
    order = np.random.default_rng(1).permutation(len(mixed))
    shuffled = picture_hashes(mixed[order])
    assert np.array_equal(shuffled.hashes, together.hashes[order])
    assert np.array_equal(shuffled.greys, together.greys[order])
    assert np.array_equal(shuffled.shares, together.shares[order])
    for index in range(len(mixed)):
        alone = picture_hashes(mixed[index : index + 1])
        assert np.array_equal(alone.hashes[0], together.hashes[index])
        assert np.array_equal(alone.greys[0], together.greys[index])
    # Stored hashes are compared with new ones: whoever changes these raises the version of picture_hashes.
    y, x = np.mgrid[:27, :48]
    known = np.stack([(x * 5 + y * 3) % 256, (x * y) % 256, (x * x + y) % 256], -1).astype(np.uint8)
    assert [each.tobytes().hex() for each in picture_hashes(known[None]).hashes[0]] == [
        "0a57b4a4a49a5cc866a27e194fe76438ad5d79bc56e0871d0e9f6f2dbd314582",
        "0855b6a4b4ba4cc864a3780fd6a8c6ba0e6e7936d06c870807e74b099dd385c2",
        "0015a2a0b4ba4c8afc134a86b9c982b6426e799c52498771a7eb29b1e246577c",
    ]


def test_mirrored_pictures_have_the_hash_xor_a_mask():
    pictures = np.concatenate([small(large(6)), small(barred(large(4, 2), 0.125, 0.1))])
    plain, mirrored = picture_hashes(pictures), picture_hashes(np.ascontiguousarray(pictures[:, :, ::-1]))
    assert np.array_equal(mirrored.hashes, plain.hashes ^ MIRRORED)
    assert np.array_equal(mirrored.greys, plain.greys[:, :, ::-1])


@pytest.mark.parametrize(("across", "down"), [(0, 0.06), (0, 0.128), (0.125, 0), (0.34, 0), (0.1, 0.1)])
def test_borders_do_not_count(across: float, down: float):
    pictures = large(8)
    plain, thumbnails = picture_hashes(small(pictures)), small(barred(pictures, across, down, level=2))
    boxes = active_boxes(np.ascontiguousarray(thumbnails[..., 1]))
    assert np.allclose(boxes, [48 * across, 27 * down, 48 * (1 - across), 27 * (1 - down)], atol=0.5)
    found = picture_hashes(thumbnails)
    assert bits(found.hashes[:, 0], plain.hashes[:, 0]).max() <= 45
    assert np.abs(found.greys.astype(int) - plain.greys).mean() <= 10
    assert (plain.shares == 255).all()
    assert np.allclose(found.shares / 255, (1 - 2 * across) * (1 - 2 * down), atol=0.04)


def test_subtitles_in_a_bar_leave_it_a_bar():
    pictures = barred(large(8), 0, 0.128)
    height = pictures.shape[1]
    titled = pictures.copy()
    for x in range(120, 520, 12):
        titled[:, int(height * 0.91) : int(height * 0.95), x : x + 5] = 240
    assert bits(picture_hashes(small(titled)).hashes, picture_hashes(small(pictures)).hashes).max() <= 12


def test_dark_pictures_are_left_whole():
    night = small(large(6)) // 9
    half = small(large(6, 2))
    half[:, :14] = half[:, :14] // 12  # dark above a slope: no straight edge
    for row in range(14):
        half[:, row, : 20 + row] = 90
    one = np.full((1, 27, 48, 3), 7, np.uint8)
    black = np.concatenate([night, half, one, one * 0])
    grey = np.ascontiguousarray(black[..., 1])
    assert (active_boxes(grey) == [0, 0, 48, 27]).all()
    assert not picture_hashes(black).hashes[-2:].any()


def test_the_centre_of_the_original_is_the_whole_of_a_cropped_copy():
    pictures = large(8)
    original = picture_hashes(small(pictures)).hashes
    others = bits(original[:, None], original[None])[~np.eye(len(pictures), dtype=bool)]
    assert others.min() >= 85
    for view, share in ((1, 0.9), (2, 0.8)):
        y, x = (round(size * (1 - share) / 2) for size in (360, 640))
        copy = picture_hashes(small(pictures[:, y : 360 - y, x : 640 - x])).hashes
        assert bits(copy[:, 0], original[:, view]).max() <= 24


def test_other_arrays_are_refused():
    whole: Any = np.zeros((1, 27, 48, 3), np.float32)
    for wrong in (np.zeros((1, 27, 48), np.uint8), whole):
        with pytest.raises(ValueError, match="pictures must be uint8"):
            picture_hashes(wrong)
    assert picture_hashes(np.zeros((0, 27, 48, 3), np.uint8)).hashes.shape == (0, 3, 32)
