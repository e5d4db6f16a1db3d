"""The base of the settings of measurements that are not made unless they are asked for."""

from typing import ClassVar

from pydantic import Field

from gpu_kernels.strict import StrictModel


class MeasurementConfig(StrictModel):
    """A measurement of clips."""

    without_effect: ClassVar[frozenset[str]] = frozenset({"enabled"})

    enabled: bool = Field(default=False)
    """Whether it is measured. Where it is not, it costs nothing, and its thresholds reject nothing."""


NO_MODEL = ("none", "none")
"""Name and revision of the model of a measurement that is off."""
