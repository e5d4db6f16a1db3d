"""A small library of videos with known truth, made out of real footage, to try the platform on."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from curate_cli.demo_encoding import make
from curate_cli.demo_videos import DEMO_VIDEOS, DemoVideo


@dataclass(frozen=True)
class DemoTruth:
    """A library that has been made, and what is true of each of its files."""

    folder: Path
    videos: tuple[DemoVideo, ...]


def make_library(folder: Path) -> DemoTruth:
    """Make the files of `DEMO_VIDEOS` under `folder`, and say what is true of them.

    A file that exists already is kept, and each appears whole or not at all, so that an interrupted call can be
    repeated. The bytes are the same each time that the same ffmpeg makes them.

    Raises:
        FileNotFoundError: no ffmpeg, or no footage, with the remedy.
        RuntimeError: ffmpeg failed: which file, and its last lines.
    """
    for video in DEMO_VIDEOS:
        target = folder / video.path
        if target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".making-", dir=folder) as workplace:
            part = Path(workplace, "part")
            make(video, folder, part)
            os.replace(part, target)
    return DemoTruth(folder, DEMO_VIDEOS)
