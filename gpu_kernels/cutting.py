"""Cutting a clip's file out of its source: frame-exact, H.264 in MP4, sound kept; and reading it back."""

import resource
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from gpu_kernels.containers import DEMUXERS
from gpu_kernels.ffmpeg import ffmpeg_executable
from gpu_kernels.sandbox import DecodingLimits, MediaError, Nursery, Send
from gpu_kernels.strict import StrictModel

SECOND = 1_000_000_000

_MARGIN_NS = 1_000_000
"""What is kept begins this much before the first frame, because ffmpeg rounds times to microseconds."""

_REORDERED_FRAMES = 16
"""The most frames that H.264 and HEVC let a keyframe be decoded ahead of those that are shown before it."""

_SEEKABLE = ("mov", "matroska")
"""Demuxers with an index: seeks land on a keyframe *decoded* at or before the target. Elsewhere frames are counted."""


class ClipFilesConfig(StrictModel):
    """How clip files are encoded."""

    crf: int = Field(default=20, ge=0, le=51)
    """x264's constant rate factor: lower is better and larger."""
    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower"] = "veryfast"
    """x264's preset: slower is smaller."""
    audio_kbits: int = Field(default=128, ge=16, le=512)
    """AAC bits per second, in thousands."""
    thumbnail_side: int = Field(default=160, ge=16, le=640)
    """Long side of the thumbnail that is kept with the row, in pixels."""


_EVEN = "crop=trunc(iw/2)*2:trunc(ih/2)*2"
_SQUARE = r"scale=trunc(iw*max(sar\,1)/2)*2:trunc(ih/min(sar\,1)/2)*2:flags=bicubic,setsar=1"


@dataclass(frozen=True)
class ClipFacts:
    """What reading a clip file back shows; `thumbnail` is a JPEG of its middle frame."""

    frames: int
    width: int
    height: int
    thumbnail: bytes


def cut_clip(
    source: str,
    target: str,
    container: str,
    span: tuple[int, int],
    span_ns: tuple[int, int],
    config: ClipFilesConfig,
    limits: DecodingLimits,
) -> None:
    """Encode the frames [start, end) of `source` into a new MP4 file `target`.

    Args:
        container: the source's demuxer name, which decides how the first frame is found.
        span: first frame and the one after the last.
        span_ns: presentation time of the first frame, and where the last frame ends.

    Raises:
        MediaError: ffmpeg failed; with its last words.
    """
    import ffmpeg

    reading: dict[str, Any] = {"protocol_whitelist": "file", "format_whitelist": DEMUXERS, "threads": 1}
    encoding: dict[str, Any] = {
        "vcodec": "libx264",
        "crf": config.crf,
        "preset": config.preset,
        "pix_fmt": "yuv420p",
        "acodec": "aac",
        "b:a": f"{config.audio_kbits}k",
        "threads": 1,  # threads change x264's output, and workers are parallel already
        "fps_mode": "passthrough",
        "enc_time_base": "1:90000",  # else frame times are rounded to multiples of an average frame
        "video_track_timescale": 90_000,
        "map_metadata": -1,
        "map_chapters": -1,
        "fflags": "+bitexact",
        "flags": "+bitexact",
        "movflags": "+faststart",
        "f": "mp4",
    }
    # Frames are counted by a filter: ffmpeg's own limit ends the sound with the last frame that is encoded, too early.
    # Odd sides lose their last line or column: 4:2:0 chroma has none for it. Pixels become square, by stretching:
    # many readers do not know of other ones.
    count, length_ns = span[1] - span[0], span_ns[1] - span_ns[0]
    if container.startswith(_SEEKABLE):
        # In an open GOP the first frame may be shown before, but depend on frames before, the keyframe decoded last.
        lead_ns = max(SECOND, _REORDERED_FRAMES * length_ns // count)
        start_ns = span_ns[0] - _MARGIN_NS - lead_ns
        reading |= {"seek_timestamp": 1, "ss": _seconds(start_ns), "t": _seconds(span_ns[1] - start_ns)}
        chosen = f"trim=start={_seconds(lead_ns)},trim=end_frame={count}"
        sound = span_ns[0] - start_ns
    else:
        encoding |= {"copyts": None}  # filters see the file's own times
        chosen = f"trim=start_frame={span[0]}:end_frame={span[1]}"
        sound = span_ns[0]
    encoding |= {
        "vf": f"{chosen},setpts=PTS-STARTPTS,{_EVEN},{_SQUARE}",
        "af": f"atrim=start={_seconds(sound)}:end={_seconds(sound + length_ns)},asetpts=PTS-{_seconds(sound)}/TB",
    }
    opened = ffmpeg.input(f"file:{source}", **reading)
    command = ffmpeg.output(opened["V:0"], opened["a:0?"], f"file:{target}", **encoding)
    command = command.global_args("-hide_banner", "-nostdin", "-loglevel", "error").overwrite_output()
    _run(ffmpeg.compile(command, cmd=ffmpeg_executable()), limits)


def _seconds(time_ns: int) -> str:
    """A time as ffmpeg reads it: it knows microseconds, and no exponents."""
    return f"{time_ns / SECOND:.6f}"


def _run(arguments: Sequence[str], limits: DecodingLimits) -> None:
    process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        memory, output = limits.memory_mib << 20, limits.output_mib << 20
        resource.prlimit(process.pid, resource.RLIMIT_AS, (memory, memory))
        resource.prlimit(process.pid, resource.RLIMIT_CPU, (limits.cpu_seconds, limits.cpu_seconds + 5))
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (output, output))
        _, errors = process.communicate(timeout=limits.cpu_seconds)
    except ProcessLookupError:  # it has ended already
        _, errors = process.communicate()
    except subprocess.TimeoutExpired as error:
        raise MediaError(f"ffmpeg took more than {limits.cpu_seconds} s (limits.cpu_seconds)") from error
    finally:
        process.kill()
        process.wait()
    if process.returncode == -signal.SIGXCPU:
        raise MediaError(f"ffmpeg took more than {limits.cpu_seconds} CPU seconds (limits.cpu_seconds)")
    if process.returncode != 0:
        last = " | ".join(errors.decode(errors="replace").strip().splitlines()[-4:])
        raise MediaError(f"ffmpeg could not cut the clip (exit {process.returncode}): {last}")


def read_back(nursery: Nursery, path: str, config: ClipFilesConfig) -> ClipFacts:
    """Open a clip as a trainer would, through decord, and decode its first, middle and last frame.

    Raises:
        MediaError: the file cannot be decoded.
    """
    messages = list(nursery.run("gpu_kernels.cutting:inspect", path=path, side=config.thumbnail_side))
    header, buffers = messages[0]
    return ClipFacts(header["frames"], header["width"], header["height"], bytes(buffers[0]))


def inspect(send: Send, limits: DecodingLimits, path: str, side: int) -> None:
    """Sandboxed operation: one message with the facts of a clip and its thumbnail."""
    import cv2
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    reader = decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1)
    frames = len(reader)
    if frames == 0:
        raise MediaError("the clip has no frames")
    first, middle, last = (reader[index].asnumpy() for index in (0, frames // 2, frames - 1))
    if not first.shape == middle.shape == last.shape:
        raise MediaError("the clip's frames differ in size")
    height, width = first.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(cv2.cvtColor(middle, cv2.COLOR_RGB2BGR), size, interpolation=cv2.INTER_AREA)
    encoded, jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])
    if not encoded:
        raise MediaError("the clip's thumbnail could not be encoded")
    send({"kind": "clip", "frames": frames, "width": width, "height": height}, jpeg.tobytes())
