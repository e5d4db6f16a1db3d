"""What the pictures around a frame say of whether a shot ends with it: a second opinion beside the network's curve.

Blocks are matched over small shifts, as codecs do (Jain and Jain 1981); that a step is compared with those around it
follows Yeo and Liu 1995 ("Rapid scene analysis on compressed video"), and so does telling flashes by the pictures on
either side; that the middle of a dissolve is a mix of its ends follows Lienhart 1999 ("Comparison of automatic shot
boundary detection algorithms"). All of it is made of thumbnails, so nothing is decoded for it.
"""

from dataclasses import astuple, dataclass, fields

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.shots.transitions import CONTEXT_FRAMES

FLOOR = 0.05
"""Transition probability above which a frame is looked at."""

Gray = NDArray[np.float32]

_NONE = np.zeros(0, np.float32)
_REACH = (4, 8)
"""Pixels, down and across, that a block of a thumbnail may have moved between two pictures."""
_BLOCK = (9, 16)
_FLAT = 4.0
"""Contrast in grey levels below which a picture is taken for flat."""
_LIGHT = np.array([0.299, 0.587, 0.114], np.float32)
_USUAL = 8
"""The steps of that many frames on either side are what is usual there."""
_AROUND = CONTEXT_FRAMES - 1
"""No picture farther from a frame than this, or than one more behind it, is looked at."""
_PAIRS = ((2, 2), (5, 5), (10, 10), (_AROUND, _AROUND), (2, 10), (10, 2))
"""Frames before a frame, and after the next one, whose pictures are compared across the step between the two."""


@dataclass(frozen=True)
class Evidence:
    """What is measured about the step from a frame to the next. Differences are those of `moved_difference`.

    Attributes:
        step: difference of the two frames.
        beside: the greater of the differences at the steps before and after.
        usual: median of the steps nearby.
        near: difference of the frames two before and two after.
        far: difference of the frames 24 before and 24 after.
        alike: least difference of any of six pairs of frames across the step, 2 to 24 frames away.
        contrast: least contrast of the pictures within 12 frames, by the lesser of those at their ends: small in fades.
        light: range of the mean luma within 12 frames, in grey levels.
        mixed: 0 to 1, what of the frame no mix of the pictures 12 frames before and 13 after explains, as a share of
            the difference of these two.
    """

    step: float
    beside: float
    usual: float
    near: float
    far: float
    alike: float
    contrast: float
    light: float
    mixed: float


FIELDS = tuple(each.name for each in fields(Evidence))


def moved_difference(one: Gray, other: Gray) -> float:
    """How different two pictures are once what moved is laid over itself and a change of light is taken out.

    The root mean square difference of each of nine blocks at its best shift, averaged over blocks, as a share of the
    greater contrast (standard deviation) of the two: about 0 for the same view, 0.5 to 1 for different ones.

    Args:
        one, other: float32 [27, 48], luma 0 to 255.
    """
    import cv2

    (mean, spread), (other_mean, other_spread) = ((float(each.mean()), float(each.std())) for each in (one, other))
    # The flatter picture gets the contrast of the other, as far as its noise allows.
    most = max(spread, other_spread)
    gains = [min(most / max(each, _FLAT), 2.0) if each < most else 1.0 for each in (spread, other_spread)]
    one, other = (one - mean) * np.float32(gains[0]), (other - other_mean) * np.float32(gains[1])
    (down, across), (high, wide) = _REACH, _BLOCK
    padded = cv2.copyMakeBorder(one, down, down, across, across, cv2.BORDER_REPLICATE)
    least = [
        cv2.matchTemplate(
            padded[top : top + high + 2 * down, left : left + wide + 2 * across],
            np.ascontiguousarray(other[top : top + high, left : left + wide]),
            cv2.TM_SQDIFF,
        ).min()
        for top in range(0, other.shape[0], high)
        for left in range(0, other.shape[1], wide)
    ]
    return float(np.sqrt(np.maximum(least, 0) / (high * wide)).mean()) / max(most, _FLAT)


