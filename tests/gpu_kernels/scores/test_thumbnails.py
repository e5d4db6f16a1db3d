"""Signals of small pictures against arithmetic by hand."""

import numpy as np
import pytest

from gpu_kernels.scores.thumbnails import thumbnail_signals


def test_signals_of_pictures_that_are_known() -> None:
    grey = np.full((27, 48, 3), 100, np.uint8)
    halves = grey.copy()
    halves[:, 24:] = 200
    red = np.zeros((27, 48, 3), np.uint8)
    red[..., 0] = 255
    nearly = grey.copy()
    nearly[:, 0] = 110
    nearly[:, 1] = 111
    found = thumbnail_signals(np.stack([grey, halves, red, nearly]))
    assert found.change[:2].tolist() == [0, 50]
    assert found.contrast[:3].tolist() == pytest.approx([0, 50 / 255, 0], abs=1e-6)
    # Of pure red, red less green is 255 and yellow less blue 127.5, without any spread.
    assert found.colourfulness[:3].tolist() == pytest.approx([0, 0, 0.3 * np.hypot(255, 127.5)], abs=1e-4)
    assert found.uniform.tolist() == pytest.approx([1, 0.5, 1, 47 / 48], abs=1e-6) or found.uniform[1] == 0


def test_pictures_come_in_any_pieces() -> None:
    frames = np.random.default_rng(1).integers(0, 256, (9, 27, 48, 3), np.uint8)
    whole = thumbnail_signals(frames)
    parts = [thumbnail_signals(frames[:4]), thumbnail_signals(frames[4:], frames[3])]
    for name in whole._fields:
        np.testing.assert_array_equal(getattr(whole, name), np.concatenate([getattr(part, name) for part in parts]))
    assert whole.change[5] == pytest.approx(np.abs(frames[5].astype(int) - frames[4]).mean())
