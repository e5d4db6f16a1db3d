"""How much memory a whole run of ours takes, against the number of videos and against their length.

    python benchmarks/memory.py SOURCE FOLDER [--counts 1,10,100] [--lengths 120,1800,10800] [--engine auto]

Runs `curate add` and `curate materialize`, every clip cut, on 1, 10 and 100 videos of ten seconds, and on one video of
2 minutes, 30 minutes and 3 hours. The videos are made once, in FOLDER: two minutes of SOURCE at 24 frames per second,
over and over without encoding again. The peak is that of the proportional memory of all processes together. Prints
Markdown; a run that is in FOLDER/memory.jsonl is not repeated.
"""

# pyright: basic

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from floors import write_figures
from meter import measure

OURS = Path(__file__).resolve().parent / "peers" / "ours.py"

PIECE_SECONDS, RATE, KEYFRAMES = 120, 24, 48


def piece(source: Path, folder: Path, height: int) -> Path:
    """Two minutes of the source, looped where it is shorter, with a keyframe every two seconds."""
    made = folder / f"piece_{height}p.mp4"
    if not made.exists():
        looped = ["-stream_loop", "-1", "-i", str(source), "-t", str(PIECE_SECONDS), "-an"]
        picture = ["-vf", f"scale=-2:{height},fps={RATE}", "-pix_fmt", "yuv420p"]
        encoding = ["-c:v", "libx264", "-preset", "ultrafast", "-g", str(KEYFRAMES), "-sc_threshold", "0"]
        _ffmpeg([*looped, *picture, *encoding], made)
    return made


def videos(piece: Path, folder: Path, count: int, seconds: int) -> Path:
    """A folder of `count` videos of so many seconds; each begins at another keyframe, so that no two are alike."""
    target = folder / f"{piece.stem}_{count}x{seconds}s"
    target.mkdir(exist_ok=True)
    for index in range(count):
        made = target / f"{index:03d}.mp4"
        if not made.exists():
            start = index * KEYFRAMES / RATE % PIECE_SECONDS
            looped = ["-stream_loop", "-1", "-ss", str(start), "-i", str(piece), "-t", str(seconds), "-c", "copy"]
            _ffmpeg([*looped, "-metadata", f"title={index}"], made)
    return target


def _ffmpeg(arguments: list[str], target: Path) -> None:
    from gpu_kernels.media.ffmpeg import ffmpeg_executable

    making = target.with_suffix(".making.mp4")
    subprocess.run([ffmpeg_executable(), "-v", "error", "-y", *arguments, str(making)], check=True)
    making.rename(target)


def measured(footage: Path, engine: str, timeout: float) -> dict[str, Any]:
    """One run in a fresh root."""
    with tempfile.TemporaryDirectory(prefix="run", ignore_cleanup_errors=True) as scratch:
        command = [sys.executable, str(OURS), str(footage), str(Path(scratch) / "root")]
        variables = {**os.environ, "RAY_ADDRESS": "local", "RAY_TMPDIR": scratch, "OMP_NUM_THREADS": "1"}
        arguments = ["--every-clip", "--engine", engine]
        log = footage.with_suffix(".log")
        return asdict(measure([*command, *arguments], log, environment=variables, timeout=timeout))


def main() -> None:
    """Measure what is missing, then print."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what is measured ends with this
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="a real video")
    parser.add_argument("folder", type=Path, help="takes the videos, the logs and the results")
    parser.add_argument("--counts", default="1,10,100", help="numbers of videos, separated by commas")
    parser.add_argument("--count-seconds", type=int, default=10, help="length of each of those")
    parser.add_argument("--lengths", default="120,1800,10800", help="seconds, separated by commas")
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--engine", choices=("auto", "ray", "in_process"), default="auto")
    parser.add_argument("--timeout", type=float, default=10_800, help="seconds that one run may take")
    parser.add_argument("--json", type=Path, help="write the figures to this file: benchmarks/floors.py")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    results = options.folder / "memory.jsonl"
    results.touch()
    cases = [(int(count), options.count_seconds) for count in options.counts.split(",") if count]
    cases += [(1, int(seconds)) for seconds in options.lengths.split(",") if seconds]
    print(f"| {options.height}p videos | of seconds | engine | peak MiB | CPU-s |\n|---:|---:|---|---:|---:|")
    peaks: dict[tuple[int, int], float] = {}
    for count, seconds in cases:
        footage = videos(piece(options.source, options.folder, options.height), options.folder, count, seconds)
        case = {"footage": footage.name, "engine": options.engine}
        stored = map(json.loads, results.read_text().splitlines())
        row = next((row for row in stored if case.items() <= row.items()), None)
        if row is None:
            row = {**case, **measured(footage, options.engine, options.timeout)}
            with results.open("a") as file:
                file.write(json.dumps(row) + "\n")
        if row["exit_code"] == 0:
            peaks[count, seconds] = row["peak_mib"]
        shown = row["peak_mib"] if row["exit_code"] == 0 else f"{row['peak_mib']} (not finished)"
        print(f"| {count} | {seconds} | {options.engine} | {shown} | {row['cpu_s']:.0f} |", flush=True)
    figures: dict[str, float] = {"runs_not_finished": len(cases) - len(peaks)}
    if by_count := sorted(case for case in peaks if case[1] == options.count_seconds):
        figures["peak_of_most_videos_per_least"] = peaks[by_count[-1]] / peaks[by_count[0]]
    if by_length := sorted((case for case in peaks if case[1] != options.count_seconds), key=lambda case: case[1]):
        figures["peak_of_longest_per_shortest"] = peaks[by_length[-1]] / peaks[by_length[0]]
    write_figures(options.json, __file__, figures)


if __name__ == "__main__":
    main()