class EvidenceStream:
    """The evidence of one video's frames, from its thumbnails and its transition curve as they come.

    The evidence of a frame depends on the curve's value there and on the pictures within 25 frames; beyond the ends of
    the video the first and the last one count. So reading a video in segments, with their context, changes nothing.

    Args:
        before: how many of the first frames are context only: 0, or 25 of a segment within a video.
    """

    def __init__(self, before: int = 0) -> None:
        self._before = before
        self._pictures: dict[int, Gray] = {}
        self._differences: dict[tuple[int, int], float] = {}
        self._seen = 0
        self._done = before
        self._curve = _NONE
        """What is known of the curve from `_done` on."""
        self._found: list[int] = []
        self._evidence: list[Evidence] = []

    @property
    def given(self) -> int:
        """How many values of the curve it was given."""
        return self.done + len(self._curve)

    @property
    def done(self) -> int:
        """The frames that are no context whose evidence is known."""
        return self._done - self._before

    def add(self, thumbnails: NDArray[np.uint8], curve: NDArray[np.float32]) -> None:
        """Take the next frames, uint8 [n, 27, 48, 3] RGB, and the next values of the curve that are known."""
        for thumbnail in thumbnails:
            self._pictures[self._seen] = thumbnail.astype(np.float32) @ _LIGHT
            self._seen += 1
        self._look(curve, self._seen - CONTEXT_FRAMES)

    def finish(self, curve: NDArray[np.float32] = _NONE, after: int = 0) -> None:
        """Take the last values of the curve, and look at the last frames.

        Args:
            after: how many of the last frames were context only: 0, or 25 of a segment within a video.
        """
        self._look(curve, self._seen - after)

    def found(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The frames that were looked at, counted without context, and their evidence, [n, len(FIELDS)]."""
        evidence = [astuple(each) for each in self._evidence]
        return np.array(self._found, np.int64), np.array(evidence, np.float32).reshape(-1, len(FIELDS))

    def _look(self, curve: NDArray[np.float32], until: int) -> None:
        self._curve = np.concatenate([self._curve, curve])
        end = min(until, self._done + len(self._curve))
        if end <= self._done:
            return
        now, self._curve = np.split(self._curve, [end - self._done])
        for frame in (np.flatnonzero(now > FLOOR) + self._done).tolist():
            self._found.append(frame - self._before)
            self._evidence.append(self._evidence_of(frame))
        self._done = end
        for old in [frame for frame in self._pictures if frame < end - _AROUND - 1]:
            del self._pictures[old]
        self._differences = {pair: each for pair, each in self._differences.items() if pair[0] >= end - _AROUND - 1}

    def _evidence_of(self, frame: int) -> Evidence:
        def apart(one: int, other: int) -> float:
            one, other = self._within(one), self._within(other)
            if (one, other) not in self._differences:
                self._differences[one, other] = moved_difference(self._pictures[one], self._pictures[other])
            return self._differences[one, other]

        after = frame + 1
        across = {pair: apart(frame - pair[0], after + pair[1]) for pair in _PAIRS}
        steps = [apart(at, at + 1) for at in (*range(frame - _USUAL, frame - 1), *range(after + 1, after + _USUAL))]
        around = [self._pictures[self._within(at)] for at in range(frame - 12, after + 13)]
        spreads, means = [float(each.std()) for each in around], [float(each.mean()) for each in around]
        return Evidence(
            step=apart(frame, after),
            beside=max(apart(frame - 1, frame), apart(after, after + 1)),
            usual=float(np.median(steps)),
            near=across[2, 2],
            far=across[_AROUND, _AROUND],
            alike=min(across.values()),
            contrast=min(spreads) / max(min(spreads[0], spreads[-1]), 1.0),
            light=max(means) - min(means),
            mixed=_unmixed(around[0], self._pictures[frame], around[-1]),
        )

    def _within(self, frame: int) -> int:
        return min(max(frame, 0), self._seen - 1)


def _unmixed(before: Gray, middle: Gray, after: Gray) -> float:
    way = (after - before).ravel()
    length = float(way @ way)
    if length < way.size:  # the ends are the same
        return 1.0
    gone = (middle - before).ravel()
    rest = gone - np.clip(float(gone @ way) / length, 0, 1) * way
    return min(1.0, float(np.sqrt(float(rest @ rest) / length)))
