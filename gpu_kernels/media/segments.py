"""Segments of a long video, which several workers scan at the same time.

A segment's worker decodes from a keyframe well before it, so that its own frames, and all that is carried from frame to
frame, are what they are in one scan of the whole. It also gives the frames on either side that the shot network looks
at; these overlap with the neighbours' own frames, which shows whether the segments fit together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gpu_kernels.shots.transitions import CONTEXT_FRAMES

SEGMENT_FRAMES = 18_000
"""Frames of a segment: a few minutes, and whole numbers of the network's windows, of its batches on a GPU, and of the
files of a storyboard."""


@dataclass(frozen=True)
class Segment:
    """The frames [start, end) of a video; the default is all of it.

    Attributes:
        start, end: frames; an `end` of None is the video's.
        first_pts_ns: presentation time of the video's first frame.
        start_pts_ns, end_pts_ns: of the frames `start` and `end`; None where these are the video's own ends.
        context_ns: how long before its start it has to be decoded for the network's sake.
    """

    start: int = 0
    end: int | None = None
    first_pts_ns: int | None = None
    start_pts_ns: int | None = None
    end_pts_ns: int | None = None
    context_ns: int = 0

    @property
    def whole(self) -> bool:
        """Whether it is all of the video."""
        return self.start_pts_ns is None and self.end_pts_ns is None

    def holds(self, frame: int) -> bool:
        """Whether a frame is its own."""
        return self.start <= frame and (self.end is None or frame < self.end)

    @property
    def before(self) -> int:
        """Frames that are given before its own."""
        return 0 if self.start_pts_ns is None else CONTEXT_FRAMES

    @property
    def after(self) -> int:
        """Frames that are given after its own."""
        return 0 if self.end_pts_ns is None else CONTEXT_FRAMES


WHOLE = Segment()


def segment_count(frames: int, segment_pts_ns: Sequence[int]) -> int:
    """Into how many segments a video is divided; the last is between half as long as the others and once and a half.

    Args:
        frames: of the video.
        segment_pts_ns: presentation times of the frames SEGMENT_FRAMES, 2 * SEGMENT_FRAMES and so on.
    """
    return max(1, min(round(frames / SEGMENT_FRAMES), len(segment_pts_ns) + 1))


def segment(index: int, count: int, first_pts_ns: int, segment_pts_ns: Sequence[int], average_rate: float) -> Segment:
    """Segment `index` of `count` of a video."""
    last = index == count - 1
    return Segment(
        start=index * SEGMENT_FRAMES,
        end=None if last else (index + 1) * SEGMENT_FRAMES,
        first_pts_ns=first_pts_ns,
        start_pts_ns=segment_pts_ns[index - 1] if index else None,
        end_pts_ns=None if last else segment_pts_ns[index],
        context_ns=round(2 * CONTEXT_FRAMES / average_rate * 1_000_000_000),
    )
