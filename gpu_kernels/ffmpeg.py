"""The ffmpeg program: the system's, else the one that imageio-ffmpeg ships; and running it within limits."""

import os
import re
import resource
import shutil
import signal
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import IO

from gpu_kernels.errors import NotThere
from gpu_kernels.sandbox import DecodingLimits, MediaError

_ADDRESS = re.compile(r" @ 0x[0-9a-f]+")


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
        raise NotThere(
            "no ffmpeg found: install it, set CURATE_FFMPEG to its path, or `pip install imageio-ffmpeg`"
        ) from missing


def run_ffmpeg(arguments: Sequence[str], limits: DecodingLimits) -> None:
    """Run the command `arguments` to its end, held to `limits`.

    Raises:
        MediaError: it failed; with its last words, or the limit that it reached.
    """
    process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = _LastWords(process.stderr)
    try:
        memory, output = limits.memory_mib << 20, limits.output_mib << 20
        with suppress(ProcessLookupError):  # when it has ended already
            resource.prlimit(process.pid, resource.RLIMIT_AS, (memory, memory))
            resource.prlimit(process.pid, resource.RLIMIT_CPU, (limits.cpu_seconds, limits.cpu_seconds + 5))
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (output, output))
        # It may have to share its CPU with many.
        process.wait(timeout=4 * limits.cpu_seconds + limits.stall_seconds)
    except subprocess.TimeoutExpired as error:
        raise MediaError("ffmpeg was at a standstill (limits.cpu_seconds, limits.stall_seconds)") from error
    finally:
        process.kill()
        process.wait()
    if process.returncode == -signal.SIGXCPU:
        raise MediaError(f"ffmpeg took more than {limits.cpu_seconds} CPU seconds (limits.cpu_seconds)")
    if process.returncode != 0:
        raise MediaError(f"ffmpeg could not cut the clip (exit {process.returncode}): {said}")


class _LastWords:
    """The end of what a process says, which may be without end; without what differs from run to run."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._tail = b""
        self._reader = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._reader.start()

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            while block := stream.read(4096):
                self._tail = (self._tail + block)[-4096:]

    def __str__(self) -> str:
        self._reader.join()
        lines = _ADDRESS.sub("", self._tail.decode(errors="replace")).strip().splitlines()
        return " | ".join(lines[-4:])
