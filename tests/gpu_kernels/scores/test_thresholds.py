"""Verdicts and the loss ledger."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from pydantic import ValidationError

from curate_assets.settings.resolve import CurationConfig
from curate_assets.video.assets.clip_selection import ClipSelectionConfig
from curate_assets.video.verdicts import thresholds_that_count
from gpu_kernels.scores.thresholds import Measured, Threshold, loss_ledger, selection_config, verdicts
from gpu_kernels.strict import StrictModel, descriptions

COUNTING = thresholds_that_count(CurationConfig())  # none on what is off
GOOD: dict[str, float | None] = {
    "motion_peak": 0.02,
    "motion_mean": 0.01,
    "motion_global_mean": 0.01,
    "motion_per_patch": 0.001,
    "short_side": 480.0,
    "seconds": 4.0,
    "frame_rate": 25.0,
}


def reasons(measured: Measured, config: StrictModel, thresholds: Sequence[Threshold] = COUNTING) -> list[str]:
    scores = {name: np.array([value], np.float64) for name, value in measured.items()}
    return [*verdicts(scores, thresholds, config, 1).reasons.each[0]]


def by_row(measured: Measured, thresholds: Sequence[Threshold], limits: StrictModel) -> tuple[str, ...]:
    """The rule, for one clip at a time."""
    found: set[str] = set()
    for each in thresholds:
        limit, value = getattr(limits, each.setting), measured[each.score]
        if limit is None:
            continue
        if value is None:
            found.add(f"{each.score}_unmeasured")
        elif value < limit if each.rejects == "low" else value > limit:
            found.add(each.reason)
    return tuple(sorted(found))


def test_many_clips_get_the_reasons_that_each_would_get_alone():
    """More thresholds than an integer has bits, values on the thresholds, and some that are missing."""
    thresholds = [Threshold(f"s{number:02d}", side, "") for number in range(40) for side in ("low", "high")]
    limits = selection_config("Many", __name__, thresholds).model_validate(
        {each.setting: 2 if each.rejects == "low" else 7 for each in thresholds if each.score != "s07"}
    )
    drawn = np.random.default_rng(3).integers(-1, 10, (40, 500)).astype(np.float64)
    drawn[4:, :300] = 5.0  # many have few reasons
    scores = {f"s{number:02d}": np.where(values < 0, np.nan, values) for number, values in enumerate(drawn)}
    found = verdicts(scores, thresholds, limits, 500)
    each = [
        {name: None if np.isnan(value[i]) else float(value[i]) for name, value in scores.items()} for i in range(500)
    ]
    expected = [by_row(measured, thresholds, limits) for measured in each]
    assert found.reasons.each == expected
    assert found.selected.tolist() == [not those for those in expected]
    assert 0 < found.selected.sum() < 500
    assert found.reasons.counts == Counter(expected)


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


def test_what_need_not_be_measured_is_told_from_what_passed_and_from_what_must_be():
    cheap, costly = Threshold("seconds", "low", ""), Threshold("faces", "high", "")
    limits = selection_config("TwoLimits", __name__, [cheap, costly]).model_validate({"seconds_min": 2, "faces_max": 1})
    nan = np.nan
    scores = {"seconds": np.array([1, 1, 3, 3, nan, 1]), "faces": np.array([nan, 0, nan, 0, nan, 5])}
    found = verdicts(scores, [costly, cheap], limits, 6, last={"faces"})
    expected = [("seconds_low",)] * 2 + [
        ("faces_unmeasured",),
        (),
        ("seconds_unmeasured",),
        ("faces_high", "seconds_low"),
    ]
    assert found.reasons.each == expected
    assert found.not_measured.each == [("faces",), (), (), (), ("faces",), ()]
    assert found.selected.tolist() == [False, False, False, True, False, False]


def test_an_unknown_threshold_is_an_error():
    with pytest.raises(ValidationError, match="motion_min"):
        ClipSelectionConfig.model_validate({"motion_min": 0.1})


def test_settings_follow_from_thresholds():
    few = Threshold("faces", "high", "Most faces of a clip.", default=3, whole=True, bounds={"ge": 1})
    config = selection_config("FewFaces", __name__, [few])
    assert config.model_validate({}).model_dump() == {"faces_max": 3}
    assert descriptions(config)["faces_max"] == "Most faces of a clip."
    assert reasons({"faces": 3.0}, config.model_validate({}), [few]) == []
    assert reasons({"faces": 4.0}, config.model_validate({}), [few]) == ["faces_high"]
    assert reasons({"faces": None}, config.model_validate({"faces_max": None}), [few]) == []
    for wrong in ({"faces_max": 0}, {"faces_max": 1.5}, {"faces_min": 1}):
        with pytest.raises(ValidationError):
            config.model_validate(wrong)


def test_the_ledger_counts_reasons_alone_and_together():
    clips = [(), ("still",), ("still", "small"), ("small",), ("small", "still", "short"), ()]
    ledger = loss_ledger(Counter(clips))
    assert ledger == [
        {"reason": "small", "removed": 3, "removed_alone": 1},
        {"reason": "still", "removed": 3, "removed_alone": 1},
        {"reason": "short", "removed": 1, "removed_alone": 0},
        {"reason": "small + still", "removed": 2, "removed_alone": 0},
        {"reason": "short + small", "removed": 1, "removed_alone": 0},
        {"reason": "short + still", "removed": 1, "removed_alone": 0},
    ]


@pytest.mark.parametrize(("part", "of"), [(1, 5), (3, 5), (7, 10)])
def test_a_share_that_is_the_limit_passes(part: int, of: int) -> None:
    shares = Threshold("share", "high", "Greatest share."), Threshold("share", "low", "Least share.")
    config = selection_config("Limits", __name__, shares)
    stored = {"share": np.array([np.float32(part / of)], np.float64)}
    limits = config.model_validate({"share_max": part / of, "share_min": part / of})
    assert verdicts(stored, shares, limits, 1).reasons.each == [()]
