"""Footage with something put over it or around it, as a storyboard has it after a video codec."""

# pyright: basic

import io
from collections.abc import Sequence
from pathlib import Path

import av
import cv2
import numpy as np
from proof_pictures import as_stored, pictures_per_second

SECONDS = 6.0
PER_SECOND = 2.0


def films(footage: Sequence[Path], most: int = 24) -> dict[str, list[np.ndarray]]:
    """The storyboard of the beginning of every video, by its name; distorted copies are left out."""
    frames = int(SECONDS * PER_SECOND)
    named = {path.stem: path for path in footage if "distorted" not in path.stem}
    return {name: list(pictures_per_second(path, frames, PER_SECOND)) for name, path in list(named.items())[:most]}


def fitted(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """A picture in another size."""
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def encoded(pictures: Sequence[np.ndarray], crf: int = 28) -> list[np.ndarray]:
    """Pictures after H.264, and after they were JPEGs."""
    buffer = io.BytesIO()
    height, width = (side // 2 * 2 for side in pictures[0].shape[:2])
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=int(PER_SECOND))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": str(crf), "preset": "veryfast", "threads": "1"}
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    buffer.seek(0)
    with av.open(buffer, "r") as stored:
        return [as_stored(frame.to_ndarray(format="rgb24")) for frame in stored.decode(video=0)]
