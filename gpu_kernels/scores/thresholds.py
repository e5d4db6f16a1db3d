"""Which clips are kept: thresholds on scores that were measured before. Applied here only."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal

from pydantic import Field, create_model

from gpu_kernels.strict import StrictModel


@dataclass(frozen=True)
class Threshold:
    """A limit on a score, and on which side of it clips are rejected.

    Attributes:
        score: name of the score.
        meaning: what the setting means, for its description.
        default: null: it is off.
        whole: whether its values are whole numbers.
        bounds: what values it takes, as pydantic's `Field` has it.
    """

    score: str
    rejects: Literal["low", "high"]
    meaning: str
    default: float | None = None
    whole: bool = False
    bounds: Mapping[str, Any] = field(default_factory=lambda: {"ge": 0})

    @property
    def setting(self) -> str:
        """Its setting: the score, with `_min` or `_max`."""
        return f"{self.score}_{'min' if self.rejects == 'low' else 'max'}"

    @property
    def reason(self) -> str:
        """What is said against a clip that it rejects."""
        return f"{self.score}_{self.rejects}"


Measured = Mapping[str, float | None]
"""Scores of a clip by name; None where the measurement failed."""


def selection_config(
    name: str, module: str, thresholds: Sequence[Threshold], always_named: Collection[str] = ()
) -> type[StrictModel]:
    """The settings of some thresholds, as a class of that name in that module.

    Args:
        always_named: those that go into fingerprints when they have their defaults, too. The others do not, so that a
            threshold that is added leaves stored verdicts as they are until it is set.
    """
    fields: dict[str, Any] = {
        each.setting: (
            int | None if each.whole else float | None,
            Field(default=each.default, description=each.meaning, **each.bounds),
        )
        for each in thresholds
    }
    model = create_model(name, __base__=StrictModel, __module__=module, **fields)
    model.unless_default = frozenset(each.setting for each in thresholds) - {*always_named}
    model.__doc__ = "Thresholds. `null` switches one off; a clip without a measurement fails every threshold on it."
    return model


def rejection_reasons(measured: Measured, thresholds: Sequence[Threshold], limits: StrictModel) -> list[str]:
    """Every reason against a clip, sorted; none means that it is selected.

    Args:
        measured: every score that has a threshold.
        limits: the settings of the thresholds; see `selection_config`.
    """
    reasons: set[str] = set()
    for each in thresholds:
        limit, value = getattr(limits, each.setting), measured[each.score]
        if limit is None:
            continue
        if value is None:
            reasons.add(f"{each.score}_unmeasured")
        elif value < limit if each.rejects == "low" else value > limit:
            reasons.add(each.reason)
    return sorted(reasons)


def loss_ledger(reasons: Iterable[Iterable[str]]) -> list[dict[str, object]]:
    """What each reason costs, from the reasons of every clip (none for a selected one).

    Returns:
        One entry per reason, and one per pair of reasons that occur together: `reason`, `removed` (clips with it),
        `removed_alone` (clips that only it removes: what switching it off would win back; 0 for pairs).
    """
    removed: Counter[str] = Counter()
    alone: Counter[str] = Counter()
    for found in (sorted(set(each)) for each in reasons):
        removed.update(found)
        removed.update(" + ".join(pair) for pair in combinations(found, 2))
        if len(found) == 1:
            alone[found[0]] += 1
    ordered = sorted(removed, key=lambda reason: ("+" in reason, -removed[reason], reason))
    return [{"reason": reason, "removed": removed[reason], "removed_alone": alone[reason]} for reason in ordered]
