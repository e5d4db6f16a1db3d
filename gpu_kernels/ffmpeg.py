"""The ffmpeg program: the system's, else the one that imageio-ffmpeg ships; and running it within limits."""

import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Sequence
from functools import cache

from gpu_kernels.sandbox import DecodingLimits, MediaError


@cache
def ffmpeg_executable() -> str:
    """Path of the ffmpeg to run: `CURATE_FFMPEG` if set, else the one on PATH, else imageio-ffmpeg's.

    Raises:
        FileNotFoundError: there is none, with the remedy.
    """
    if chosen := os.environ.get("CURATE_FFMPEG") or shutil.which("ffmpeg"):
        return chosen
    try:
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as missing:
        raise FileNotFoundError(
            "no ffmpeg found: install it, set CURATE_FFMPEG to its path, or `pip install imageio-ffmpeg`"
        ) from missing


def run_ffmpeg(arguments: Sequence[str], limits: DecodingLimits) -> None:
    """Run the command `arguments` to its end, held to `limits`.

    Raises:
        MediaError: it failed; with its last words, or the limit that it reached.
    """
    process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        memory, output = limits.memory_mib << 20, limits.output_mib << 20
        resource.prlimit(process.pid, resource.RLIMIT_AS, (memory, memory))
        resource.prlimit(process.pid, resource.RLIMIT_CPU, (limits.cpu_seconds, limits.cpu_seconds + 5))
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (output, output))
        # It may have to share its CPU with many.
        _, errors = process.communicate(timeout=4 * limits.cpu_seconds + limits.stall_seconds)
    except ProcessLookupError:  # it has ended already
        _, errors = process.communicate()
    except subprocess.TimeoutExpired as error:
        raise MediaError("ffmpeg was at a standstill (limits.cpu_seconds, limits.stall_seconds)") from error
    finally:
        process.kill()
        process.wait()
    if process.returncode == -signal.SIGXCPU:
        raise MediaError(f"ffmpeg took more than {limits.cpu_seconds} CPU seconds (limits.cpu_seconds)")
    if process.returncode != 0:
        last = " | ".join(errors.decode(errors="replace").strip().splitlines()[-4:])
        raise MediaError(f"ffmpeg could not cut the clip (exit {process.returncode}): {last}")
