"""The base of the settings of measurements that are not made unless they are asked for."""

from typing import ClassVar, Literal

from pydantic import Field

from gpu_kernels.strict import StrictModel


class MeasurementConfig(StrictModel):
    """A measurement of clips."""

    without_effect: ClassVar[frozenset[str]] = frozenset({"enabled"})

    enabled: bool = Field(default=False)
    """Whether it is measured. Where it is not, it costs nothing, and its thresholds reject nothing."""


class CostlyConfig(StrictModel):
    """What is worth leaving out for a clip that is rejected anyway."""

    without_effect: ClassVar[frozenset[str]] = frozenset({"when"})

    when: Literal["always", "selected_so_far"] = "always"
    """Which clips are measured: all, or those that no threshold on a cheaper score rejects."""


class CostlyMeasurementConfig(MeasurementConfig, CostlyConfig):
    """A measurement that looks at pictures or runs a model."""

    without_effect: ClassVar[frozenset[str]] = MeasurementConfig.without_effect | CostlyConfig.without_effect


NO_MODEL = ("none", "none")
"""Name and revision of the model of a measurement that is off."""
