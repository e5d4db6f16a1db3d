"""How a span of video looks over time: hashes and small grey pictures at ten moments a second."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.dedup.picture_hashes import BITS, GREY, VIEWS

TRACK_HZ = 10
TRACK_STEP_NS = 1_000_000_000 // TRACK_HZ


@dataclass(frozen=True)
class PictureTrack:
    """Samples of a span of video: the first frame of every tenth of a second, counted from the video's first frame.

    Attributes:
        times_ns: int64 [n], presentation times of the sampled frames, increasing.
        hashes: uint8 [n, 3, 32], of the active picture and of the centre 90 % and 80 % of it (`picture_hashes.VIEWS`).
        greys: uint8 [n, 9, 16], the active picture, small and grey.
        ends_ns: when the span ends, exclusive; None: not known.
        window: the same of what is shown in a window, for those samples that have one (`windows`); None: none has.
    """

    times_ns: NDArray[np.int64]
    hashes: NDArray[np.uint8]
    greys: NDArray[np.uint8]
    ends_ns: int | None = None
    window: "PictureTrack | None" = None

    def __post_init__(self) -> None:
        """Raises:
        ValueError: lengths or shapes differ from what they have to be, or times do not increase.
        """
        count = len(self.times_ns)
        if self.hashes.shape != (count, len(VIEWS), BITS // 8) or self.greys.shape != (count, *GREY):
            raise ValueError(f"{count} times, hashes {self.hashes.shape}, greys {self.greys.shape}")
        if (self.times_ns[1:] <= self.times_ns[:-1]).any():
            raise ValueError("the times of a track do not increase")

    def __len__(self) -> int:
        return len(self.times_ns)

    def end_of(self, sample: int) -> int:
        """Until when a sample stands for what is seen, in nanoseconds, exclusive: a step, but not beyond the span."""
        end = int(self.times_ns[sample]) + TRACK_STEP_NS
        return end if self.ends_ns is None else min(end, self.ends_ns)

    def between(self, start_ns: int, end_ns: int) -> "PictureTrack":
        """The samples in [start_ns, end_ns)."""
        first, last = np.searchsorted(self.times_ns, [start_ns, end_ns])
        ends_ns = end_ns if self.ends_ns is None else min(end_ns, self.ends_ns)
        window = None if self.window is None else self.window.between(start_ns, end_ns)
        return PictureTrack(self.times_ns[first:last], self.hashes[first:last], self.greys[first:last], ends_ns, window)


def on_grid(pts_ns: NDArray[np.int64], origin_ns: int, before_ns: int | None = None) -> NDArray[np.bool_]:
    """Which frames are samples of a track: the first of every tenth of a second that has one.

    Args:
        pts_ns: int64 [n], times of successive frames.
        origin_ns: time of the video's first frame.
        before_ns: time of the frame before them; None where there is none.
    """
    cells = (pts_ns - origin_ns) // TRACK_STEP_NS
    earlier = cells[:1] - 1 if before_ns is None else np.array([(before_ns - origin_ns) // TRACK_STEP_NS])
    return np.diff(cells, prepend=earlier) > 0
