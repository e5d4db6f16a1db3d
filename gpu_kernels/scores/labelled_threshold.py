"""The threshold on a score that agrees best with what people say of a few clips, and how well it does on all.

The clips are divided by their scores into strata, and of each stratum some are drawn at random and labelled: `keep` or
`reject`. Shares of a stratum's labels stand for its clips, so a label weighs as many clips as its stratum has per label
(Horvitz and Thompson, JASA 47, 1952), and estimates are unbiased however labels are spread over strata.

- Which clip decides most: the one whose label takes most off the variance of precision and recall at the threshold
  that looks best so far (Neyman's allocation, J. R. Stat. Soc. 97, 1934, one label at a time). Most lie about the
  threshold. A stratum with many labels is halved, so thresholds become finer there.
- Which threshold: the one with the greatest F1, or the greatest among those that reach the goals, where the share of
  good clips is taken to grow with the score (isotonic regression). Estimates themselves do not take it to.
- Bounds: Clopper and Pearson's with the effective sample size of the stratified estimate (Korn and Graubard, Survey
  Methodology 24, 1998). The error that the confidence leaves is divided by four: two figures are told, and both are of
  a threshold that was chosen by the same labels, which flatters it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.scores.share_bounds import CONFIDENCE, share_bounds

STRATA = 10
"""Strata at first, of as many clips each."""
_FIRST = 4
"""Labels of each before any has more."""
_HALVED_AT = 16
"""Labels of a stratum that is halved."""
_SMALLEST = 32
"""Clips of a stratum that may be halved."""
_SHARE_OF_ERROR = 0.25

_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Goals:
    """When enough clips are labelled.

    Attributes:
        precision, recall: what each is to be at least, at the confidence; None: it is only to be known.
        margin: how far the bounds of one without a goal may lie from the middle, to each side. Keeping everything has
            all recall, so that a goal for recall alone would be reached by the first labels.
    """

    precision: float | None = None
    recall: float | None = None
    margin: float = 0.05
    confidence: float = CONFIDENCE


@dataclass(frozen=True)
class Estimate:
    """A share of all clips, as the labels have it, and its confidence bounds."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Stratum:
    """Clips whose scores lie together: from the first threshold that they pass on.

    Attributes:
        limit: that threshold; None for those that pass none.
        clips: how many there are; `labels` of them are labelled, `good` of these to be kept.
    """

    limit: float | None
    clips: int
    labels: int
    good: int


@dataclass(frozen=True)
class Found:
    """What some labels say.

    Attributes:
        threshold: None where nothing is to be rejected.
        precision: of the clips that it keeps, those that are to be kept.
        recall: of the clips that are to be kept, those that it keeps.
        kept: the share of all clips that it keeps.
        enough: whether the goals are reached.
        strata: those that pass least thresholds first.
    """

    threshold: float | None
    precision: Estimate
    recall: Estimate
    kept: float
    labels: int
    enough: bool
    strata: tuple[Stratum, ...]

    @property
    def some_to_keep(self) -> bool:
        """Whether a label says keep: without one, no threshold is better than another."""
        return any(each.good for each in self.strata)


