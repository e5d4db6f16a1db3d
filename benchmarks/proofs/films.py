"""Footage as arrays, and back: for proofs that change films and have them encoded."""

# pyright: basic

import subprocess
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import av
import numpy as np

from gpu_kernels.media.ffmpeg import ffmpeg_executable
from gpu_kernels.media.storyboards import Cadence
from gpu_kernels.scan.frame_sampler import FrameSignalsConfig
from proofs.proof import Proof


def film(path: Path, frames: int, rate: float, width: int = 320, height: int = 180) -> np.ndarray:
    """The first frames of a video at a rate, uint8 [n, height, width, 3]; fewer where it is shorter."""
    size = f"scale={width}:{height}:force_original_aspect_ratio=increase,crop={width}:{height}"
    command = [ffmpeg_executable(), "-v", "error", "-i", str(path), "-vf", f"fps={rate},{size}"]
    command += ["-frames:v", str(frames), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)


def encoded(path: Path, frames: np.ndarray, rate: float, codec: Sequence[str]) -> Path:
    """Write pictures, uint8 [n, height, width, 3] or [n, height, width], as a video."""
    grey = frames.ndim == 3
    size = f"{frames.shape[2]}x{frames.shape[1]}"
    command = [ffmpeg_executable(), "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "gray" if grey else "rgb24"]
    command += ["-s", size, "-r", str(rate), "-i", "-", "-pix_fmt", "yuv420p", *codec, str(path)]
    subprocess.run(command, input=np.ascontiguousarray(frames).data, check=True)
    return path


Measure = Callable[[av.VideoFrame, av.VideoFrame], object]


def timed_samples(proof: Proof, footage: Sequence[Path], opened: Callable[[av.VideoStream], Measure]) -> None:
    """Count what a measurement of the scan costs beyond decoding, at its usual samples and at the films' own sizes.

    Args:
        opened: of a stream, what is called with each frame that is sampled and the one after it.
    """
    for path in footage:
        measure, seconds = None, 0.0
        for stream, frame, following in _sampled(path):
            measure = measure or opened(stream)
            with proof.timed(0):
                measure(frame, following)
            seconds = frame.time or 0.0
        proof.video_seconds += seconds


def _sampled(path: Path) -> Iterator[tuple[av.VideoStream, av.VideoFrame, av.VideoFrame]]:
    cadence = Cadence(FrameSignalsConfig().samples_per_second)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        for frame, following in pairwise(container.decode(stream)):
            if cadence.due(round((frame.time or 0) * 1e9)):
                yield stream, frame, following
