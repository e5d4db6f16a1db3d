"""Cutting a clip's file out of its source, frame-exact: MP4, sound kept; and reading it back."""

import re
from dataclasses import asdict, dataclass
from typing import Any, Literal

from gpu_kernels.cutting.encode import ClipFilesConfig, Crop, encoded_clip
from gpu_kernels.cutting.spans import Span
from gpu_kernels.cutting.stream_copy import copied_clip
from gpu_kernels.media.containers import open_media
from gpu_kernels.sandbox import ChildMessage, DecodingLimits, MediaError, Nursery, Send, reader_of
from gpu_kernels.sandbox.messages import Count, OneBuffer, Side
from gpu_kernels.scores.borders import Box

_PART_BYTES = 64 << 20
_DECORD_PREFIX = re.compile(r"^(\[[\d:]+\] )?(\S+:\d+: )?")


@dataclass(frozen=True)
class ClipFacts:
    """What reading a clip file back shows; `thumbnail` is a JPEG of its middle frame."""

    frames: int
    width: int
    height: int
    has_audio: bool
    thumbnail: bytes


class _Part(ChildMessage):
    kind: Literal["part"]
    buffers: OneBuffer


class _Whole(ChildMessage):
    kind: Literal["whole"]
    copied: Count
    cropped: bool


_MESSAGES = reader_of(_Part, _Whole)


class _Inspected(ChildMessage):
    kind: Literal["clip"]
    frames: Count
    width: Side
    height: Side
    has_audio: bool
    buffers: OneBuffer


def cut_clip(nursery: Nursery, source: str, target: str, span: Span, config: ClipFilesConfig) -> int:
    """Write the frames of `span` to a new MP4 file `target`, by copying if that is wanted and exact.

    Its first, middle and last frame have been held against the source's.

    Returns:
        How many frames were copied, so that the clip is in the source's codec; 0 if all are encoded, as H.264.

    Raises:
        MediaError: the span cannot be cut, with the reason.
    """
    if config.method == "copy":
        try:
            return copy_clip(nursery, source, target, span, config)
        except MediaError:
            pass  # whatever it is that cannot be copied, or goes wrong in copying, can perhaps be encoded
    return _written(nursery, "encode", source, target, span, config, crop=None).copied


def crop_clip(nursery: Nursery, source: str, target: str, span: Span, config: ClipFilesConfig, crop: Crop) -> bool:
    """Write a part of each frame of `span` to a new MP4 file `target`, encoded and held against the source as above.

    Returns:
        Whether the frames have the size that the crop is meant for; else they are written whole.

    Raises:
        MediaError: the span cannot be cut, with the reason.
    """
    return _written(nursery, "encode", source, target, span, config, crop=asdict(crop)).cropped


def copy_clip(nursery: Nursery, source: str, target: str, span: Span, config: ClipFilesConfig) -> int:
    """Write the frames of `span` to a new MP4 file `target`, copying those that can be copied exactly.

    Returns:
        How many frames were copied; at least a quarter.

    Raises:
        MediaError: this span cannot be cut so, with the reason. `target` may be there, and is not to be used.
    """
    return _written(nursery, "copy", source, target, span, config).copied


def _written(
    nursery: Nursery, way: str, source: str, target: str, span: Span, config: ClipFilesConfig, **more: Any
) -> _Whole:
    """Write the parts that an operation sends; gives what it says of the whole, which comes last."""
    whole: _Whole | None = None
    arguments = {"path": source, "span": asdict(span), "config": config.model_dump(), **more}
    with open(target, "wb") as file:
        for message in nursery.run(f"gpu_kernels.cutting.cut:{way}", _MESSAGES, [source], **arguments):
            if isinstance(message, _Part):
                file.writelines(message.buffers)
            else:
                whole = message
    if whole is None or whole.copied > span.frames:
        raise MediaError("the decoding process did not say that the clip is whole")
    return whole


def read_back(nursery: Nursery, path: str, config: ClipFilesConfig) -> ClipFacts:
    """Open a clip as a trainer would, through decord, and decode its first, middle and last frame.

    Raises:
        MediaError: the file cannot be decoded.
    """
    operation = "gpu_kernels.cutting.cut:inspect"
    seen = nursery.ask(operation, reader_of(_Inspected), [path], path=path, side=config.thumbnail_side)
    return ClipFacts(seen.frames, seen.width, seen.height, seen.has_audio, thumbnail=bytes(seen.buffers[0]))


# ---------------------------------------------------------------- in the child


def copy(send: Send, limits: DecodingLimits, path: str, span: dict[str, Any], config: dict[str, Any]) -> None:
    """Sandboxed operation: messages with the parts of an MP4 file, then how many frames were copied."""
    data, copied = copied_clip(send, path, Span(**span), ClipFilesConfig.model_validate(config), limits)
    _send_parts(send, data, copied, cropped=False)


def encode(
    send: Send,
    limits: DecodingLimits,
    path: str,
    span: dict[str, Any],
    config: dict[str, Any],
    crop: dict[str, Any] | None,
) -> None:
    """Sandboxed operation: messages with the parts of an MP4 file."""
    settings = ClipFilesConfig.model_validate(config)
    part = Crop(Box(**crop["box"]), tuple(crop["size"])) if crop is not None else None
    data, pictures, cropped = encoded_clip(send, path, Span(**span), settings, limits, part)
    pictures.compare(data)
    _send_parts(send, data, copied=0, cropped=cropped)


def _send_parts(send: Send, clip: memoryview, copied: int, cropped: bool) -> None:
    for at in range(0, len(clip), _PART_BYTES):
        send({"kind": "part"}, clip[at : at + _PART_BYTES])
    send({"kind": "whole", "copied": copied, "cropped": cropped})


def inspect(send: Send, limits: DecodingLimits, path: str, side: int) -> None:
    """Sandboxed operation: one message with the facts of a clip and its thumbnail."""
    import cv2
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    try:
        reader = decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1)
        frames = len(reader)
        if frames == 0:
            raise MediaError("the clip has no frames")
        first, middle, last = (reader[index].asnumpy() for index in (0, frames // 2, frames - 1))
    except decord.DECORDError as error:  # says the time, its own source files and the clip's path, which is not kept
        reason = _DECORD_PREFIX.sub("", str(error).strip().splitlines()[0]).replace(path, "the clip")
        raise MediaError(f"the clip cannot be read by decord: {reason}") from error
    if not first.shape == middle.shape == last.shape:
        raise MediaError("the clip's frames differ in size")
    height, width, colors = first.shape
    if colors != 3:  # it takes the padding of narrow lines for colors
        raise MediaError(f"the clip cannot be read by decord: {width} pixels are too narrow for it")
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(cv2.cvtColor(middle, cv2.COLOR_RGB2BGR), size, interpolation=cv2.INTER_AREA)
    encoded, jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])
    if not encoded:
        raise MediaError("the clip's thumbnail could not be encoded")
    facts = {"frames": frames, "width": width, "height": height, "has_audio": _has_sound(path)}
    send({"kind": "clip", **facts}, jpeg.tobytes())


def _has_sound(path: str) -> bool:
    """Whether there is anything to hear: a track may be empty."""
    with open_media(path) as clip:
        return any(packet.size for sound in clip.streams.audio for packet in clip.demux(sound))
