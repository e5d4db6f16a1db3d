"""What of a clip stands still, repeats itself, or shows nothing, from signals of all its frames."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from gpu_kernels.scores.measurement import MeasurementConfig

_STILL, _LEAST_STILL, _MOST_STILL = 0.1, 0.02, 0.15
"""A frame shows the picture before it where they differ by less than a tenth of what the clip's lively frames do,
within these bounds: mean differences of thumbnails, in grey levels. An encoder takes some frames to settle."""
_LIVELY = 90
"""Percentile of the differences of a clip that stands for its lively frames."""
_PULSE, _SETTLED = 1.5, 3
"""By how much a picture that stands jumps where an encoder begins anew, at most, between so many frames that do not."""
_FROZEN, _BESIDE, _MOVES = 0.05, 5, 0.3
"""A stretch is frozen if it has less than this share of the movement of the five frames right beside it, and these
differ by at least so much."""
_SLIDES_SHARE, _SLIDES_APART, _SLIDES_CHANGE = 0.6, 1.5, 5.0
"""Share of a slideshow that stands, at least; from one picture to the next, seconds at most and difference at least."""
_REPEATED = 0.4
"""A frame repeats the one before it if it differs from it by less than this share of what its neighbours do."""

_NOTHING = 0.98
"""Share of black pixels, or of those of one colour, from which on a frame shows nothing else."""

_PLAIN, _PLAIN_UNIFORM = 0.02, 0.95
_FADED = 0.05
_FADE_SECONDS, _FADE_FRAMES, _FADE_SLACK = 0.2, 4, 0.002

_FLASH, _FLASH_CHANGE, _FLASH_SECONDS = 0.08, 8.0, 0.25


class StillnessConfig(MeasurementConfig):
    """What counts as still."""

    least_seconds: float = Field(default=0.5, gt=0)
    """A picture that stands for less is not a still stretch."""


class ClipFrames(NamedTuple):
    """Signals of the n frames of a clip; see `frame_signals`.

    Attributes:
        seconds: [n], how long each is shown.
        change: [n], of which the first is not looked at: it is about what was before the clip.
    """

    seconds: NDArray[np.float64]
    luma: NDArray[np.float32]
    black: NDArray[np.float32]
    contrast: NDArray[np.float32]
    uniform: NDArray[np.float32]
    change: NDArray[np.float32]


class Stillness(NamedTuple):
    """Shares are of the clip's time, but for `repeated`.

    Attributes:
        still: share in which the picture stands for `least_seconds` and more.
        longest_still: seconds of the longest such stretch.
        frozen: share in which it stands to the last pixel, where the rest of the clip moves.
        slides: pictures of a slideshow; 0 if it is none.
        repeated: share of the frames outside still stretches that repeat the one before.
        fades: fades from and to a plain picture.
        flashes: sudden light for a quarter of a second at most.
        black, single_colour: share that shows nothing but black, or but one colour.
    """

    still: float
    longest_still: float
    frozen: float
    slides: int
    repeated: float
    fades: int
    flashes: int
    black: float
    single_colour: float


def stillness(frames: ClipFrames, config: StillnessConfig) -> Stillness:
    """The stillness of a clip of at least one frame."""
    seconds, change = frames.seconds, frames.change.astype(np.float64)
    total = float(seconds.sum())
    stretches = _stretches(change, seconds, config.least_seconds)
    moving = np.ones(len(seconds), bool)
    for start, stop in stretches:
        moving[start:stop] = False
    lengths = [float(seconds[start:stop].sum()) for start, stop in stretches]
    still = sum(lengths) / total
    frozen = [length for length, stretch in zip(lengths, stretches, strict=True) if _froze(change, *stretch)]
    return Stillness(
        still=still,
        longest_still=max(lengths, default=0.0),
        frozen=sum(frozen) / total,
        slides=_slides(change, seconds, stretches) if still >= _SLIDES_SHARE else 0,
        repeated=float(_repeats(change)[moving].mean()) if moving.any() else 0.0,
        fades=_fades(frames),
        flashes=_flashes(frames),
        black=float(seconds[frames.black >= _NOTHING].sum()) / total,
        single_colour=float(seconds[frames.uniform >= _NOTHING].sum()) / total,
    )


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where a mask is true, as half-open ranges."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _stretches(change: NDArray[np.float64], seconds: NDArray[np.float64], least: float) -> list[tuple[int, int]]:
    """Ranges of frames that all show one picture."""
    if len(change) < 2:
        return []
    limit = np.clip(_STILL * np.percentile(change[1:], _LIVELY), _LEAST_STILL, _MOST_STILL)
    same = change <= limit
    same[0] = False
    runs: list[tuple[int, int]] = []
    for start, stop in _runs(same):
        settled = runs and min(runs[-1][1] - runs[-1][0], stop - start) >= _SETTLED
        if settled and start - runs[-1][1] == 1 and change[start - 1] <= _PULSE:
            runs[-1] = runs[-1][0], stop
        else:
            runs.append((start, stop))
    found = [(start - 1, stop) for start, stop in runs]
    return [(start, stop) for start, stop in found if seconds[start:stop].sum() >= least - 1e-6]


def _froze(change: NDArray[np.float64], start: int, stop: int) -> bool:
    """Whether the picture moves right up to a still stretch, or on from its end."""
    sides = (change[max(1, start - _BESIDE + 1) : start + 1], change[stop : stop + _BESIDE])
    beside = max((float(np.median(side)) for side in sides if len(side) == _BESIDE), default=0.0)
    return beside >= _MOVES and float(np.median(change[start + 1 : stop])) < _FROZEN * beside


def _slides(change: NDArray[np.float64], seconds: NDArray[np.float64], stretches: list[tuple[int, int]]) -> int:
    """Pictures of a slideshow, if still stretches are those."""
    for (_, stop), (start, _) in pairwise(stretches):
        steps = slice(stop, start + 1)
        if seconds[stop:start].sum() > _SLIDES_APART or change[steps].sum() < _SLIDES_CHANGE:
            return 0
    return len(stretches) if len(stretches) > 1 else 0


def _repeats(change: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether each frame repeats the one before, by what its neighbours change."""
    before, after = np.roll(change, 1), np.roll(change, -1)
    before[:2], after[-1:] = after[:2], before[-1:]
    found = change < _REPEATED * np.minimum(before, after)
    found[:1] = False
    return found


