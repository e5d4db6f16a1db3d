"""The pictures of a file that somebody names, as a storyboard would hold them: a picture's own, or a video's."""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.media.storyboards import StoryboardsConfig, decoded, storyboard_size
from gpu_kernels.sandbox import ChildMessage, DecodingLimits, MediaError, Nursery, Send, reader_of
from gpu_kernels.sandbox.messages import OneBuffer
from gpu_kernels.scan.messages import ScanChunk
from gpu_kernels.scan.scan import read_scan

MOST = 64
"""Pictures of a video; of more, as many are taken evenly."""


class _Picture(ChildMessage):
    kind: Literal["picture"]
    buffers: OneBuffer


_MESSAGES = reader_of(_Picture)


def pictures_of(nursery: Nursery, path: str, config: StoryboardsConfig) -> list[NDArray[np.uint8]]:
    """The pictures, uint8 [height, width, 3], RGB, decoded in a child process: of a picture one; of a video those that
    its storyboard would have, `MOST` at most.

    Raises:
        MediaError: it is neither a picture nor a video that can be decoded.
    """
    if _is_picture(path):
        (jpeg,) = nursery.ask(f"{__name__}:shrink", _MESSAGES, [path], path=path, config=config.model_dump()).buffers
        jpegs = [bytes(jpeg)]
    else:
        try:
            jpegs = [bytes(each) for each in _of_video(nursery, path, config)]
        except MediaError as error:
            raise MediaError(
                f"no picture that is read (JPEG, PNG, WebP, BMP, TIFF), and as a video: {error}"
            ) from error
    return [decoded(jpeg) for jpeg in _evenly(jpegs)]


def _of_video(nursery: Nursery, path: str, config: StoryboardsConfig) -> Iterator[memoryview]:
    for chunk in read_scan(nursery, path, None, [config]):
        if isinstance(chunk, ScanChunk):
            yield from (frame.jpeg for frame in chunk.storyboards[0])


def _is_picture(path: str) -> bool:
    """By its first bytes: JPEG, PNG, WebP, BMP or TIFF."""
    try:
        with open(path, "rb") as file:
            head = file.read(12)
    except OSError as error:
        raise MediaError(f"not a readable file: {error.strerror}") from error
    marks = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0", b"MM\0*")
    return head.startswith(marks) or (head[:4] == b"RIFF" and head[8:] == b"WEBP")


def _evenly(jpegs: Sequence[bytes]) -> list[bytes]:
    if len(jpegs) <= MOST:
        return list(jpegs)
    return [jpegs[round(place)] for place in np.linspace(0, len(jpegs) - 1, MOST)]


# ---------------------------------------------------------------- in the child


def shrink(send: Send, limits: DecodingLimits, path: str, config: dict[str, object]) -> None:
    """Sandboxed operation: decode a picture, upright, and send it as a storyboard would hold it."""
    import cv2

    settings = StoryboardsConfig.model_validate(config)
    with open(path, "rb") as file:
        picture = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise MediaError("the picture cannot be decoded")
    height, width = picture.shape[:2]
    if width * height > limits.max_pixels:
        raise MediaError(f"{width}x{height} pixels are more than limits.max_pixels allows")
    size = storyboard_size(width, height, settings.short_side, settings.multiple_of)
    shrunken = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    _, jpeg = cv2.imencode(".jpg", shrunken, [cv2.IMWRITE_JPEG_QUALITY, settings.jpeg_quality])
    send({"kind": "picture"}, jpeg.data)
