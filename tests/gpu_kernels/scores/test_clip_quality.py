"""Percentiles over time, by hand."""

import numpy as np
import pytest

from gpu_kernels.scores.clip_quality import OF_FRAMES, OF_SAMPLES, clip_quality


def test_frames_that_show_nothing_are_neither_blurred_nor_noisy() -> None:
    values = np.arange(11, dtype=np.float32)
    samples = {**dict.fromkeys(OF_SAMPLES, values), "blockiness": values + 1}
    frames = dict.fromkeys(OF_FRAMES, np.full(110, 0.2, np.float32))
    frames["contrast"] = np.where(np.arange(110) < 55, 0.001, 0.2).astype(np.float32)
    found = clip_quality(samples, frames, np.arange(0, 110, 10))
    assert found["dark"] == 5 and found["dark_low"] == 1 and found["dark_high"] == 9
    assert found["blur"] == pytest.approx(8) and found["luma"] == pytest.approx(0.2)
    small = clip_quality(dict.fromkeys(OF_SAMPLES, 0 * values), frames, np.arange(0, 110, 10))
    assert all(small[name] is None for name in OF_SAMPLES) and small["luma"] == pytest.approx(0.2)
    nothing = clip_quality(dict.fromkeys(OF_SAMPLES, values[:0]), frames, np.zeros(0, np.int64))
    assert nothing["blur"] is nothing["dark"] is None and nothing["luma_low"] == pytest.approx(0.2)
