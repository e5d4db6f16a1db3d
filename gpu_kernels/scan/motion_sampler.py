"""Motion at a few frames per second, as a scan goes by them. Runs inside the sandbox's child."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gpu_kernels.media.display import side_data
from gpu_kernels.media.scaler import Scaler
from gpu_kernels.media.storyboards import Cadence
from gpu_kernels.scores.motion import MotionSignalsConfig, flow_motion, flow_size, patch_grid, vector_field

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.stream import VideoStream

_VECTOR_CODECS = {"h264", "mpeg4", "mpeg2video", "mpeg1video", "h263", "msmpeg4v3", "msmpeg4v2", "flv", "vc1", "wmv3"}
_BOTH_SIDES = {3, 7}
"""FFmpeg's B and BI: kinds of frames that are predicted from both sides."""
_REFERENCE_PER_SECOND = 2.0


@dataclass(frozen=True)
class MotionSample:
    """Motion at one frame: mean magnitude per patch and frame, float32 [rows, cols], as a share of width plus height.

    Attributes:
        distance: how many frames away the frame is that it was compared with.
    """

    frame: int
    pts_ns: int
    by_flow: bool
    distance: int
    patches: np.ndarray


@dataclass(frozen=True)
class ReferenceSample:
    """Motion at one frame as Cosmos-Curate sees it, by its vectors as they are.

    Attributes:
        mean: over the picture.
        centres: in the middle of every patch, float32 [rows, cols]; see `VectorField.centres`.
    """

    frame: int
    mean: float
    centres: np.ndarray


class MotionTaken(NamedTuple):
    """What was complete with a frame."""

    sample: MotionSample | None
    reference: ReferenceSample | None


class MotionSampler:
    """Motion per frame from the codec's vectors where there are any, else from dense flow to the next frame.

    Vectors do not say how far away the frame is that they refer to. In a frame that is predicted from earlier ones
    only, that is nearly always the last frame shown before it that is not predicted from both sides. So such frames are
    sampled, and their vectors divided by that distance. Those of B-frames cannot be: they may refer to other B-frames.
    When a whole period passes without a frame to sample (in an all-intra file), flow is used.

    Beside these come samples as Cosmos-Curate takes them: the first frame of every half second, of whatever kind,
    unless it has no vectors. What is taken depends on the last `memory_ns` of the video only.

    Args:
        origin_ns: time of the video's first frame, where later ones are looked at without it.
    """

    def __init__(self, config: MotionSignalsConfig, stream: "VideoStream", origin_ns: int | None) -> None:
        self._cadence = Cadence(config.samples_per_second, origin_ns)
        self.memory_ns = 3 * self._cadence.period_ns
        self._reference_cadence = Cadence(_REFERENCE_PER_SECOND, origin_ns)
        self._since_anchor: int | None = None
        """How many frames ago the last one was that is not predicted from both sides."""
        self._has_vectors = stream.codec_context.codec.canonical_name in _VECTOR_CODECS
        self._done = True  # whether there is a sample from vectors in this period
        self._pending: tuple[int, int, np.ndarray] | None = None

        def size(width: int, height: int) -> tuple[int, int]:
            return flow_size(width, height, config.flow_short_side)

        self._gray = Scaler(size, "gray", stream, upright=False)  # as the codec's vectors are

    def take(self, index: int, pts_ns: int, frame: "VideoFrame") -> MotionTaken:
        """Look at the next frame: the samples that are complete with it, of this frame or an earlier one."""
        due = self._cadence.due(pts_ns)
        flow = self._flow_to(frame)
        if not self._has_vectors:
            if due:
                self._pending = (index, pts_ns, self._gray(frame))
            return MotionTaken(flow, None)
        missed = due and not self._done
        self._done = self._done and not due
        distance = self._distance(frame)
        reference_due = self._reference_cadence.due(pts_ns)
        wanted = not self._done and flow is None and distance is not None
        field = None
        if (wanted or reference_due) and (vectors := side_data(frame, "MOTION_VECTORS")) is not None:
            field = vector_field(vectors.to_ndarray(), frame.height, frame.width)
        means = field.patch_means() if field else None
        sample, reference = flow, None
        if means is not None and wanted and distance is not None:
            self._done = True
            sample = MotionSample(index, pts_ns, False, distance, means / np.float32(distance))
        elif missed:
            self._pending = (index, pts_ns, self._gray(frame))
        if field is not None and means is not None and reference_due:
            reference = ReferenceSample(index, float(means.mean(dtype=np.float64)), field.centres())
        return MotionTaken(sample, reference)

    def _distance(self, frame: "VideoFrame") -> int | None:
        """Of a frame that is predicted from earlier ones only: how many frames back the last such frame, or keyframe,
        is. None of others, and where that is not known."""
        if self._since_anchor is not None:
            self._since_anchor += 1
        if int(frame.pict_type) in _BOTH_SIDES:
            return None
        distance, self._since_anchor = self._since_anchor, 0
        return distance

    def _flow_to(self, frame: "VideoFrame") -> MotionSample | None:
        if self._pending is None:
            return None
        index, pts_ns, before = self._pending
        self._pending = None
        after = self._gray(frame)
        if before.shape != after.shape:
            return None
        return MotionSample(index, pts_ns, True, 1, flow_motion(before, after, *patch_grid(frame.height, frame.width)))