class LabelledScores:
    """The scores of all clips, to be labelled one after another.

    Args:
        scores: float [clips], finite; one at least.
        rejects: on which side of the threshold clips are rejected.
        chance: float [clips], random numbers of the clips that never change: those with the least are asked first, so
            that the labelled ones of a stratum are drawn at random also when clips are added.
        limit: the threshold that a setting can have nearest a score.
    """

    def __init__(
        self, scores: _Floats, rejects: Literal["low", "high"], chance: _Floats, limit: Callable[[float], float]
    ) -> None:
        self._sign = np.float32(1 if rejects == "low" else -1)
        goodness = self._sign * scores.astype(np.float32)  # as selection compares them
        self._order = np.argsort(goodness, kind="stable")
        self._sorted, self._chance, self._limit = goodness[self._order], chance[self._order], limit
        self._by_chance = np.argsort(self._chance, kind="stable")
        self._limits: dict[int, float] = {}  # by the first clip that passes it

    def found(self, labels: _Floats, goals: Goals) -> Found:
        """The best threshold, and how good it is.

        Args:
            labels: float [clips], 1 for keep, 0 for reject, NaN where it is not known.
        """
        counts = self._counted(labels)
        best, enough = counts.best(goals)
        precision, recall = counts.estimates(best, goals.confidence)
        limits = [None, *(self._limits[place] for place in counts.starts[1:].tolist())]
        rows = zip(limits, counts.clips.tolist(), counts.labels.tolist(), counts.good.tolist(), strict=True)
        return Found(
            threshold=limits[best],
            precision=precision,
            recall=recall,
            kept=float(counts.clips[best:].sum() / counts.clips.sum()),
            labels=int(counts.labels.sum()),
            enough=enough,
            strata=tuple(Stratum(limit, clips, labels, int(good)) for limit, clips, labels, good in rows),
        )

    def weights(self, labels: _Floats) -> _Floats:
        """float [clips]: how many clips each label stands for; 0 where there is none."""
        counts = self._counted(labels)
        told = ~np.isnan(labels[self._order])
        of = np.searchsorted(counts.starts, np.arange(len(told)), side="right") - 1
        weights = np.zeros(len(labels))
        weights[self._order] = np.where(told, counts.clips[of] / np.maximum(counts.labels[of], 1), 0.0)
        return weights

    def asked_next(self, labels: _Floats, passed: NDArray[np.bool_], count: int, goals: Goals) -> list[int]:
        """The clips whose labels decide most, at most `count`; fewer where no others are left.

        Args:
            passed: bool [clips], those not to be asked although they have no label. Where another person is being
                asked, that counts as a label in the choice of the next.
        """
        counts = self._counted(labels)
        best, _ = counts.best(goals)
        gain = counts.gain(best)
        unlabelled = np.isnan(labels)[self._order]
        free = unlabelled & ~passed[self._order]
        places = self._by_chance[free[self._by_chance]]
        of = np.searchsorted(counts.starts, places, side="right") - 1
        queues = [places[of == stratum][:count].tolist() for stratum in range(len(gain))]
        taken = counts.labels + np.add.reduceat((unlabelled & ~free).astype(np.intp), counts.starts)
        chosen: list[int] = []
        while len(chosen) < count and any(queues):
            each = [
                (0.0 if not queue else np.inf if have < _FIRST else 1 + gained / (have * (have + 1)), -have)
                for queue, have, gained in zip(queues, taken.tolist(), gain.tolist(), strict=True)
            ]
            stratum = max(range(len(each)), key=each.__getitem__)
            chosen.append(queues[stratum].pop(0))
            taken[stratum] += 1
        return self._order[sorted(chosen, key=self._chance.__getitem__)].tolist()

    def _counted(self, labels: _Floats) -> "_Counts":
        ordered = labels[self._order]
        places = np.flatnonzero(~np.isnan(ordered))
        clips = len(ordered)
        cuts = [0, *(self._cut(clips * part // STRATA) for part in range(1, STRATA)), clips]
        starts: list[int] = []
        for start, end in pairwise(cuts):
            starts += self._halved(start, end, places)
        at = np.array(starts)
        of = np.searchsorted(at, places, side="right") - 1
        return _Counts(
            starts=at,
            clips=np.diff([*starts, clips]),
            labels=np.bincount(of, minlength=len(at)),
            good=np.bincount(of, ordered[places], minlength=len(at)).astype(np.float64),
        )

    def _halved(self, start: int, end: int, labelled: NDArray[np.intp]) -> list[int]:
        """The beginnings of the strata that a stratum is divided into."""
        if start >= end:
            return []
        labels = int(np.searchsorted(labelled, end) - np.searchsorted(labelled, start))
        middle = self._cut((start + end) // 2)
        if labels < _HALVED_AT or end - start < _SMALLEST or not start < middle < end:
            return [start]
        return self._halved(start, middle, labelled) + self._halved(middle, end, labelled)

    def _cut(self, place: int) -> int:
        """The first clip that passes the threshold nearest the score of a place."""
        limit = self._limit(float(self._sign * self._sorted[place]))
        first = int(np.searchsorted(self._sorted, self._sign * np.float32(limit), side="left"))
        self._limits.setdefault(first, limit)
        return first


@dataclass(frozen=True)
class _Counts:
    """Of each stratum, its first place, its clips, its labels, and how many of these are good."""

    starts: NDArray[np.intp]
    clips: NDArray[np.intp]
    labels: NDArray[np.intp]
    good: _Floats

    @cached_property
    def likely(self) -> _Floats:
        """The share of good clips in each stratum if it grows with the score; never quite 0 or 1.

        Neighbours that do not grow are put together, which also tells how sure one without any bad label can be.
        """
        blocks: list[tuple[float, float, int]] = []
        for good, labels in zip(self.good.tolist(), self.labels.tolist(), strict=True):
            blocks.append((good, labels, 1))
            while len(blocks) > 1 and blocks[-2][0] * blocks[-1][1] >= blocks[-1][0] * blocks[-2][1]:
                one, other = blocks.pop(), blocks.pop()
                blocks.append((one[0] + other[0], one[1] + other[1], one[2] + other[2]))
        grown = np.array([(good + 0.5) / (labels + 1) for good, labels, _ in blocks], np.float64)
        return grown[[place for place, each in enumerate(blocks) for _ in range(each[2])]]

    @cached_property
    def found(self) -> _Floats:
        """The good clips in each stratum, as its own labels have it."""
        shares = np.where(self.labels > 0, self.good / np.maximum(self.labels, 1), self.likely)
        return self.clips.astype(np.float64) * shares

    def best(self, goals: Goals) -> tuple[int, bool]:
        """The first stratum that is kept by the best threshold, and whether the goals are reached."""
        good = self.clips * self.likely
        kept = np.cumsum(self.clips[::-1])[::-1]
        harmonic = 2 * np.cumsum(good[::-1])[::-1] / (kept + good.sum())
        least = goals.precision, goals.recall
        each = [self.estimates(first, goals.confidence) for first in range(len(good))]
        spare = np.array([min(e.low - (g or 0) for e, g in zip(both, least, strict=True)) for both in each])
        if not (spare >= 0).any():
            return int(np.argmax(spare)), False
        first = int(np.argmax(np.where(spare >= 0, harmonic, -1)))
        widths = [e.high - e.low for e, g in zip(each[first], least, strict=True) if g is None]
        some_good = bool(self.good.any() or (self.labels == self.clips).all())
        return first, some_good and bool((self.labels > 0).all()) and max(widths, default=0) <= 2 * goals.margin

    def estimates(self, first: int, confidence: float) -> tuple[Estimate, Estimate]:
        """Precision and recall if the strata from `first` on are kept."""
        variance = self._variances / np.maximum(self.labels, 1)
        within, without, kept = variance[first:].sum(), variance[:first].sum(), self.clips[first:].sum()
        every = max(self.found.sum(), 1e-9)
        shares, likely = (_rates(good, self.clips, first) for good in (self.found, self.clips * self.likely))
        recall = shares[1]
        variances = within / kept**2, ((1 - recall) ** 2 * within + recall**2 * without) / every**2
        most = float(self.labels.sum())
        precise, recalled = (_bounded(*each, most, confidence) for each in zip(shares, likely, variances, strict=True))
        return precise, recalled

    def gain(self, first: int) -> _Floats:
        """Of each stratum, what the variance of precision and that of recall have of it, times its labels."""
        good = self.clips * self.likely
        inside, every = good[first:].sum(), good.sum()
        recall, kept = inside / every, self.clips[first:].sum()
        keeps = np.arange(len(good)) >= first
        of_recall = np.where(keeps, (1 - recall) / every, recall / every) ** 2
        return self._variances * (of_recall + keeps / kept**2)

    @cached_property
    def _variances(self) -> _Floats:
        """Of the number of good clips by one label; nothing where all clips are labelled."""
        return self.clips**2 * self.likely * (1 - self.likely) * (1 - self.labels / self.clips)


def _rates(good: _Floats, clips: NDArray[np.intp], first: int) -> tuple[float, float]:
    """Precision and recall if the strata from `first` on are kept."""
    inside, every = float(good[first:].sum()), float(good.sum())
    return inside / float(clips[first:].sum()), inside / every if every else 1.0


def _bounded(share: float, likely: float, variance: float, most: float, confidence: float) -> Estimate:
    """An estimate with Korn and Graubard's bounds.

    Args:
        likely: the share that is not quite 0 or 1, which `variance` belongs to.
        most: labels.
    """
    if variance <= 0:
        return Estimate(share, share, share)
    size = min(max(likely * (1 - likely) / variance, 1.0), most)
    low, high = share_bounds(share * size, size, 1 - (1 - confidence) * _SHARE_OF_ERROR)
    return Estimate(share, low, high)
