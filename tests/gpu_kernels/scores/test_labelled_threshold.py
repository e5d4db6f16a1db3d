"""Thresholds from labels: on made scores whose truth is known, they beat a percentile, and their bounds hold it."""

from collections.abc import Iterator
from itertools import product
from typing import Any, Literal

import numpy as np
import pytest

from gpu_kernels.scores.labelled_threshold import Found, Goals, LabelledScores

CLIPS = 20_000


def made(seed: int, good: float, noise: float, contrary: float = 0.0, clips: int = CLIPS) -> tuple[Any, Any]:
    """Scores, and which clips are to be kept."""
    chance = np.random.default_rng(seed)
    scores = chance.normal(size=clips)
    truly = scores + noise * chance.normal(size=clips)
    return scores, (truly >= np.quantile(truly, 1 - good)) ^ (chance.random(clips) < contrary)


def four_digits(score: float) -> float:
    return float(f"{score:.4g}")


def asked(scores: Any, rejects: Literal["low", "high"] = "low", seed: int = 1) -> LabelledScores:
    return LabelledScores(scores, rejects, np.random.default_rng(seed).random(len(scores)), four_digits)


def labelled(of: LabelledScores, truth: Any, count: int, goals: Goals, at_once: int = 20) -> Any:
    """The labels of the clips that are asked about, as the truth has them."""
    labels, nobody = np.full(len(truth), np.nan), np.zeros(len(truth), bool)
    for _ in range(0, count, at_once):
        chosen = of.asked_next(labels, nobody, at_once, goals)
        assert np.isnan(labels[chosen]).all() and len(set(chosen)) == len(chosen)
        labels[chosen] = truth[chosen]
    return labels


def rates(keeps: Any, truth: Any) -> tuple[float, float, float]:
    """Precision, recall and F1."""
    both = (keeps & truth).sum()
    return both / keeps.sum(), both / truth.sum(), 2 * both / (keeps.sum() + truth.sum())


def kept(scores: Any, found: Found) -> Any:
    return scores.astype(np.float32) >= np.float32(-np.inf if found.threshold is None else found.threshold)


def trials(seeds: int) -> Iterator[tuple[float, float, bool, bool]]:
    """By 200 labels and by the tenth percentile F1; whether the bounds hold precision and recall."""
    for good, noise, seed in product((0.1, 0.3, 0.6, 0.8, 0.95), (0.2, 0.6), range(seeds)):
        scores, truth = made(seed, good, noise, contrary=0.03 * (seed % 2))
        of, goals = asked(scores, seed=seed + 1000), Goals()
        found = of.found(labelled(of, truth, 200, goals), goals)
        assert found.labels == 200
        precision, recall, f1 = rates(kept(scores, found), truth)
        tenth = rates(scores >= np.percentile(scores, 10), truth)[2]
        holds = [
            each.low <= real <= each.high
            for each, real in zip((found.precision, found.recall), (precision, recall), strict=True)
        ]
        yield f1, tenth, *holds


def test_200_labels_beat_the_tenth_percentile_and_their_bounds_hold() -> None:
    f1, tenth, precision, recall = np.array(list(trials(6)), float).reshape(10, 6, 4).transpose(2, 0, 1)
    assert (f1.mean(1) > tenth.mean(1)).all()
    assert (f1 - tenth).mean() > 0.15
    assert precision.mean() >= 0.93 and recall.mean() >= 0.93


@pytest.mark.deep
def test_bounds_hold_as_often_as_they_say() -> None:
    f1, tenth, precision, recall = np.array(list(trials(100)), float).reshape(10, 100, 4).transpose(2, 0, 1)
    assert (f1.mean(1) > tenth.mean(1)).all()
    for holds in (precision, recall):
        assert holds.mean() >= 0.95
        assert holds.mean(1).min() >= 0.95 - 2 * np.sqrt(0.95 * 0.05 / 100)


def test_a_label_stands_for_the_clips_of_its_stratum() -> None:
    scores, truth = made(3, 0.6, 0.5)
    of, goals = asked(scores), Goals()
    labels = labelled(of, truth, 200, goals)
    found, weights = of.found(labels, goals), of.weights(labels)
    told = ~np.isnan(labels)
    assert weights.sum() == pytest.approx(CLIPS) and not weights[~told].any()
    keeps = kept(scores, found)
    assert found.kept == keeps.mean()
    good = weights * (labels == 1)
    assert found.precision.value == pytest.approx(good[keeps].sum() / keeps.sum())
    assert found.recall.value == pytest.approx(good[keeps].sum() / good.sum())
    assert sum(each.clips for each in found.strata) == CLIPS and found.strata[0].limit is None
    about = np.abs(scores - (found.threshold or 0)) < 0.5
    assert told[about].mean() > 1.5 * told[~about].mean()  # those that decide most


