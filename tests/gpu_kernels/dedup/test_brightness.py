"""Brightness over time: alike in copies, and not in other moments."""

import numpy as np
import pytest

from gpu_kernels.dedup.brightness import LumaCurve, luma_correlation
from gpu_kernels.dedup.groups import DuplicateGroupsConfig


def filmed(seed: int, seconds: float, rate: float = 25.0, start: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Times in nanoseconds, and brightness that changes as people's movements do, from some moment of a film."""
    at = start + np.arange(0, seconds, 1 / rate)
    waves = np.random.default_rng(seed).uniform([0.3, 0, 0.002], [3.0, 6.3, 0.01], (12, 3))
    luma = 0.4 + sum(size * np.sin(2 * np.pi * pace * at + phase) for pace, phase, size in waves)
    return np.round((at - start) * 1e9).astype(np.int64), np.asarray(luma, np.float32)


@pytest.mark.parametrize("seconds", [3.0, 10.0, 40.0])
def test_a_copy_brightens_and_darkens_with_its_original_and_no_other_moment_does(seconds: float):
    config = DuplicateGroupsConfig()
    assert config.min_luma_correlation is not None
    noise = np.random.default_rng(0)
    for seed in range(20):
        original = LumaCurve.of(*filmed(seed, seconds))
        pts, luma = filmed(seed, seconds, rate=15.0, start=0.08)  # at another rate, and cut two frames later
        copy = LumaCurve.of(pts, 1.3 * luma + 0.1 + noise.normal(0, 0.002, len(luma)).astype(np.float32))
        assert (luma_correlation(original, copy) or 0) >= config.min_luma_correlation
        pts, luma = filmed(seed, seconds, start=100.0 + seed)
        moment = LumaCurve.of(pts, luma + np.linspace(0, 0.2, len(luma), dtype=np.float32))
        assert (luma_correlation(original, moment) or 0) < config.min_luma_correlation


def test_what_does_not_change_is_not_compared():
    pts, luma = filmed(1, 5.0)
    still = LumaCurve.of(pts, np.full(len(pts), 0.5, np.float32))
    assert luma_correlation(still, still) is None
    assert luma_correlation(LumaCurve.of(pts, luma), still) is None
    assert luma_correlation(LumaCurve.of(pts[:1], luma[:1]), LumaCurve.of(pts[:1], luma[:1])) is None
    # The drift of the light is no change, or all moments of an afternoon would be alike.
    drift = LumaCurve.of(pts, np.linspace(0.2, 0.8, len(pts), dtype=np.float32))
    assert np.abs(drift.values[5:-6]).max() < 1e-6
