"""What becomes of the transitions that the shot network suspects, once the pictures on both sides are compared."""

from bisect import bisect_left
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from gpu_kernels.shots.evidence import FLOOR, Evidence
from gpu_kernels.shots.transitions import runs_above
from gpu_kernels.strict import StrictModel

Label = Literal["cut", "fade", "dissolve", "flash", "motion"]
Verdict = Literal["confirmed", "added", "dropped", "stitched"]
PARTING: tuple[Verdict, ...] = ("confirmed", "added")
"""What parts shots."""


class ShotBoundariesConfig(StrictModel):
    """The second opinion on transitions."""

    without_effect: ClassVar[frozenset[str]] = frozenset({"enabled"})

    enabled: bool = False
    """Whether clips are cut where the second opinion says. Videos that are stored without its signals are decoded once
    more."""
    keep_above: float = Field(default=0.3, ge=0, le=1)
    """How sure one must be of a transition that the network calls; below it, it is dropped."""
    add_above: float = Field(default=1.0, ge=0, le=1)
    """How sure one must be of a transition that the network suspects and does not call; at 1, none is added."""
    stitch_below: float | None = Field(default=None, ge=0)
    """Neighbouring shots are one when any two pictures within a second of their boundary differ by less, as a share of
    their contrast; 0 is the same picture, 0.3 much the same view. Null: none are stitched."""


@dataclass(frozen=True)
class Boundary:
    """A transition that was looked at: the frames [first, end) of the curve's run.

    Attributes:
        probability: the network's, at its peak.
        sure: 0 to 1, how likely shots change here by the pictures and the network.
    """

    first: int
    end: int
    probability: float
    sure: float
    label: Label
    verdict: Verdict


def judged(
    curve: NDArray[np.float32],
    frames: NDArray[np.int64],
    evidence: NDArray[np.float32],
    threshold: float,
    config: ShotBoundariesConfig,
) -> list[Boundary]:
    """The transitions of a video, in order: those that the network calls, and those that it suspects.

    Args:
        curve: float32 [n], transition probability of every frame.
        frames, evidence: the frames above FLOOR, and their evidence [m, len(FIELDS)].
        threshold: above which the network calls a transition; not below FLOOR.
    """
    called = runs_above(curve, threshold)
    starts = [first for first, _ in called]
    found: list[Boundary] = []
    for first, end in called:
        found.append(_judged(curve, frames, evidence, first, end, True, config))
    for first, end in runs_above(curve, FLOOR):
        following = bisect_left(starts, first)
        if following == len(starts) or starts[following] >= end:
            peak = first + int(np.argmax(curve[first:end]))
            if _place(frames, peak) is not None:
                found.append(_judged(curve, frames, evidence, peak, peak + 1, False, config))
    return sorted(found, key=lambda boundary: boundary.first)


def _judged(
    curve: NDArray[np.float32],
    frames: NDArray[np.int64],
    evidence: NDArray[np.float32],
    first: int,
    end: int,
    called: bool,
    config: ShotBoundariesConfig,
) -> Boundary:
    peak = first + int(np.argmax(curve[first:end]))
    if (place := _place(frames, peak)) is None:
        raise ValueError(
            f"frame {peak} has no evidence, because shot_signals are of another run: materialize shot_signals and "
            "boundary_signals again with force"
        )
    seen = Evidence(*evidence[place].tolist())
    probability = float(curve[peak])
    sure = sureness(seen, probability, _spread(curve, peak))
    kept = sure >= config.keep_above if called else sure > config.add_above
    alike = config.stitch_below is not None and seen.alike < config.stitch_below
    verdict: Verdict = "dropped" if not kept else "stitched" if alike else "confirmed" if called else "added"
    return Boundary(first, end, probability, sure, _label(seen, end - first, kept), verdict)


def _spread(curve: NDArray[np.float32], peak: int) -> float:
    """The greater of the probabilities beside a peak, as a share of its own: small where it is a spike."""
    beside = (float(curve[frame]) for frame in (peak - 1, peak + 1) if 0 <= frame < len(curve))
    return max(beside, default=0.0) / max(float(curve[peak]), 1e-6)


def _place(frames: NDArray[np.int64], frame: int) -> int | None:
    """Where the evidence of a frame is. Curves that were made by other devices differ a little at the floor."""
    place = int(np.searchsorted(frames, frame))
    return place if place < len(frames) and frames[place] == frame else None


_CUT, _GRADUAL, _NETWORK = (10.5, 7.2, 5.2), (5.8, 3.5, 7.3, 0.3), 0.3
"""Weights of a logistic regression over transitions and traps made of footage: see docs/measurements.md."""
_SPREAD, _WIDE, _SPIKE = 0.2, 1.5, 4.0
"""From this spread on a peak speaks for a gradual transition, by so much; a spike speaks against one."""


def sureness(seen: Evidence, probability: float, spread: float) -> float:
    """How likely shots change at a step, 0 to 1, by the pictures and the network's curve.

    It is a cut if the pictures at the step, and those two frames away on either side, differ much more than those
    beside it; or gradual if those a second away on either side differ, and what lies between is a mix of them, or flat,
    and the network suspects more than one frame. A light that goes on makes a spike of its curve, as a cut does.

    Args:
        probability: the network's, at its peak.
        spread: the greater of those beside the peak, as a share of it.
    """
    cut = _CUT[0] * min(seen.step, seen.near) - _CUT[1] * max(seen.beside, seen.usual) - _CUT[2]
    flat = min(seen.contrast, 0.5)
    gradual = _GRADUAL[0] * seen.far - _GRADUAL[1] * seen.mixed - _GRADUAL[2] * flat - _GRADUAL[3]
    gradual += _WIDE - (_WIDE + _SPIKE) * max(0.0, _SPREAD - spread) / _SPREAD
    called = min(max(probability, 0.01), 0.99)
    score = np.logaddexp(cut, gradual) + _NETWORK * np.log(called / (1 - called))
    return float(1 / (1 + np.exp(-score)))


_GRADUAL_FRAMES = 3
_FADED = 0.25
_LIT = 40.0


def _label(seen: Evidence, length: int, kept: bool) -> Label:
    if kept:
        is_cut = seen.step > 0.5 * seen.far and seen.step > 2 * seen.beside
        if is_cut and length < _GRADUAL_FRAMES:
            return "cut"
        return "fade" if seen.contrast < _FADED else "dissolve"
    return "flash" if seen.light > _LIT else "motion"
