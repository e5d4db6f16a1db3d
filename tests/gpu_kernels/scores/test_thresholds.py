"""Verdicts and the loss ledger."""

import pytest
from pydantic import ValidationError

from curate_assets.settings.resolve import CurationConfig
from curate_assets.video.assets.clip_selection import ClipSelectionConfig, thresholds_that_count
from gpu_kernels.scores.thresholds import Measured, Threshold, loss_ledger, rejection_reasons, selection_config
from gpu_kernels.strict import StrictModel, descriptions

COUNTING = thresholds_that_count(CurationConfig())  # none on what is off
GOOD: dict[str, float | None] = {
    "motion_peak": 0.02,
    "motion_global_mean": 0.01,
    "motion_per_patch": 0.001,
    "short_side": 480.0,
    "seconds": 4.0,
    "frame_rate": 25.0,
}


def reasons(measured: Measured, config: StrictModel) -> list[str]:
    return rejection_reasons(measured, COUNTING, config)


def test_by_default_only_what_stands_still_is_rejected():
    still = {**GOOD, "motion_global_mean": 0.0, "motion_per_patch": 0.0}
    assert reasons(still, ClipSelectionConfig()) == []
    assert reasons({**still, "motion_peak": 1.9e-5}, ClipSelectionConfig()) == ["motion_peak_low"]


def test_the_thresholds_of_the_reference_pipeline():
    config = ClipSelectionConfig(motion_peak_min=None, motion_global_mean_min=0.00098, motion_per_patch_min=1e-6)
    assert reasons(GOOD, config) == []
    assert reasons({**GOOD, "motion_global_mean": 0.00097}, config) == ["motion_global_mean_low"]
    assert reasons({**GOOD, "motion_global_mean": 0.00098}, config) == []
    assert reasons({**GOOD, "motion_per_patch": 9e-7}, config) == ["motion_per_patch_low"]


def test_every_reason_is_given_and_what_is_off_is_not_asked():
    config = ClipSelectionConfig(short_side_min=720, seconds_max=3.0)
    measured = {**GOOD, "motion_per_patch": None, "motion_peak": None}
    assert reasons(measured, config) == ["motion_peak_unmeasured", "seconds_high", "short_side_low"]


def test_an_unknown_threshold_is_an_error():
    with pytest.raises(ValidationError, match="motion_min"):
        ClipSelectionConfig.model_validate({"motion_min": 0.1})


def test_settings_follow_from_thresholds():
    few = Threshold("faces", "high", "Most faces of a clip.", default=3, whole=True, bounds={"ge": 1})
    config = selection_config("FewFaces", __name__, [few])
    assert config.model_validate({}).model_dump() == {"faces_max": 3}
    assert descriptions(config)["faces_max"] == "Most faces of a clip."
    assert rejection_reasons({"faces": 3.0}, [few], config.model_validate({})) == []
    assert rejection_reasons({"faces": 4.0}, [few], config.model_validate({})) == ["faces_high"]
    assert rejection_reasons({"faces": None}, [few], config.model_validate({"faces_max": None})) == []
    for wrong in ({"faces_max": 0}, {"faces_max": 1.5}, {"faces_min": 1}):
        with pytest.raises(ValidationError):
            config.model_validate(wrong)


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
