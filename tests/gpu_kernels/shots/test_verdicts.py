"""What becomes of suspected transitions, from evidence that is written by hand."""

from dataclasses import astuple, replace

import numpy as np
import pytest

from gpu_kernels.shots.evidence import Evidence
from gpu_kernels.shots.verdicts import ShotBoundariesConfig, judged, sureness

STILL = Evidence(step=0.02, beside=0.02, usual=0.02, near=0.05, far=0.1, alike=0.05, contrast=1, light=2, mixed=0.9)
CUT = replace(STILL, step=0.9, near=0.9, far=0.9, alike=0.9)
FADE = replace(STILL, near=0.3, far=0.9, alike=0.3, contrast=0.03, light=110, mixed=0.4)
FLASH = replace(STILL, near=0.1, far=0.15, alike=0.1, contrast=0.25, light=120, mixed=1)
LIGHT = replace(STILL, step=0.2, beside=0.2, usual=0.1, near=0.3, far=0.65, alike=0.3, light=56, mixed=0.15)
WHIP = replace(STILL, step=0.3, beside=0.4, usual=0.1, near=0.6, far=0.6, alike=0.6, mixed=0.8)


@pytest.mark.parametrize(
    ("seen", "length", "label", "verdict"),
    [
        (CUT, 1, "cut", "confirmed"),
        (FADE, 5, "fade", "confirmed"),
        (replace(FADE, contrast=0.8, mixed=0.1, far=1.1), 20, "dissolve", "confirmed"),
        (FLASH, 1, "flash", "dropped"),
        (LIGHT, 1, "flash", "dropped"),  # as a dissolve may look, but for the network's curve
        (LIGHT, 3, "dissolve", "confirmed"),
        (WHIP, 1, "motion", "dropped"),
        (STILL, 1, "motion", "dropped"),
    ],
)
def test_a_called_transition_is_labelled_and_kept_or_dropped(
    seen: Evidence, length: int, label: str, verdict: str
) -> None:
    curve = np.zeros(60, np.float32)
    curve[30 : 30 + length] = 0.7
    frames = np.arange(30, 30 + length)
    evidence = np.array([astuple(seen)] * length, np.float32)
    (found,) = judged(curve, frames, evidence, 0.4, ShotBoundariesConfig())
    assert (found.first, found.end, found.label, found.verdict) == (30, 30 + length, label, verdict)


def test_the_network_counts_and_what_it_only_suspects_is_added_where_that_is_asked_for() -> None:
    assert sureness(CUT, 0.95, 0) > sureness(CUT, 0.1, 0) > 0.8 > 0.3 > sureness(STILL, 0.95, 0)
    curve = np.zeros(60, np.float32)
    curve[29:32] = 0.1, 0.3, 0.2
    frames, evidence = np.arange(29, 32), np.array([astuple(each) for each in (STILL, CUT, STILL)], np.float32)
    (found,) = judged(curve, frames, evidence, 0.4, ShotBoundariesConfig())
    assert (found.first, found.end, found.verdict) == (30, 31, "dropped")
    (found,) = judged(curve, frames, evidence, 0.4, ShotBoundariesConfig(add_above=0.8))
    assert (found.first, found.end, found.label, found.verdict) == (30, 31, "cut", "added")
