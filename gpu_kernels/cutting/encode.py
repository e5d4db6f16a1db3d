"""Encoding a span of a source: H.264 in MP4, as a player shows it, sound kept. Runs inside the sandbox's child.

Frames come from the same decoder as the scan's and are numbered as it numbers them, so what is encoded is what was
looked at, whatever the container, the codec, or changes within the stream.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from gpu_kernels.cutting.muxing import ClipFile, Sample
from gpu_kernels.cutting.pictures import Pictures
from gpu_kernels.cutting.sound import encode_sound
from gpu_kernels.cutting.spans import Span, SpanNotFound, span_frames
from gpu_kernels.media.scaler import Scaler
from gpu_kernels.sandbox import DecodingLimits, Send
from gpu_kernels.scores.borders import Box
from gpu_kernels.strict import StrictModel

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.stream import VideoStream

_FINEST_TICK = Fraction(1, 1_000_000)
_TICK = Fraction(1, 90_000)
"""Of clips whose source counts finer than any reader."""


class ClipFilesConfig(StrictModel):
    """How clip files are made."""

    unless_default: ClassVar[frozenset[str]] = frozenset({"crop", "drop_bands", "crop_least_share"})

    method: Literal["copy", "encode"] = "copy"
    """`copy` takes whole groups of pictures from plain H.264, HEVC and VP9 as they are, and encodes what cannot be
    copied exactly; `encode` encodes every frame as H.264, which makes smaller files of sources with a high bit rate,
    and files that readers without HEVC and VP9 can read."""
    crf: int = Field(default=20, ge=0, le=51)
    """x264's constant rate factor: lower is better and larger. Frames at the edges of copied ones have a quality of
    their own, above 40 dB."""
    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower"] = "veryfast"
    """x264's preset: slower is smaller."""
    audio_kbits: int = Field(default=128, ge=16, le=512)
    """AAC bits per second, in thousands."""
    thumbnail_side: int = Field(default=160, ge=16, le=640)
    """Long side of the thumbnail that is kept with the row, in pixels."""
    crop: Literal["none", "borders"] = "none"
    """`borders` crops each clip to what the measurement `borders` says is picture throughout it. Cropped frames have to
    be encoded: it needs `method: encode`."""
    drop_bands: bool = False
    """Whether the bands at the top and the bottom that hold overlaid text, such as subtitles, are cropped off, by the
    measurement `text_overlays`. Text between the outer thirds of the picture is left. It needs `method: encode`."""
    crop_least_share: float = Field(default=0.25, gt=0, le=1)
    """Share of the frame's area that must be left. A clip of which less would be left is not cropped, and `crop_undone`
    says so; an upright video between pillars has 0.32."""

    @property
    def crops(self) -> bool:
        """Whether any clip is cropped."""
        return self.crop != "none" or self.drop_bands

    @model_validator(mode="after")
    def _encodes_what_it_crops(self) -> "ClipFilesConfig":
        if self.crops and self.method == "copy":
            named = "crop" if self.crop != "none" else "drop_bands"
            raise ValueError(f"{named} needs method: encode, because frames that are copied cannot be cropped")
        return self


@dataclass(frozen=True)
class Crop:
    """What is kept of every frame.

    Attributes:
        box: in pixels as displayed, all even.
        size: width and height of the frames that it is meant for, as they would be encoded. A clip whose first frame
            has another size is not cropped.
    """

    box: Box
    size: tuple[int, int]


def encoded_clip(
    send: Send, path: str, span: Span, config: ClipFilesConfig, limits: DecodingLimits, crop: Crop | None = None
) -> tuple[memoryview, Pictures, bool]:
    """An MP4 file of every frame of `span`, encoded, some of the source's pictures to hold it against, and whether it
    was cropped.

    Raises:
        SpanNotFound: the source does not have these frames.
        MediaError: the source cannot be decoded.
    """
    if span.start_frame and not span.clock_restarts:
        try:
            return _encoded(send, path, span, config, limits, crop, look_up=True)
        except SpanNotFound:
            pass  # its times do not lead to it; counting does
    return _encoded(send, path, span, config, limits, crop, look_up=False)


def _encoded(
    send: Send,
    path: str,
    span: Span,
    config: ClipFilesConfig,
    limits: DecodingLimits,
    crop: Crop | None,
    look_up: bool,
) -> tuple[memoryview, Pictures, bool]:
    encoder: _Encoder | None = None
    pictures = Pictures(span.frames)
    for pts_ns, frame, stream in span_frames(send, path, span, limits, look_up):
        if encoder is None:
            encoder = _Encoder(stream, span, config, crop)
        pictures.take(encoder.add(pts_ns, frame))
    if encoder is None:
        raise SpanNotFound("the span has no frames")
    sound = encode_sound(send, path, span, encoder.clip, config.audio_kbits)
    return encoder.clip.write(encoder.track, encoder.samples(), encoder.end, sound), pictures, encoder.cropped


