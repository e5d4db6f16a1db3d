"""Scores: numbers of clips that they can be selected by, and what follows from one that is declared.

A score gets its settings in `clip_selection`, its reasons in the ledger, a distribution in the report with the
thresholds on it, a page of its own when it is calibrated, and checks: see `score_checks`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate_resources.declarations.table import Row
from gpu_kernels.scores.thresholds import Threshold

Scale = Literal["linear", "log", "values"]


@dataclass(frozen=True)
class Score:
    """A number of every clip, from a row of the asset that declares it: the clip's own, or its video's.

    Attributes:
        name: what settings and reasons begin with.
        title, unit: as charts name it.
        columns: of the asset's table, those that it is made from.
        value: the score, from a row with these columns; None where it cannot be said. Where not said, the one column.
        scale: of its charts; `values` has a bar for each value that occurs.
        thresholds: what clips can be rejected by, made with `at_least` and `at_most`.
        within: the least and the greatest value that it can have; a check sees to it, and that it is finite.
        arithmetic: whether `value` can have arrays of whole columns instead of numbers, which is far quicker.
        steady: whether a shard whose scores are unlike those of other shards is worth a look.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    value: Callable[[Row], float | None] | None = None
    unit: str = ""
    scale: Scale = "linear"
    thresholds: tuple[Threshold, ...] = ()
    within: tuple[float, float] | None = None
    arithmetic: bool = False
    steady: bool = True

    def __post_init__(self) -> None:
        if self.value is None and len(self.columns) != 1:
            raise ValueError(f"score {self.name} is made from {len(self.columns)} columns: say how, with `value`")

    def of(self, row: Row) -> float | None:
        """The score of a row; None where it cannot be said."""
        return self.value(row) if self.value is not None else row[self.columns[0]]

    def column(self, rows: pa.Table) -> NDArray[np.float64]:
        """The score of many rows; NaN where it cannot be said."""
        if self.value is None:
            return rows[self.columns[0]].cast(pa.float64()).to_numpy()
        if self.arithmetic:
            return np.asarray(self.value({name: rows[name].to_numpy() for name in self.columns}), np.float64)
        each = zip(*(rows[name].to_pylist() for name in self.columns), strict=True)
        return np.array([self.value(dict(zip(self.columns, row, strict=True))) for row in each], np.float64)

    def named(self) -> Sequence[Threshold]:
        """Its thresholds, which have its name."""
        return [replace(each, score=self.name) for each in self.thresholds]


def at_least(meaning: str, default: float | None = None, whole: bool = False, **bounds: float) -> Threshold:
    """A threshold that rejects what is below it."""
    return Threshold("", "low", meaning, default, whole, bounds or {"ge": 0})


def at_most(meaning: str, default: float | None = None, whole: bool = False, **bounds: float) -> Threshold:
    """A threshold that rejects what is above it."""
    return Threshold("", "high", meaning, default, whole, bounds or {"ge": 0})
