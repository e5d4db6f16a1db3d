"""Lines t_b = t_a / speed + offset through pairs of moments that are alike: votes, then a fit.

The votes are a Hough transform (P. Hough 1962; over offsets alone it is how A. Wang 2003, "An industrial-strength audio
search algorithm", lays recordings against each other). The fit is least squares on the best partner of each moment,
in a band that narrows.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_SPEED_STEP = 0.02
"""Of the logarithm of speeds that are voted for: at a minute's ends such a line is 0.3 s off at most."""
_DEARER = 0.01
"""What share of its votes a speed has to give up for each step that it is away from 1."""
_NONE = 1 << 30
_BANDS = (3.5, 2.5, 2.0, 1.5)
"""Half-widths of the band of the fit, in steps."""


@dataclass(frozen=True)
class Hits:
    """Pairs of moments that are alike.

    Attributes:
        rows, columns: int64 [k], indices of samples.
        bits: int32 [k], bits of their hashes that differ.
        weights: float64 [k], how much each counts, at least 0.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    bits: NDArray[np.int32]
    weights: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: NDArray[np.bool_]) -> "Hits":
        return Hits(self.rows[which], self.columns[which], self.bits[which], self.weights[which])


@dataclass(frozen=True)
class Times:
    """When samples are.

    Attributes:
        a, b: float64, seconds.
        step: from a sample of b to the next: how exact an offset is known.
    """

    a: NDArray[np.float64]
    b: NDArray[np.float64]
    step: float


@dataclass(frozen=True)
class Line:
    """When in b the moments of a are, in seconds of each.

    Attributes:
        votes: weight of the pairs near it.
    """

    speed: float
    offset: float
    votes: float

    def __call__(self, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        return seconds / self.speed + self.offset


def best_line(hits: Hits, times: Times, most_speed: float) -> Line:
    """The line with the most votes; of equal ones the one whose speed is nearest to 1."""
    steps = int(np.log(most_speed) / _SPEED_STEP + 1e-9)
    at_a, at_b = times.a[hits.rows], times.b[hits.columns]
    best = Line(1.0, 0.0, 0.0)
    for number in sorted(range(-steps, steps + 1), key=lambda each: (abs(each), each)):
        speed = float(np.exp(_SPEED_STEP * number))
        cells = np.rint((at_b - at_a / speed) / times.step).astype(np.int64)
        lowest = int(cells.min())
        votes = np.convolve(np.bincount(cells - lowest, hits.weights), np.ones(3))
        votes *= 1 - _DEARER * abs(number)
        most = int(votes.argmax())
        if votes[most] > best.votes * (1 + 1e-9):
            best = Line(speed, (most - 1 + lowest) * times.step, float(votes[most]))
    return best


def fitted(line: Line, hits: Hits, times: Times, most_speed: float) -> Line:
    """The line moved to the best partners of the moments of its heaviest stretch, as long as that explains more."""
    best, most = line, 0.0
    for band in _BANDS:
        chosen = _partners(line, hits, times, band * times.step)
        at_a, at_b, weights = times.a[hits.rows[chosen]], times.b[hits.columns[chosen]], hits.weights[chosen]
        stretches = np.split(np.arange(len(chosen)), np.flatnonzero(np.diff(at_a) > 1 + 2 * times.step) + 1)
        own = max(stretches, key=lambda each: weights[each].sum())
        if np.count_nonzero(weights[own]) < 3:
            break
        at_a, at_b, weights = at_a[own], at_b[own], weights[own]
        middle_a, middle_b = (float(np.average(each, weights=weights)) for each in (at_a, at_b))
        spread = float(np.average((at_a - middle_a) ** 2, weights=weights))
        slope = float(np.average((at_a - middle_a) * (at_b - middle_b), weights=weights)) / spread
        slope = float(np.clip(slope, 1 / most_speed, most_speed))
        line = Line(1 / slope, middle_b - slope * middle_a, line.votes)
        explained = float((hits.weights * np.maximum(1 - distance(line, hits, times) / times.step, 0)).sum())
        if explained >= most:
            best, most = line, explained
    return best


def distance(line: Line, hits: Hits, times: Times) -> NDArray[np.float64]:
    """Seconds of b between each hit and a line."""
    return np.abs(times.b[hits.columns] - line(times.a[hits.rows]))


def _partners(line: Line, hits: Hits, times: Times, band: float) -> NDArray[np.int64]:
    """Of each row the heaviest hit in a band around the line, the nearest of equal ones: indices into hits, by row."""
    off = distance(line, hits, times)
    (near,) = np.nonzero(off <= band)
    order = near[np.lexsort((hits.columns[near], off[near], -hits.weights[near], hits.rows[near]))]
    _, first = np.unique(hits.rows[order], return_index=True)
    return order[first]


def nearest(line: Line, hits: Hits, times: Times) -> NDArray[np.int64]:
    """Bits of the best hit of each moment of a less than a step from the line, int64 [len(times.a)]; -1 without one."""
    near = distance(line, hits, times) < times.step
    fewest = np.full(len(times.a), _NONE)
    np.minimum.at(fewest, hits.rows[near], hits.bits[near])
    return np.where(fewest == _NONE, -1, fewest)


def runs(marked: NDArray[np.bool_], gap: int) -> list[tuple[int, int]]:
    """First and last index of each stretch of marks with at most `gap` others between two of them."""
    (at,) = np.nonzero(marked)
    if len(at) == 0:
        return []
    breaks = np.flatnonzero(np.diff(at) > gap + 1)
    return list(zip(at[np.r_[0, breaks + 1]].tolist(), at[np.r_[breaks, len(at) - 1]].tolist(), strict=True))