class _Encoder:
    """Encodes frames as H.264 for a clip.

    The clip has the size of its first frame. Where the stream's size changes within it, later frames are fitted into
    that, with black beside them, as players do. Odd sides lose their last line or column: 4:2:0 chroma has none for
    it. Pixels become square, by stretching: many readers do not know of other ones. What is cropped is cropped last, so
    it has the very pixels that the whole would have.
    """

    def __init__(self, stream: "VideoStream", span: Span, config: ClipFilesConfig, crop: Crop | None) -> None:
        tick = stream.time_base or _TICK
        self.clip = ClipFile(tick if tick >= _FINEST_TICK else _TICK)
        self._span, self._config, self._crop = span, config, crop
        self._rate = stream.guessed_rate or Fraction(25)
        self._samples: list[Sample] = []
        self._last = -1
        self._track: VideoStream | None = None
        self._size: tuple[int, int] | None = None
        self._whole = (0, 0)

        def size(width: int, height: int) -> tuple[int, int]:
            self._size = self._size or (width, height)
            return _fitting((width, height), self._size)

        self._scaler = Scaler(size, "yuv420p", stream, even=True)

    @property
    def track(self) -> "VideoStream":
        assert self._track is not None
        return self._track

    @property
    def cropped(self) -> bool:
        return self._crop is not None

    @property
    def end(self) -> int:
        """When the last frame has been shown, in ticks of the clip."""
        return max(self._last + 1, self._ticks(self._span.end_ns))

    def add(self, pts_ns: int, frame: "VideoFrame") -> "VideoFrame":
        """Encode the next frame; gives it as it goes into the encoder."""
        from av.video.frame import PictureType

        picture = self._scaler.frame(frame)
        if self._track is None:
            self._whole = (picture.width, picture.height)
            self._track = self._opened(picture)
        elif (picture.width, picture.height) != self._whole:
            picture = _framed(picture, *self._whole)
        if self._crop is not None:
            picture = _cropped(picture, self._crop.box)
        self._last = max(self._last + 1, self._ticks(pts_ns))
        picture.pts, picture.time_base, picture.pict_type = self._last, self.clip.tick, PictureType.NONE
        self._take(picture)
        return picture

    def samples(self) -> list[Sample]:
        """All frames, encoded."""
        self._take(None)
        return self._samples

    def _take(self, picture: "VideoFrame | None") -> None:
        for packet in self.track.encode(picture):
            assert packet.pts is not None
            self._samples.append(Sample(packet.pts, packet.is_keyframe, bytes(packet)))

    def _ticks(self, pts_ns: int) -> int:
        return round(Fraction(pts_ns - self._span.start_ns, 1_000_000_000) / self.clip.tick)

    def _opened(self, picture: "VideoFrame") -> "VideoStream":
        from av.codec.context import Flags

        if self._crop is not None and self._crop.size != (picture.width, picture.height):
            self._crop = None
        options = {"crf": str(self._config.crf), "preset": self._config.preset}
        track = self.clip.container.add_stream("libx264", rate=self._rate, options=options)
        kept = self._crop.box if self._crop is not None else picture
        track.width, track.height, track.pix_fmt = kept.width, kept.height, "yuv420p"
        track.time_base = self.clip.tick
        context = track.codec_context
        context.time_base = self.clip.tick
        context.thread_count = 1  # threads change x264's output, and workers are parallel already
        context.flags |= Flags.bitexact
        context.color_range, context.colorspace = picture.color_range, picture.colorspace
        context.color_primaries, context.color_trc = picture.color_primaries, picture.color_trc
        return track


def _fitting(size: tuple[int, int], into: tuple[int, int]) -> tuple[int, int]:
    """The largest size of the same shape that fits; the whole where only rounding is between them."""
    scale = min(into[0] / size[0], into[1] / size[1])
    width, height = round(size[0] * scale), round(size[1] * scale)
    return into if abs(width - into[0]) <= 2 and abs(height - into[1]) <= 2 else (max(2, width), max(2, height))


def _cropped(picture: "VideoFrame", box: Box) -> "VideoFrame":
    """The part of a picture in yuv420p that lies in a box with even edges."""
    from av import VideoFrame

    planes: list[np.ndarray] = []
    for plane, share in zip(picture.planes, (1, 2, 2), strict=True):
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        x, y, width, height = (side // share for side in (box.x, box.y, box.width, box.height))
        planes.append(rows[y : y + height, x : x + width].ravel())
    return VideoFrame.from_ndarray(np.concatenate(planes).reshape(box.height * 3 // 2, box.width), format="yuv420p")


def _framed(picture: "VideoFrame", width: int, height: int) -> "VideoFrame":
    """A picture in yuv420p in the middle of a larger black one."""
    from av import VideoFrame

    planes: list[np.ndarray] = []
    for plane, black, share in zip(picture.planes, (16, 128, 128), (1, 2, 2), strict=True):
        whole = np.full((height // share, width // share), black, np.uint8)
        top, left = ((whole.shape[0] - plane.height) // 2, (whole.shape[1] - plane.width) // 2)
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        whole[top : top + plane.height, left : left + plane.width] = rows[: plane.height, : plane.width]
        planes.append(whole.ravel())
    return VideoFrame.from_ndarray(np.concatenate(planes).reshape(height * 3 // 2, width), format="yuv420p")
