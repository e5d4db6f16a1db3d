"""What the kernels see of a video: its track of picture hashes, a digest of what was decoded, and its embedding."""

# pyright: basic

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import av
import numpy as np

from gpu_kernels.dedup.picture_hashes import picture_hashes
from gpu_kernels.dedup.picture_track import PictureTrack, on_grid
from gpu_kernels.embedders.efficientnet import EfficientNetLite0Config
from gpu_kernels.media.scaler import Scaler
from gpu_kernels.media.storyboards import Cadence, storyboard_size

_THUMBNAIL = (48, 27)
_SHORT_SIDE = 224


@dataclass(frozen=True)
class Seen:
    """Of one video.

    Attributes:
        digest: of the thumbnails of all its frames.
        vector: float32 [d], the unit mean of a frame a second, by the default embedder.
    """

    track: PictureTrack
    digest: str
    vector: np.ndarray


def seen(path: Path, kept: Path, seconds: float = float("inf")) -> Seen:
    """Decode the beginning of a video, or read what was kept of it."""
    if not kept.exists():
        times, samples, digest, vectors = _decoded(path, seconds)
        np.savez(kept, times=times, samples=samples, digest=digest, vectors=vectors)
    with np.load(kept) as stored:
        hashes = picture_hashes(stored["samples"])
        vector = stored["vectors"].mean(0)
        return Seen(PictureTrack(stored["times"], *hashes), str(stored["digest"]), vector / np.linalg.norm(vector))


def _decoded(path: Path, seconds: float) -> tuple[np.ndarray, np.ndarray, str, np.ndarray]:
    digest, cadence = hashlib.sha256(), Cadence(1.0)
    times: list[int] = []
    samples: list[np.ndarray] = []
    pictures: list[np.ndarray] = []
    with av.open(str(path)) as opened:
        stream = opened.streams.video[0]
        thumbnail = Scaler(lambda _width, _height: _THUMBNAIL, "rgb24", stream)
        picture = Scaler(lambda width, height: storyboard_size(width, height, _SHORT_SIDE), "rgb24", stream)
        origin = before = None
        for frame in opened.decode(stream):
            at = round((frame.time or 0) * 1e9)
            origin = at if origin is None else origin
            if at - origin >= seconds * 1e9:
                break
            small = thumbnail(frame)
            digest.update(small.data)
            if on_grid(np.array([at]), origin, before)[0]:
                times.append(at)
                samples.append(small)
            if cadence.due(at):
                pictures.append(picture(frame))
            before = at
    return np.array(times), np.stack(samples), digest.hexdigest(), _embedder().embed(pictures)


@cache
def _embedder():
    return EfficientNetLite0Config().load()
