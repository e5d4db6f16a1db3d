"""Motion at a few frames per second, as a scan goes by them. Runs inside the sandbox's child."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gpu_kernels.media.display import side_data
from gpu_kernels.media.scaler import Scaler
from gpu_kernels.media.storyboards import Cadence
from gpu_kernels.scores.motion import MotionSignalsConfig, flow_motion, flow_size, patch_grid, vector_motion

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.stream import VideoStream

_VECTOR_CODECS = {"h264", "mpeg4", "mpeg2video", "mpeg1video", "h263", "msmpeg4v3", "msmpeg4v2", "flv", "vc1", "wmv3"}


@dataclass(frozen=True)
class MotionSample:
    """Motion at one frame: mean magnitude per patch, float32 [rows, cols], as a share of width plus height."""

    frame: int
    pts_ns: int
    by_flow: bool
    patches: np.ndarray


class MotionSampler:
    """Motion from the codec's vectors where there are any, else from dense flow to the next frame.

    A keyframe has no vectors: the sample is then taken at the next frame that has. When a whole period passes without
    any (in an all-intra file), flow is used. What it takes depends on the last `memory_ns` of the video only.

    Args:
        origin_ns: time of the video's first frame, where later ones are looked at without it.
    """

    def __init__(self, config: MotionSignalsConfig, stream: "VideoStream", origin_ns: int | None) -> None:
        self._cadence = Cadence(config.samples_per_second, origin_ns)
        self.memory_ns = 3 * self._cadence.period_ns
        self._has_vectors = stream.codec_context.codec.canonical_name in _VECTOR_CODECS
        self._done = True  # whether there is a sample from vectors in this period
        self._pending: tuple[int, int, np.ndarray] | None = None

        def size(width: int, height: int) -> tuple[int, int]:
            return flow_size(width, height, config.flow_short_side)

        self._gray = Scaler(size, "gray", stream, upright=False)  # as the codec's vectors are

    def take(self, index: int, pts_ns: int, frame: "VideoFrame") -> MotionSample | None:
        """Look at the next frame: the sample that is complete with it, of this frame or an earlier one."""
        due = self._cadence.due(pts_ns)
        missed = due and not self._done
        self._done = self._done and not due
        flow = self._flow_to(frame)
        if not self._has_vectors:
            if due:
                self._pending = (index, pts_ns, self._gray(frame))
        elif not self._done and flow is None and (vectors := side_data(frame, "MOTION_VECTORS")) is not None:
            self._done = True
            return MotionSample(index, pts_ns, False, vector_motion(vectors.to_ndarray(), frame.height, frame.width))
        elif missed:
            self._pending = (index, pts_ns, self._gray(frame))
        return flow

    def _flow_to(self, frame: "VideoFrame") -> MotionSample | None:
        if self._pending is None:
            return None
        index, pts_ns, before = self._pending
        self._pending = None
        after = self._gray(frame)
        if before.shape != after.shape:
            return None
        return MotionSample(index, pts_ns, True, flow_motion(before, after, *patch_grid(frame.height, frame.width)))
