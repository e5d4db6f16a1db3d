"""What the kernels see of a video: its track of picture hashes, a digest of what was decoded, and its embedding."""

# pyright: basic

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np

from gpu_kernels.dedup.picture_hashes import picture_hashes
from gpu_kernels.dedup.picture_track import PictureTrack, on_grid
from gpu_kernels.dedup.windowed_hashes import WindowedHashes
from gpu_kernels.dedup.windows import PICTURE, PICTURES_PER_SECOND
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
        np.savez(kept, **_decoded(path, seconds))
    with np.load(kept) as stored:
        times, frames = stored["times"], stored["frames"]
        vector = stored["vectors"].mean(0)
        windows = WindowedHashes()
        windows.add(frames, stored["samples"], stored["overview_frames"], stored["overviews"], int(frames[-1]) + 1)
        shown = windows.found(ended=True)
        window = PictureTrack(times[np.searchsorted(frames, shown.frames)], shown.hashes, shown.greys)
        track = PictureTrack(times, *picture_hashes(stored["samples"])[:2], window=window if len(window) else None)
        return Seen(track, str(stored["digest"]), vector / np.linalg.norm(vector))


def _decoded(path: Path, seconds: float) -> dict[str, Any]:
    digest, cadence, seen_again = hashlib.sha256(), Cadence(1.0), Cadence(PICTURES_PER_SECOND)
    times: list[int] = []
    samples: list[np.ndarray] = []
    frames: list[int] = []
    overviews: dict[int, np.ndarray] = {}
    pictures: list[np.ndarray] = []
    with av.open(str(path)) as opened:
        stream = opened.streams.video[0]
        thumbnail = Scaler(lambda _width, _height: _THUMBNAIL, "rgb24", stream)
        overview = Scaler(lambda _width, _height: (PICTURE[1], PICTURE[0]), "gray", stream, flags="area")
        picture = Scaler(lambda width, height: storyboard_size(width, height, _SHORT_SIDE), "rgb24", stream)
        origin = before = None
        for index, frame in enumerate(opened.decode(stream)):
            at = round((frame.time or 0) * 1e9)
            origin = at if origin is None else origin
            if at - origin >= seconds * 1e9:
                break
            small = thumbnail(frame)
            digest.update(small.data)
            if on_grid(np.array([at]), origin, before)[0]:
                times.append(at)
                samples.append(small)
                frames.append(index)
            if seen_again.due(at):
                overviews[index] = overview(frame)
            if cadence.due(at):
                pictures.append(picture(frame))
            before = at
    return {
        "times": np.array(times),
        "frames": np.array(frames, np.int32),
        "samples": np.stack(samples),
        "overview_frames": np.array([*overviews], np.int32),
        "overviews": np.stack([*overviews.values()]),
        "digest": digest.hexdigest(),
        "vectors": _embedder().embed(pictures),
    }


@cache
def _embedder():
    return EfficientNetLite0Config().load()