def test_where_every_clip_is_labelled_nothing_is_left_to_guess() -> None:
    scores, truth = made(0, 0.7, 0.3, clips=300)
    found = asked(scores).found(truth.astype(float), Goals())
    precision, recall, f1 = rates(kept(scores, found), truth)
    for each, real in ((found.precision, precision), (found.recall, recall)):
        assert each.low == each.high == each.value == pytest.approx(real)
    assert found.enough
    others = [rates(scores >= stratum.limit, truth)[2] for stratum in found.strata if stratum.limit is not None]
    assert f1 >= max(others) - 0.01


def test_a_threshold_that_rejects_what_is_above_it_is_the_mirror() -> None:
    scores, truth = made(5, 0.4, 0.4)
    one, other = asked(scores), asked(-scores, "high")
    goals = Goals()
    labels = labelled(one, truth, 120, goals)
    assert (np.isnan(labels) == np.isnan(labelled(other, truth, 120, goals))).all()
    found, mirrored = one.found(labels, goals), other.found(labels, goals)
    assert found.threshold is not None and mirrored.threshold == -found.threshold
    assert (found.precision, found.recall, found.kept) == (mirrored.precision, mirrored.recall, mirrored.kept)


def test_equal_scores_are_never_parted() -> None:
    chance = np.random.default_rng(0)
    faces = chance.integers(0, 4, CLIPS).astype(float)
    of = LabelledScores(faces, "low", chance.random(CLIPS), lambda score: float(round(score)))
    goals = Goals()
    found = of.found(labelled(of, faces >= 2, 60, goals), goals)
    assert found.threshold == 2 and [each.limit for each in found.strata] == [None, 1, 2, 3]
    assert (found.precision.value, found.recall.value) == (1, 1)
    same = LabelledScores(np.ones(50), "low", chance.random(50), four_digits)
    assert same.found(labelled(same, np.ones(50) > 0, 20, goals), goals).threshold is None


def test_goals_are_reached_by_their_lower_bounds_and_stop_the_asking() -> None:
    scores, truth = made(2, 0.5, 0.4)
    of, goals, nobody = asked(scores), Goals(precision=0.9), np.zeros(CLIPS, bool)
    labels = np.full(CLIPS, np.nan)
    assert not of.found(labels, goals).enough
    while not (found := of.found(labels, goals)).enough:
        chosen = of.asked_next(labels, nobody, 10, goals)
        labels[chosen] = truth[chosen]
        assert (~np.isnan(labels)).sum() < 1000
    assert found.precision.low >= 0.9
    assert rates(kept(scores, found), truth)[0] >= 0.9


def test_a_goal_for_recall_is_not_reached_by_keeping_everything() -> None:
    scores, truth = made(3, 0.6, 0.3)
    of, goals = asked(scores), Goals(recall=0.95)
    few = of.found(labelled(of, truth, 40, goals), goals)
    assert few.recall.low >= 0.95 and not few.enough  # precision is hardly known
    found = of.found(labelled(of, truth, 450, goals), goals)
    precision, recall, _ = rates(kept(scores, found), truth)
    assert found.enough and found.threshold is not None and precision > 0.85 and recall >= 0.95


def test_labels_of_which_none_is_to_be_kept_are_not_enough() -> None:
    scores, _ = made(0, 0.5, 0.5)
    of, goals = asked(scores), Goals()
    assert not of.found(labelled(of, np.zeros(CLIPS, bool), 200, goals), goals).enough


def test_clips_that_others_are_asked_about_are_passed_over() -> None:
    scores, _ = made(0, 0.5, 0.5, clips=40)
    of, labels, passed = asked(scores), np.full(40, np.nan), np.zeros(40, bool)
    first = of.asked_next(labels, passed, 30, Goals())
    passed[first] = True
    rest = of.asked_next(labels, passed, 30, Goals())
    assert len(first) == 30 and sorted(first + rest) == list(range(40))
    assert of.asked_next(labels, passed | True, 5, Goals()) == []
