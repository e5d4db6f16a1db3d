"""Which clips are kept: thresholds on scores that were measured before. Applied here only."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
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

Scores = Mapping[str, NDArray[np.float64]]
"""Scores of many clips by name; NaN where the measurement failed."""


def selection_config(
    name: str,
    module: str,
    thresholds: Sequence[Threshold],
    always_named: Collection[str] = (),
    base: type[StrictModel] = StrictModel,
) -> type[StrictModel]:
    """The settings of some thresholds, as a class of that name in that module.

    Args:
        base: what it has besides.
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
    model = create_model(name, __base__=base, __module__=module, **fields)
    model.unless_default = frozenset(each.setting for each in thresholds) - {*always_named}
    model.__doc__ = "Thresholds. `null` switches one off; a clip without a measurement fails every threshold on it."
    return model


@dataclass(frozen=True)
class NameSets:
    """A set of names for each of many clips.

    Attributes:
        combinations: the different sets that occur, each sorted, and the empty one.
        of: by clip, the place of its set in `combinations`.
    """

    combinations: tuple[tuple[str, ...], ...]
    of: NDArray[np.intp]

    @classmethod
    def gathered(cls, having: Mapping[str, NDArray[np.bool_]], clips: int) -> Self:
        """From the clips that have each name."""
        found: list[tuple[str, ...]] = [()]
        of = np.zeros(clips, np.intp)
        for name, by_it in sorted(having.items()):
            if by_it.any():
                both = 2 * of + by_it
                occur = np.bincount(both, minlength=2 * len(found)) > 0
                of = (np.cumsum(occur) - 1)[both]
                found = [found[place // 2] + (name,) * (place % 2) for place in np.flatnonzero(occur).tolist()]
        return cls(tuple(found), of)

    @property
    def each(self) -> list[tuple[str, ...]]:
        """By clip, its names."""
        return [self.combinations[place] for place in self.of.tolist()]

    @property
    def empty(self) -> NDArray[np.bool_]:
        """By clip, whether it has none."""
        return np.array([not each for each in self.combinations], bool)[self.of]

    @property
    def counts(self) -> Counter[tuple[str, ...]]:
        """Clips by their names."""
        counts = np.bincount(self.of, minlength=len(self.combinations)).tolist()
        return Counter(dict(zip(self.combinations, counts, strict=True)))


@dataclass(frozen=True)
class Verdicts:
    """What speaks against many clips.

    Attributes:
        reasons: by clip, every reason against it.
        not_measured: by clip, the `last` scores that it lacks, and that it is rejected without.
    """

    reasons: NameSets
    not_measured: NameSets

    @property
    def selected(self) -> NDArray[np.bool_]:
        """By clip, whether nothing speaks against it."""
        return self.reasons.empty


def verdicts(
    scores: Scores,
    thresholds: Sequence[Threshold],
    limits: StrictModel,
    clips: int,
    last: Collection[str] = (),
    besides: Mapping[str, NDArray[np.bool_]] | None = None,
) -> Verdicts:
    """Every reason against some clips.

    Args:
        scores: every score that has a threshold which is on.
        limits: the settings of the thresholds; see `selection_config`.
        clips: how many there are.
        last: scores that need not have been measured of clips which other scores reject.
        besides: by a reason that no score gives, the clips that it rejects.
    """
    rejected: dict[str, NDArray[np.bool_]] = {**(besides or {})}
    lacking: dict[str, NDArray[np.bool_]] = {}
    out = np.logical_or.reduce([np.zeros(clips, bool), *rejected.values()])
    for each in thresholds:
        if (limit := getattr(limits, each.setting)) is None:
            continue
        # As scores are stored: 3 of 5 pictures are 0.6 then, and not a little more.
        values, bound = scores[each.score].astype(np.float32), np.float32(limit)
        missing, beyond = np.isnan(values), values < bound if each.rejects == "low" else values > bound
        rejected[each.reason] = beyond
        if each.score in last:
            lacking[each.score] = missing
        else:
            rejected[f"{each.score}_unmeasured"] = missing
            out |= missing | beyond
    rejected |= {f"{score}_unmeasured": missing & ~out for score, missing in lacking.items()}
    not_measured = {score: missing & out for score, missing in lacking.items()}
    return Verdicts(NameSets.gathered(rejected, clips), NameSets.gathered(not_measured, clips))


def loss_ledger(reasons: Mapping[tuple[str, ...], int]) -> list[dict[str, object]]:
    """What each reason costs, from the number of clips by the reasons against them (none for selected ones).

    Returns:
        One entry per reason, and one per pair of reasons that occur together: `reason`, `removed` (clips with it),
        `removed_alone` (clips that only it removes: what switching it off would win back; 0 for pairs).
    """
    removed: Counter[str] = Counter()
    alone: Counter[str] = Counter()
    for combination, clips in reasons.items():
        found = sorted(set(combination)) if clips else []
        for each in (*found, *(" + ".join(pair) for pair in combinations(found, 2))):
            removed[each] += clips
        if len(found) == 1:
            alone[found[0]] += clips
    ordered = sorted(removed, key=lambda reason: ("+" in reason, -removed[reason], reason))
    return [{"reason": reason, "removed": removed[reason], "removed_alone": alone[reason]} for reason in ordered]
