"""What the readable videos are: codecs, containers, frame rates, sound."""

from collections import Counter
from dataclasses import dataclass

from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.report.library import Library
from curate_resources.declarations.table import Row
from gpu_kernels.shots.splitting import SECOND

_CONTAINERS = {
    "mov,mp4,m4a,3gp,3g2,mj2": "MP4/MOV",
    "matroska,webm": "Matroska/WebM",
    "avi": "AVI",
    "mpegts": "MPEG-TS",
    "mpeg": "MPEG-PS",
    "mpegvideo": "MPEG video",
    "asf": "ASF/WMV",
    "flv": "FLV",
    "ogg": "Ogg",
    "mxf": "MXF",
    "dv": "DV",
    "gif": "GIF",
    "h264": "H.264 stream",
    "hevc": "HEVC stream",
    "mjpeg": "Motion JPEG stream",
}


@dataclass(frozen=True)
class Share:
    """How many sources have a property, and seconds of video in them."""

    value: str
    files: int
    seconds: float


def sources(library: Library) -> dict[str, tuple[Share, ...]] | None:
    """Shares by title, the most frequent first; None without source_videos."""
    if not library.written(SOURCE_VIDEOS):
        return None
    titles = {
        "Codec": lambda video: video["codec"] or "unknown",
        "Container": lambda video: container_name(video["container"]),
        "Frame rate": _rate,
        "Sound": _sound,
    }
    found: dict[str, tuple[Share, ...]] = {}
    for title, value_of in titles.items():
        files: Counter[str] = Counter()
        length: Counter[str] = Counter()
        for video in library.videos.values():
            files[value_of(video)] += 1
            length[value_of(video)] += video["duration_ns"] or 0
        ordered = sorted(files, key=lambda value: (-files[value], value))
        found[title] = tuple(Share(value, files[value], length[value] / SECOND) for value in ordered)
    return found


def _sound(video: Row) -> str:
    codec = video["audio_codec"] or "unknown codec"
    return f"{codec}, not usable" if video["audio_error"] else video["audio_codec"] or "none"


def container_name(demuxer: str | None) -> str:
    """What people call the files that a demuxer of FFmpeg reads, which has all their names: `mov,mp4,...`."""
    return _CONTAINERS.get(demuxer or "", demuxer or "unknown")


def _rate(video: Row) -> str:
    if not video["average_rate"]:
        return "unknown"
    return f"{round(video['average_rate'], 2):g} fps" + (", variable" if video["constant_rate"] is False else "")
