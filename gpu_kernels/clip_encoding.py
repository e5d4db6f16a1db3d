"""Encoding a span of a source with the ffmpeg program: H.264 in MP4, sound kept, index at the front."""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from gpu_kernels.containers import DEMUXERS
from gpu_kernels.ffmpeg import ffmpeg_executable, run_ffmpeg
from gpu_kernels.sandbox import DecodingLimits
from gpu_kernels.strict import StrictModel

SECOND = 1_000_000_000

_MARGIN_NS = 1_000_000
"""What is kept begins this much before the first frame, because ffmpeg rounds times to microseconds."""

REORDERED_FRAMES = 16
"""The most frames that H.264 and HEVC let a keyframe be decoded ahead of those that are shown before it."""

_SEEKABLE = ("mov", "matroska")
"""Demuxers with an index: seeks land on a keyframe *decoded* at or before the target. Elsewhere frames are counted."""


class ClipFilesConfig(StrictModel):
    """How clip files are made."""

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


@dataclass(frozen=True)
class Span:
    """The frames [start_frame, end_frame) of a source, shown from `start_ns` until `end_ns`."""

    start_frame: int
    end_frame: int
    start_ns: int
    end_ns: int

    @property
    def frames(self) -> int:
        """How many they are."""
        return self.end_frame - self.start_frame

    @property
    def lead_ns(self) -> int:
        """How much before the span to seek.

        In an open GOP its first frame may be shown before, but depend on frames before, the keyframe decoded last.
        """
        return max(SECOND, REORDERED_FRAMES * (self.end_ns - self.start_ns) // self.frames)


_EVEN = "crop=trunc(iw/2)*2:trunc(ih/2)*2"
_SQUARE = r"scale=trunc(iw*max(sar\,1)/2)*2:trunc(ih/min(sar\,1)/2)*2:flags=bicubic,setsar=1"

_FILE: dict[str, Any] = {
    "acodec": "aac",
    "threads": 1,  # threads change x264's output, and workers are parallel already
    "map_metadata": -1,
    "map_chapters": -1,
    "fflags": "+bitexact",
    "flags": "+bitexact",
    "movflags": "+faststart",
    "f": "mp4",
}
_CONFINED: dict[str, Any] = {"protocol_whitelist": "file", "format_whitelist": DEMUXERS, "threads": 1}


def is_seekable(container: str) -> bool:
    """Whether a demuxer finds a frame by its time without reading what is before it."""
    return container.startswith(_SEEKABLE)


def encode_clip(
    source: str, target: str, container: str, span: Span, config: ClipFilesConfig, limits: DecodingLimits
) -> None:
    """Encode every frame of `span` into a new MP4 file `target`.

    Args:
        container: the source's demuxer name, which decides how the first frame is found.

    Raises:
        MediaError: ffmpeg failed; with its last words.
    """
    import ffmpeg

    # Frames are counted by a filter: ffmpeg's own limit ends the sound with the last frame that is encoded, too early.
    # Odd sides lose their last line or column: 4:2:0 chroma has none for it. Pixels become square, by stretching:
    # many readers do not know of other ones.
    if is_seekable(container):
        chosen = f"trim=start={_seconds(span.lead_ns)},trim=end_frame={span.frames}"
    else:
        chosen = f"trim=start_frame={span.start_frame}:end_frame={span.end_frame}"
    reading, sound = _position(container, span, config)
    encoding: dict[str, Any] = {
        "vcodec": "libx264",
        "crf": config.crf,
        "preset": config.preset,
        "pix_fmt": "yuv420p",
        "fps_mode": "passthrough",
        "enc_time_base": "1:90000",  # else frame times are rounded to multiples of an average frame
        "video_track_timescale": 90_000,
        "vf": f"{chosen},setpts=PTS-STARTPTS,{_EVEN},{_SQUARE}",
    }
    opened = ffmpeg.input(f"file:{source}", **_CONFINED, **reading)
    _write([opened["V:0"], opened["a:0?"]], target, _FILE | encoding | sound, limits)


def encode_sound(
    source: str, target: str, container: str, span: Span, config: ClipFilesConfig, limits: DecodingLimits
) -> None:
    """Write the sound of `span` to a new MP4 file `target`, its times from the span's first frame.

    Raises:
        MediaError: ffmpeg failed; with its last words.
    """
    import ffmpeg

    reading, sound = _position(container, span, config)
    opened = ffmpeg.input(f"file:{source}", **_CONFINED, **reading)
    _write([opened["a:0"]], target, _FILE | sound, limits)


def _position(container: str, span: Span, config: ClipFilesConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options that make ffmpeg read the source around the span, and those that cut its sound out of that."""
    if is_seekable(container):
        start_ns = span.start_ns - _MARGIN_NS - span.lead_ns
        reading = {"seek_timestamp": 1, "ss": _seconds(start_ns), "t": _seconds(span.end_ns - start_ns)}
        options, begin = {}, span.start_ns - start_ns
    else:
        reading, options, begin = {}, {"copyts": None}, span.start_ns  # filters see the file's own times
    end = begin + span.end_ns - span.start_ns
    cut = f"atrim=start={_seconds(begin)}:end={_seconds(end)},asetpts=PTS-{_seconds(begin)}/TB"
    return reading, options | {"af": cut, "b:a": f"{config.audio_kbits}k"}


def _seconds(time_ns: int) -> str:
    """A time as ffmpeg reads it: it knows microseconds, and no exponents."""
    return f"{time_ns / SECOND:.6f}"


def _write(streams: list[Any], target: str, options: dict[str, Any], limits: DecodingLimits) -> None:
    import ffmpeg

    command = ffmpeg.output(*streams, f"file:{target}", **options)
    command = command.global_args("-hide_banner", "-nostdin", "-loglevel", "error").overwrite_output()
    run_ffmpeg(ffmpeg.compile(command, cmd=ffmpeg_executable()), limits)
