"""Verdicts and the loss ledger."""

import pytest
from pydantic import ValidationError

from gpu_kernels.selection import ClipSelectionConfig, loss_ledger, rejection_reasons

GOOD = {
    "motion_peak": 0.02,
    "motion_global_mean": 0.01,
    "motion_per_patch": 0.001,
    "short_side": 480.0,
    "seconds": 4.0,
    "frame_rate": 25.0,
}


def test_by_default_only_what_stands_still_is_rejected():
    still = {**GOOD, "motion_global_mean": 0.0, "motion_per_patch": 0.0}
    assert rejection_reasons(still, ClipSelectionConfig()) == []
    assert rejection_reasons({**still, "motion_peak": 1.9e-5}, ClipSelectionConfig()) == ["motion_peak_low"]


def test_the_thresholds_of_the_reference_pipeline():
    config = ClipSelectionConfig(motion_peak_min=None, motion_global_mean_min=0.00098, motion_per_patch_min=1e-6)
    assert rejection_reasons(GOOD, config) == []
    assert rejection_reasons({**GOOD, "motion_global_mean": 0.00097}, config) == ["motion_global_mean_low"]
    assert rejection_reasons({**GOOD, "motion_global_mean": 0.00098}, config) == []
    assert rejection_reasons({**GOOD, "motion_per_patch": 9e-7}, config) == ["motion_per_patch_low"]


def test_every_reason_is_given_and_what_is_off_is_not_asked():
    config = ClipSelectionConfig(short_side_min=720, seconds_max=3.0)
    measured = {**GOOD, "motion_per_patch": None, "motion_peak": None}
    assert rejection_reasons(measured, config) == ["motion_peak_unmeasured", "seconds_high", "short_side_low"]


def test_an_unknown_threshold_is_an_error():
    with pytest.raises(ValidationError, match="motion_min"):
        ClipSelectionConfig.model_validate({"motion_min": 0.1})


def test_the_ledger_counts_reasons_alone_and_together():
    ledger = loss_ledger([[], ["still"], ["still", "small"], ["small"], ["small", "still", "short"], []])
    assert ledger == [
        {"reason": "small", "removed": 3, "removed_alone": 1},
        {"reason": "still", "removed": 3, "removed_alone": 1},
        {"reason": "short", "removed": 1, "removed_alone": 0},
        {"reason": "small + still", "removed": 2, "removed_alone": 0},
        {"reason": "short + small", "removed": 1, "removed_alone": 0},
        {"reason": "short + still", "removed": 1, "removed_alone": 0},
    ]
