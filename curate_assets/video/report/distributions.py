"""Many values as a few bars: histograms on linear and logarithmic scales, and bars for values that are few."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from curate_assets.graph.score import Scale

_FEW = 12
"""Up to this many different values (frame rates, picture sizes) get a bar each."""
_BARS = 12, 50
"""Fewest and most bars on a linear scale; between them twice the cube root of the number of values (Rice's rule)."""
_PER_DECADE = 6
_DECADES = 6


@dataclass(frozen=True)
class Bar:
    """Values in [low, high), counted per series; low equals high for a bar of one value."""

    low: float
    high: float
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Mark:
    """A threshold, which its own value does not reject, and on which side of it clips are rejected."""

    value: float
    label: str
    rejects: Literal["low", "high"] = "low"


@dataclass(frozen=True)
class Distribution:
    """How a measurement is distributed.

    Attributes:
        title, unit: what was measured; the unit may be empty.
        counted: what each value stands for, in the plural.
        source: the table that the values come from; `written` says whether it ever was.
        scale: `values` has one bar per different value, ascending.
        series: names of what the counts of a bar stand for.
        bars: empty when there are no values. On the log scale, zero has a bar of its own in front.
        median, p5, p95: of all values together; None without values.
    """

    title: str
    unit: str
    counted: str
    source: str
    written: bool
    scale: Scale
    series: tuple[str, ...]
    bars: tuple[Bar, ...]
    marks: tuple[Mark, ...]
    total: int
    median: float | None
    p5: float | None
    p95: float | None


def distribution(
    title: str,
    unit: str,
    counted: str,
    source: str,
    written: bool,
    values: Mapping[str, Sequence[float] | np.ndarray],
    scale: Scale = "linear",
    within: tuple[float, float] | None = None,
    marks: Sequence[Mark] = (),
) -> Distribution:
    """Count values, given by series.

    Args:
        scale: `values` falls back to `linear` when there are too many different ones.
        within: the range of the axis; that of the values where not said.
    """
    arrays = [np.asarray(each, np.float64) for each in values.values()]
    every = np.concatenate(arrays) if arrays else np.zeros(0)
    different = np.unique(every)
    if scale == "values" and len(different) > _FEW:
        scale = "linear"
    if len(every) == 0:
        bars: list[Bar] = []
    elif scale == "values":
        bars = [Bar(v, v, tuple(int((a == v).sum()) for a in arrays)) for v in different.tolist()]
    elif scale == "log":
        bars = _log_bars(arrays, different, [mark.value for mark in marks])
    else:
        bars = _bars(arrays, _linear_edges(*(within or _range(different, marks)), len(every)))
    low, median, high = np.percentile(every, [5, 50, 95]).tolist() if len(every) else (None, None, None)
    return Distribution(
        title,
        unit,
        counted,
        source,
        written,
        scale,
        tuple(values),
        tuple(bars),
        tuple(marks),
        len(every),
        median,
        low,
        high,
    )


def nice_step(span: float, most: int) -> float:
    """The smallest of 1, 2, 5 times a power of ten that divides `span` into at most `most` parts."""
    magnitude = 10.0 ** math.floor(math.log10(span / most))
    return next(factor * magnitude for factor in (1, 2, 5, 10, 20) if span / (factor * magnitude) <= most * (1 + 1e-9))


def _range(different: np.ndarray, marks: Sequence[Mark]) -> tuple[float, float]:
    """That of the values, and of thresholds that are not so far away that they would squeeze the values."""
    low, high = float(different[0]), float(different[-1])
    near = [mark.value for mark in marks if 2 * low - high <= mark.value <= 2 * high - low]
    return min([low, *near]), max([high, *near])


def _linear_edges(low: float, high: float, values: int) -> np.ndarray:
    most = min(max(_BARS[0], round(2 * values ** (1 / 3))), _BARS[1])
    step = nice_step(high - low, most) if high > low else max(abs(low) / 10, 1e-3)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return np.arange(first, max(last, first + 1) + 1) * step


def _log_bars(arrays: list[np.ndarray], different: np.ndarray, marks: Sequence[float]) -> list[Bar]:
    zeros = Bar(0.0, 0.0, tuple(int((a <= 0).sum()) for a in arrays))
    positive = different[different > 0]
    if len(positive) == 0:
        return [zeros]
    last = math.floor(math.log10(max([positive[-1], *marks]))) + 1
    first = max(math.floor(math.log10(min([positive[0], *(mark for mark in marks if mark > 0)]))), last - _DECADES)
    edges = 10.0 ** (np.arange(first * _PER_DECADE, last * _PER_DECADE + 1) / _PER_DECADE)
    bars = _bars([a[a > 0] for a in arrays], edges)
    return [zeros, *bars] if any(zeros.counts) else bars


def _bars(arrays: list[np.ndarray], edges: np.ndarray) -> list[Bar]:
    """Values outside of the edges count in the outermost bars."""
    places = [np.clip(np.searchsorted(edges, a, "right") - 1, 0, len(edges) - 2) for a in arrays]
    counts = [np.bincount(place, minlength=len(edges) - 1).tolist() for place in places]
    return [
        Bar(low, high, each)
        for low, high, each in zip(edges[:-1].tolist(), edges[1:].tolist(), zip(*counts, strict=True), strict=True)
    ]
