"""Luminance and sharpness against direct formulas."""

import numpy as np
import pytest

from gpu_kernels.scores.luminance import sharpness, thumbnail_luminance


def test_luminance_of_primaries() -> None:
    colours = [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255)]
    frames = np.broadcast_to(np.array(colours, np.uint8)[:, None, None], (5, 27, 48, 3))
    mean, black = thumbnail_luminance(frames, black_level=0.12)
    assert mean.dtype == black.dtype == np.float32
    np.testing.assert_allclose(mean, [0, 1, 0.299, 0.587, 0.114], atol=1e-7)
    np.testing.assert_array_equal(black, [1, 0, 0, 0, 1])


def test_luminance_of_mixed_frames_is_each_frames_own() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (7, 27, 48, 3), np.uint8)
    frames[3, :9] = 20
    luma = (0.299 * frames[..., 0] + 0.587 * frames[..., 1] + 0.114 * frames[..., 2]) / 255
    mean, black = thumbnail_luminance(frames)
    np.testing.assert_allclose(mean, luma.mean((1, 2)), atol=1e-6)
    np.testing.assert_allclose(black, (luma < 0.1).mean((1, 2)), atol=1e-6)
    alone = [thumbnail_luminance(frame[None]) for frame in frames]
    np.testing.assert_array_equal(mean, [m[0] for m, _ in alone])
    assert thumbnail_luminance(frames[:0])[0].shape == (0,)
    with pytest.raises(ValueError, match="uint8"):
        thumbnail_luminance(frames.astype(np.float32))  # pyright: ignore[reportArgumentType]


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (40, 61), np.uint8)
    p = np.pad(picture.astype(float), 1, mode="reflect")
    laplacian = p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:] - 4 * p[1:-1, 1:-1]
    assert sharpness(picture) == pytest.approx(laplacian.var(), rel=1e-12)
    blurred = (p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:]) / 4
    assert sharpness(blurred.astype(np.uint8)) < sharpness(picture) / 2
    assert sharpness(np.full((8, 8), 77, np.uint8)) == 0
