"""The ffmpeg program: the system's, else the one that imageio-ffmpeg ships. It never sees a source."""

import os
import shutil
from functools import cache

from gpu_kernels.errors import NotThere


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
