"""Scores: numbers of clips that they can be selected by, and what follows from one that is declared.

A score gets its settings in `clip_selection`, its reasons in the ledger, a distribution in the report with the
thresholds on it, and a page of its own when it is calibrated.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from curate_resources.declarations.table import Row
from gpu_kernels.scores.thresholds import Threshold

Scale = Literal["linear", "log", "values"]


@dataclass(frozen=True)
class Score:
    """A number of every clip, from a row of the asset that declares it: the clip's own, or its video's.

    Attributes:
        name: what settings and reasons begin with.
        title, unit: as charts name it.
        columns: of the asset's table, those that `value` looks at.
        value: the score, from a row with these columns; None where it cannot be said.
        scale: of its charts; `values` has a bar for each value that occurs.
        thresholds: what clips can be rejected by, made with `at_least` and `at_most`.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    value: Callable[[Row], float | None]
    unit: str = ""
    scale: Scale = "linear"
    thresholds: tuple[Threshold, ...] = ()

    def named(self) -> Sequence[Threshold]:
        """Its thresholds, which have its name."""
        return [replace(each, score=self.name) for each in self.thresholds]


def at_least(meaning: str, default: float | None = None, whole: bool = False, **bounds: float) -> Threshold:
    """A threshold that rejects what is below it."""
    return Threshold("", "low", meaning, default, whole, bounds or {"ge": 0})


def at_most(meaning: str, default: float | None = None, whole: bool = False, **bounds: float) -> Threshold:
    """A threshold that rejects what is above it."""
    return Threshold("", "high", meaning, default, whole, bounds or {"ge": 0})
