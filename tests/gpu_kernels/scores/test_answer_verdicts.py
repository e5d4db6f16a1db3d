"""The reference's rules, on tables of answers. A window is written as the keys that it says yes to, None is one whose
text could not be read."""

import pytest

from gpu_kernels.captioners.questions import SEMANTIC_FILTER, VIDEO_TYPE
from gpu_kernels.scores.answer_verdicts import Answers, classified, filtered, labels_of


def windows(*said: set[str] | None) -> list[Answers]:
    return [None if keys is None else dict.fromkeys(sorted(keys), "yes") for keys in said]


CLEAN: set[str] = set()
ZOOM, SLIDES = {"fast_zoom"}, {"slideshow", "low_resolution"}


@pytest.mark.parametrize(
    ("said", "share", "passes"),
    [
        ([CLEAN], 0, True),
        ([ZOOM], 1, False),
        ([ZOOM, CLEAN], 0.5, True),  # more than half are needed
        ([ZOOM, SLIDES, CLEAN], 2 / 3, False),  # for whatever reasons
        ([None], 0, False),  # none could be read
        ([None, None], 0, False),
        ([None, CLEAN], 0, True),
        ([None, ZOOM], 0.5, True),  # what could not be read counts in the whole
        ([None, ZOOM, ZOOM], 2 / 3, False),
        ([{"little_scene_dynamics"}], 0, True),  # asked by the reference, and without effect
        ([], None, False),  # no windows
    ],
)
def test_the_semantic_filter(said: list[set[str] | None], share: float | None, passes: bool) -> None:
    verdict = filtered(windows(*said), SEMANTIC_FILTER)
    assert (verdict.share, verdict.passes) == (share, passes)


def test_the_filter_says_why_and_takes_what_was_not_answered_for_no() -> None:
    answers: list[Answers] = [{"slideshow": "yes", "fast_zoom": None, "low_resolution": "yes", "rotated_view": "no"}]
    assert filtered(answers, SEMANTIC_FILTER).reasons == (("low_resolution", "slideshow"),)
    assert filtered(answers, ["fast_zoom", "rotated_view"]).passes
    assert filtered(answers, SEMANTIC_FILTER, most=1).passes


@pytest.mark.parametrize(
    ("said", "allow", "block", "passes"),
    [
        ([CLEAN], [], [], True),
        ([None], [], [], True),
        ([], [], [], True),
        ([{"pets"}], ["pets"], [], True),
        ([{"cooking"}, {"pets"}, {"cooking"}], ["pets"], [], True),  # one window is enough
        ([{"cooking"}], ["pets"], [], False),
        ([None], ["pets"], [], False),
        ([], ["pets"], [], False),
        ([{"cooking"}], [], ["cooking"], False),
        ([{"cooking"}, CLEAN], [], ["cooking"], True),  # half
        ([{"cooking"}, {"animation"}, CLEAN], [], ["cooking", "animation"], False),
        ([{"cooking"}, None], [], ["cooking"], True),
        ([None], [], ["cooking"], True),
        ([], [], ["cooking"], False),
        ([{"pets", "cooking"}], ["pets"], ["cooking"], False),  # allowed, and blocked
        ([{"pets", "cooking"}, {"pets"}], ["pets"], ["cooking"], True),
    ],
)
def test_the_classifier(said: list[set[str] | None], allow: list[str], block: list[str], passes: bool) -> None:
    assert classified(windows(*said), allow, block).passes == passes


def test_the_classifier_says_why_and_which_labels_there_are() -> None:
    seen = windows({"pets", "cooking"}, None, {"talking_head"})
    verdict = classified(seen, ["pets", "other"], ["cooking"])
    assert verdict.reasons == (("cooking", "other"), (), ("other", "pets"))
    assert (verdict.share, verdict.passes) == (1 / 3, True)
    assert labels_of(seen, VIDEO_TYPE) == ["cooking", "pets", "talking_head"]
