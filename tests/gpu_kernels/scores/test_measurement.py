"""Settings of measurements."""

import pytest
from pydantic import ValidationError

from gpu_kernels.scores.measurement import MeasurementConfig


def test_a_measurement_is_off_until_it_is_asked_for_and_that_changes_no_result() -> None:
    assert not MeasurementConfig().enabled
    assert MeasurementConfig(enabled=True).settings() == MeasurementConfig().settings() == {}
    with pytest.raises(ValidationError):
        MeasurementConfig.model_validate({"enable": True})
