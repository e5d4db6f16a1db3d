"""The ffmpeg program, and what it must be able to encode and decode."""

import re
import shutil
import subprocess

from curate_assets.doctor.check import Check, Deployment, Finding, failed, ok, warning
from gpu_kernels.ffmpeg import ffmpeg_executable

_ENCODERS = ("libx264", "aac")
_DECODERS = {"H.264": ("h264",), "HEVC": ("hevc",), "VP9": ("vp9", "libvpx-vp9"), "AV1": ("libdav1d", "libaom-av1")}
_INSTALL = "install an ffmpeg with libx264, set CURATE_FFMPEG to its path, or `pip install imageio-ffmpeg`"


def ffmpeg(_: Deployment) -> Finding:
    """Which ffmpeg clips are cut with. ffprobe is named for people: the project probes with PyAV."""
    program = ffmpeg_executable()
    version = _version(program)
    encoders, decoders = _codecs(program, "-encoders"), _codecs(program, "-decoders")
    if lacking := [name for name in _ENCODERS if name not in encoders]:
        return failed(f"{program} {version} has no encoder {', '.join(lacking)}: no clip can be cut", _INSTALL)
    if lacking := [name for name, any_of in _DECODERS.items() if not decoders.intersection(any_of)]:
        return warning(
            f"{program} {version} has no decoder for {', '.join(lacking)}: clips of such videos cannot be encoded",
            _INSTALL,
        )
    ffprobe = shutil.which("ffprobe")
    beside = f"{ffprobe} {_version(ffprobe)}" if ffprobe else "no ffprobe, which nothing here needs"
    return ok(f"{program} {version}, with {', '.join(_ENCODERS)} and decoders for {', '.join(_DECODERS)}; {beside}")


def _said(program: str, *arguments: str) -> str:
    done = subprocess.run([program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
    done.check_returncode()
    return done.stdout


def _version(program: str) -> str:
    match = re.match(r"ff\w+ version (\S+)", _said(program, "-version"))
    return match[1] if match else "of unknown version"


def _codecs(program: str, kind: str) -> set[str]:
    return {match[1] for match in re.finditer(r"^ [VAS][\w.]{5} (\S+)", _said(program, "-hide_banner", kind), re.M)}


CHECKS = (Check("ffmpeg", ffmpeg, _INSTALL),)
