"""What stands still, in signals that are written by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from gpu_kernels.scores.stillness import ClipFrames, Stillness, StillnessConfig, stillness

RATE = 25


def of(change: Sequence[float], **others: Any) -> Stillness:
    n = len(change)
    plain = {"luma": 0.5, "black": 0.0, "contrast": 0.2, "uniform": 0.1} | others
    values = {name: np.broadcast_to(np.asarray(value, np.float32), n) for name, value in plain.items()}
    frames = ClipFrames(seconds=np.full(n, 1 / RATE), change=np.array(change, np.float32), **values)
    return stillness(frames, StillnessConfig())


def test_a_stretch_is_frozen_where_the_rest_moves() -> None:
    """The frame that the picture stands on belongs to the stretch, and a keyframe within it does not end it."""
    frozen = of([9, *[1.5] * 39, *[0] * 10, 0.7, *[0] * 9, *[1.5] * 40])
    assert frozen.still == frozen.frozen == pytest.approx(0.21)
    assert frozen.longest_still == pytest.approx(21 / RATE)
    assert of([9, *[1.5] * 39, *[0] * 10, *[1.5] * 50]).still == 0  # not for half a second
    quiet = of([9, *[1.5] * 34, *[0.3] * 5, *[0.1] * 20, *[0.3] * 5, *[1.5] * 35])  # a moment in which little moves
    assert quiet.still == pytest.approx(0.21) and quiet.frozen == 0
    whole = of([9, *[0] * 99])
    assert (whole.still, whole.frozen, whole.slides) == (1, 0, 0)
    noise = of([9, *[0.05] * 99])
    assert (noise.still, noise.repeated) == (0, 0)


def test_slideshows_and_repeated_frames() -> None:
    cut, dissolve = [40, *[0] * 49], [*[3] * 20, *[0] * 30]
    assert of([0, *cut[1:], *cut, *cut]).slides == 3
    assert of([0, *cut[1:], *dissolve, *dissolve]).slides == 3
    assert of([*[2] * 60, *cut]).slides == 0
    assert of([9, *[0, 1.5, 1.5, 1.5, 1.5] * 20]).repeated == pytest.approx(20 / 101)
    assert of([9, *[0, 1.5] * 50]).repeated == pytest.approx(50 / 101)


def test_fades_flashes_and_nothing_to_see() -> None:
    ramp = np.linspace(0, 1, 25)
    level = np.concatenate([ramp, np.ones(50), ramp[::-1], np.zeros(5)])
    faded = of([1] * 105, contrast=0.2 * level, uniform=np.where(level < 0.1, 1, 0.1), black=level < 0.05)
    assert faded.fades == 2
    assert faded.black == pytest.approx(9 / 105) and faded.single_colour == pytest.approx(11 / 105)
    cut = np.concatenate([np.zeros(10), np.ones(50)])
    assert of([1] * 60, contrast=0.2 * cut, uniform=1 - 0.9 * cut).fades == 0
    luma, change = np.full(100, 0.4), np.ones(100)
    luma[[30, 31, 60]] = 0.8
    change[[30, 32, 60, 61]] = 60
    assert of(change.tolist(), luma=luma).flashes == 2
    luma[30:] = 0.8  # it stays bright
    assert of(change.tolist(), luma=luma).flashes == 0


def test_one_frame_is_a_clip() -> None:
    assert of([3]) == Stillness(0, 0, 0, 0, 0, 0, 0, 0, 0)