def _fades(frames: ClipFrames) -> int:
    """How often contrast goes to that of a plain picture, or comes from it, little by little."""
    contrast, found = frames.contrast.astype(np.float64), 0
    for start, stop in _runs((contrast <= _PLAIN) & (frames.uniform >= _PLAIN_UNIFORM)):
        for way in (np.arange(start)[::-1], np.arange(stop, len(contrast))):
            falls = np.flatnonzero(np.diff(contrast[way]) < -_FADE_SLACK)
            way = way[: falls[0] + 1] if len(falls) else way
            full = float(contrast[way].max(initial=0.0))
            if full >= _FADED and contrast[way[0]] <= full / 2:
                faded = way[: int(np.argmax(contrast[way] >= 0.9 * full)) + 1]
                found += len(faded) >= _FADE_FRAMES and float(frames.seconds[faded].sum()) >= _FADE_SECONDS
    return int(found)


def _flashes(frames: ClipFrames) -> int:
    """How often it gets much brighter at once, and dark again within a quarter of a second."""
    luma, ends = frames.luma.astype(np.float64), np.cumsum(frames.seconds)
    found, i = 0, 1
    while i < len(luma):
        base = luma[max(0, i - 2) : i].min()
        rise = luma[i] - base
        if rise >= _FLASH and frames.change[i] >= _FLASH_CHANGE:
            until = int(np.searchsorted(ends, ends[i - 1] + _FLASH_SECONDS, side="right"))
            over = np.flatnonzero(luma[i + 1 : until + 1] <= base + rise / 2)
            if len(over):
                found += 1
                i += int(over[0]) + 1
        i += 1
    return found
