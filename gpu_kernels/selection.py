"""Which clips are kept: thresholds on scores that were measured before. Applied here only."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, get_args

from pydantic import Field

from gpu_kernels.strict import StrictModel


class ClipSelectionConfig(StrictModel):
    """Thresholds. `null` switches one off; a clip without a measurement fails every threshold on it."""

    motion_peak_min: float | None = Field(default=0.00002, ge=0)
    """Least motion that the liveliest 256-pixel patch reaches in a twentieth of the clip, and in two samples at least,
    as a share of width plus height per frame. The default rejects what stands still and nothing that moves; see
    [how it was chosen](models.md#motion)."""
    motion_global_mean_min: float | None = Field(default=None, ge=0)
    """Least mean motion over the clip and the picture, in the same unit. It rejects small things that move before a
    fixed camera."""
    motion_per_patch_min: float | None = Field(default=None, ge=0)
    """Least mean motion of the stillest 256-pixel patch."""
    short_side_min: int | None = Field(default=None, ge=1)
    """Least short side of the video in pixels."""
    seconds_min: float | None = Field(default=None, ge=0)
    """Least length of a clip."""
    seconds_max: float | None = Field(default=None, gt=0)
    """Greatest length of a clip."""
    frame_rate_min: float | None = Field(default=None, gt=0)
    """Least average frame rate of the video."""


@dataclass(frozen=True)
class Threshold:
    """A setting of `clip_selection`: the score that it is compared with, and on which side of it clips are rejected.

    `whole` is whether its values are whole numbers.
    """

    setting: str
    score: str
    rejects: Literal["low", "high"]
    whole: bool

    @property
    def reason(self) -> str:
        """What is said against a clip that it rejects."""
        return f"{self.score}_{self.rejects}"


def _thresholds() -> Iterable[Threshold]:
    for setting, field in ClipSelectionConfig.model_fields.items():
        score, _, bound = setting.rpartition("_")
        if bound in ("min", "max"):
            yield Threshold(setting, score, "low" if bound == "min" else "high", int in get_args(field.annotation))


THRESHOLDS = tuple(_thresholds())
"""Every threshold: a setting is named after its score, with `_min` or `_max`."""

Measured = Mapping[str, float | None]


def rejection_reasons(measured: Measured, config: ClipSelectionConfig) -> list[str]:
    """Every reason against a clip, sorted; none means that it is selected.

    Args:
        measured: `motion_peak`, `motion_global_mean`, `motion_per_patch`, `short_side`, `seconds`, `frame_rate`; None
            where the measurement failed.
    """
    limits = [
        ("motion_peak", config.motion_peak_min, None),
        ("motion_global_mean", config.motion_global_mean_min, None),
        ("motion_per_patch", config.motion_per_patch_min, None),
        ("short_side", config.short_side_min, None),
        ("seconds", config.seconds_min, config.seconds_max),
        ("frame_rate", config.frame_rate_min, None),
    ]
    reasons: list[str] = []
    for name, least, greatest in limits:
        value = measured[name]
        if value is None:
            if least is not None or greatest is not None:
                reasons.append(f"{name}_unmeasured")
        elif least is not None and value < least:
            reasons.append(f"{name}_low")
        elif greatest is not None and value > greatest:
            reasons.append(f"{name}_high")
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
