"""How the camera moves, from what happens to sparse features between two successive frames."""

from collections import Counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.scores.measurement import MeasurementConfig

_FEATURES, _QUALITY, _APART = 100, 0.01, 7
_WINDOW, _LEVELS, _UNTIL = (15, 15), 3, (3, 10, 0.03)
_WITHIN_PIXELS, _ROUNDS = 1.0, 500
_LEAST_FEATURES = 12
_CELLS = 4
"""Features should be spread over a grid of so many cells each way."""

_KNOWN_INLIERS, _KNOWN_SPREAD = 0.7, 0.25
"""Share of features that move as one, and of the cells in which they lie, from which on a sample is believed."""
_KNOWN_SHARE = 0.5
_MOVES = 0.02
"""What the picture's edge moves in a second, as a share of its longer side, where the camera is not still."""
_BESIDE = 0.5
"""What moves less than this share of the strongest movement is not named."""
_SHAKES = 0.05
_TREND = 5
_NAMED = 0.3

WORDS = (
    "static",
    "pan_left",
    "pan_right",
    "tilt_up",
    "tilt_down",
    "pan_left_tilt_up",
    "pan_left_tilt_down",
    "pan_right_tilt_up",
    "pan_right_tilt_down",
    "zoom_in",
    "zoom_out",
    "roll_left",
    "roll_right",
    "shake",
    "mixed",
    "unknown",
)


class CameraMotionConfig(MeasurementConfig):
    """How the camera moves."""


class Step(NamedTuple):
    """What the camera did between two frames.

    Attributes:
        pan, tilt: to the right and upwards, as a share of the picture's longer side.
        zoom: by which the picture grew, as a share of its size.
        roll: clockwise, in degrees.
        inliers: share of the features that moved like this; 0 where there were too few.
        spread: share of the cells of a grid of 4 by 4 that these lie in.
    """

    pan: float
    tilt: float
    zoom: float
    roll: float
    inliers: float
    spread: float


UNKNOWN_STEP = Step(0, 0, 0, 0, 0, 0)


def camera_step(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> Step:
    """The similarity between two pictures, uint8 [h, w] of one size, about 240 pixels long.

    Corners (Shi and Tomasi) are followed by pyramidal Lucas-Kanade, and a similarity is fitted by RANSAC.
    """
    import cv2

    height, width = before.shape
    found: Any = cv2.goodFeaturesToTrack(before, _FEATURES, _QUALITY, _APART)  # None where there is nothing to see
    points = np.zeros((0, 1, 2), np.float32) if found is None else found
    if len(points) < _LEAST_FEATURES:
        return UNKNOWN_STEP
    follow: Any = cv2.calcOpticalFlowPyrLK
    moved, followed, _ = follow(before, after, points, None, winSize=_WINDOW, maxLevel=_LEVELS, criteria=_UNTIL)
    kept = followed.ravel() == 1
    start, end = points.reshape(-1, 2)[kept], moved.reshape(-1, 2)[kept]
    if len(start) < _LEAST_FEATURES:
        return UNKNOWN_STEP
    fit: Any = cv2.estimateAffinePartial2D
    fitted, inside = fit(start, end, method=cv2.RANSAC, ransacReprojThreshold=_WITHIN_PIXELS, maxIters=_ROUNDS)
    if fitted is None or not np.isfinite(fitted).all():
        return UNKNOWN_STEP
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    shift = (fitted[:, :2] @ centre + fitted[:, 2] - centre) / max(height, width)
    within = start[inside.ravel() == 1]
    cells = np.floor(within * _CELLS / [width, height]).astype(int)
    return Step(
        pan=-float(shift[0]),
        tilt=float(shift[1]),
        zoom=float(np.hypot(fitted[0, 0], fitted[1, 0])) - 1,
        roll=-float(np.degrees(np.arctan2(fitted[1, 0], fitted[0, 0]))),
        inliers=len(within) / len(points),
        spread=len(np.unique(cells, axis=0)) / _CELLS**2,
    )


class CameraMotion(NamedTuple):
    """How the camera moves in a clip; all but the words are None where it cannot be said.

    Attributes:
        label: one of `WORDS`: what it does most of the time.
        labels: all that it does for a third of the time at least, most first.
        known: share of the samples in which enough moves as one.
        pan, tilt, zoom, roll: means per second; see `Step`.
        strength: what the picture's edge moves in a second in the middle of all samples, as a share of its longer side.
        jitter: the same, of what departs from the run of the samples around.
        static: share of the known samples in which it stands.
    """

    label: str
    labels: list[str]
    known: float
    pan: float | None
    tilt: float | None
    zoom: float | None
    roll: float | None
    strength: float | None
    jitter: float | None
    static: float | None


def camera_motion(steps: NDArray[np.float64], seconds: NDArray[np.float64]) -> CameraMotion:
    """The motion of a clip.

    Args:
        steps: [n, 6], the fields of `Step` of each sample, in order.
        seconds: [n], between the two frames of each.
    """
    believed = (steps[:, 4] >= _KNOWN_INLIERS) & (steps[:, 5] >= _KNOWN_SPREAD) if len(steps) else np.zeros(0, bool)
    known = float(believed.mean()) if len(steps) else 0.0
    if not known or known < _KNOWN_SHARE:
        return CameraMotion("unknown", ["unknown"], known, *[None] * 7)
    rates = steps[believed, :4] / seconds[believed, None]
    edge = rates * [1, 1, 0.5, np.radians(0.5)]  # what each moves the edge by
    trend = _running_median(edge)
    speed = np.abs(trend).max(1)
    strength = float(np.median(np.abs(edge).max(1)))
    jitter = float(np.median(np.linalg.norm(edge - trend, axis=1)))
    words = Counter(_word(each) for each in trend)
    share = len(edge)
    if jitter >= _SHAKES and jitter > float(np.median(speed)):
        label, labels = "shake", ["shake"]
    else:
        labels = [word for word, count in words.most_common() if count >= _NAMED * share] or ["mixed"]
        label = labels[0] if words[labels[0]] >= share / 2 else "mixed"
    means = rates.mean(0)
    return CameraMotion(
        label,
        labels,
        known,
        *(float(mean) for mean in means),
        strength=strength,
        jitter=jitter,
        static=float((speed < _MOVES).mean()),
    )


def _running_median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each and its neighbours in order, [n, k]; fewer at the ends."""
    half = _TREND // 2
    return np.stack([np.median(values[max(0, i - half) : i + half + 1], axis=0) for i in range(len(values))])


def _word(edge: NDArray[np.float64]) -> str:
    pan, tilt, zoom, roll = edge.tolist()
    strongest = float(np.abs(edge).max())
    if strongest < _MOVES:
        return "static"
    pans, tilts, zooms, rolls = (abs(each) >= _BESIDE * strongest for each in (pan, tilt, zoom, roll))
    turns = [*["pan_right" if pan > 0 else "pan_left"] * pans, *["tilt_up" if tilt > 0 else "tilt_down"] * tilts]
    if zooms + rolls + bool(turns) > 1:
        return "mixed"
    if zooms:
        return "zoom_in" if zoom > 0 else "zoom_out"
    if rolls:
        return "roll_right" if roll > 0 else "roll_left"
    return "_".join(turns)
