"""Copies of real footage of every kind, made by ffmpeg: what was done to each, and where in it the original is."""

# pyright: basic

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gpu_kernels.media.ffmpeg import ffmpeg_executable

SECONDS = 8.0
"""Of each original that is copied."""
LONG_SIDE = 640
STATIC_FILMS = ("one-by-one-person-detection", "bottle-detection", "car-detection")
"""Films of one static camera each, at least 30 s long."""
_BEFORE, _AFTER = 3.0, 2.0
"""Seconds of the other film around a segment."""
_QUALITY = 28


@dataclass(frozen=True)
class Copy:
    """A copy of an original.

    Attributes:
        spans: where the same picture is: start and end in the original, start and end in the copy, in seconds.
    """

    original: str
    kind: str
    path: Path
    spans: tuple[float, float, float, float]


@dataclass(frozen=True)
class Kind:
    """A way of copying.

    Attributes:
        name: what is done, as tables say it.
        filters: ffmpeg's, from the original to the copy; `{w}` and `{h}` are the original's size.
        crf: of x264.
        picture: draws what is put over the original (or behind it), from its size; None where nothing is.
        at: where the original is put before that, as shares of its width and height; None: it is behind it.
        speed: by how much quicker than the original the copy plays.
        segment: seconds of the original from `start` on that the copy holds, amid another film; None: all of it.
        rate: frames per second of the copy; None: the original's.
        remux: whether the encoded pictures go into another container as they are.
    """

    name: str
    filters: str = "null"
    crf: int = _QUALITY
    picture: Callable[[int, int], Image.Image] | None = None
    at: tuple[float, float] | None = None
    speed: float = 1.0
    segment: float | None = None
    rate: str | None = None
    remux: bool = False


def _logo(width: int, height: int) -> Image.Image:
    picture = Image.new("RGBA", (width, height))
    draw = ImageDraw.Draw(picture)
    side = width // 8
    left, top = width - side - width // 40, width // 40
    draw.ellipse((left, top, left + side, top + side), fill=(220, 30, 40, 255))
    draw.text(
        (left + side / 2, top + side / 2), "TV", fill="white", anchor="mm", font=ImageFont.load_default(side * 0.6)
    )
    return picture


def _subtitle(width: int, height: int) -> Image.Image:
    picture = Image.new("RGBA", (width, height))
    text, font = "This is what somebody says here,\nin two lines as they are drawn", ImageFont.load_default(height / 15)
    ImageDraw.Draw(picture).multiline_text(
        (width / 2, height * 0.88), text, "white", font, "mm", align="center", stroke_width=2, stroke_fill="black"
    )
    return picture


def _desktop(width: int, height: int) -> Image.Image:
    """A screen with windows, icons and a task bar: the film goes before it."""
    chance = np.random.default_rng(5)
    picture = Image.new("RGBA", (width, height), (28, 84, 130, 255))
    draw = ImageDraw.Draw(picture)
    for row in range(6):
        y = height * (0.04 + 0.14 * row)
        draw.rectangle((width * 0.02, y, width * 0.06, y + height * 0.07), fill=tuple(chance.integers(60, 255, 3)))
    draw.rectangle((width * 0.12, height * 0.02, width * 0.96, height * 0.9), fill=(235, 235, 238, 255))
    for line in range(24):
        y = height * (0.05 + 0.035 * line)
        draw.line((width * 0.8, y, width * (0.82 + 0.12 * chance.random()), y), fill=(60, 60, 70, 255), width=2)
    draw.rectangle((0, height * 0.94, width, height), fill=(20, 20, 26, 255))
    return picture


def _broadcast(width: int, height: int) -> Image.Image:
    """What stands beside and below a film in a broadcast: a column of text, and a line of it."""
    picture = Image.new("RGBA", (width, height), (38, 18, 60, 255))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(height / 18)
    for line, text in enumerate(("Live now", "hello there", "who is that?", "so good", "again!", "number one")):
        draw.text((width * 0.78, height * (0.06 + 0.12 * line)), text, "white", font)
    draw.text((width * 0.03, height * 0.84), "What we saw today, and what it means", (250, 220, 90), font)
    return picture


def _player(width: int, height: int) -> Image.Image:
    """What a player draws over a film on the whole screen: a bar with buttons, and the pointer."""
    picture = Image.new("RGBA", (width, height))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, height * 0.95, width, height), fill=(20, 20, 26, 255))
    draw.rectangle((width * 0.1, height * 0.97, width * 0.4, height * 0.98), fill=(230, 40, 40, 255))
    x, y = width * 0.62, height * 0.4
    draw.polygon([(x, y), (x, y + 16), (x + 11, y + 11)], fill="white", outline="black")
    return picture


def _cropped(share: float) -> str:
    return f"crop=trunc(iw*{1 - share}/2)*2:trunc(ih*{1 - share}/2)*2"


def _scaled(percent: int) -> str:
    return f"scale=trunc(iw*{percent / 200})*2:trunc(ih*{percent / 200})*2"


def _window(percent: int, at: tuple[float, float]) -> Kind:
    name = f"screen recording, window of {percent} %"
    return Kind(name, _scaled(percent), picture=_desktop, at=at, rate="20")


_LETTERBOX = "scale=iw:trunc(ih*0.38)*2,pad={w}:{h}:0:(oh-ih)/2"
_PILLARBOX = "scale=trunc(iw*0.38)*2:ih,pad={w}:{h}:(ow-iw)/2:0"

KINDS = (
    Kind("the same file"),
    Kind("in another container", remux=True),
    Kind("crf 23", crf=23),
    Kind("crf 35", crf=35),
    Kind("crf 45", crf=45),
    Kind("half the size", "scale=trunc(iw/4)*2:trunc(ih/4)*2"),
    Kind("a quarter of the size", "scale=trunc(iw/8)*2:trunc(ih/8)*2"),
    Kind("cropped by 5 %", _cropped(0.05)),
    Kind("cropped by 10 %", _cropped(0.1)),
    Kind("cropped by 20 %", _cropped(0.2)),
    Kind("logo", picture=_logo),
    Kind("subtitle", picture=_subtitle),
    Kind("mirrored", "hflip"),
    Kind("brighter by 20 %", "lutyuv=y=val*1.2"),
    Kind("darker by 30 %", "lutyuv=y=val*0.7"),
    Kind("grey", "hue=s=0"),
    Kind("letterboxed", _LETTERBOX),
    Kind("pillarboxed", _PILLARBOX),
    Kind("mirrored and letterboxed", "hflip," + _LETTERBOX),
    Kind("speed 0.9", speed=0.9),
    Kind("speed 1.1", speed=1.1),
    Kind("15 frames per second", rate="15"),
    Kind("50 frames per second", rate="50"),
    Kind("5 s in another film", segment=5.0),
    Kind("5 s in another film, speed 0.9", segment=5.0, speed=0.9),
    Kind("5 s in another film, speed 1.1", segment=5.0, speed=1.1),
    Kind("5 s in another film, mirrored", "hflip", segment=5.0),
    Kind("5 s in another film, letterboxed", _LETTERBOX, segment=5.0),
    Kind("5 s in another film, cropped by 10 %", _cropped(0.1) + ",scale={w}:{h}", segment=5.0),
    Kind("2 s in another film", segment=2.0),
    Kind("2 s in another film, mirrored", "hflip", segment=2.0),
    Kind("screen recording, whole screen", "scale=trunc(iw*0.49)*2:trunc(ih*0.49)*2", picture=_player, rate="20"),
    _window(66, (0.13, 0.1)),
    _window(80, (0.15, 0.05)),
    _window(50, (0.3, 0.25)),
    _window(40, (0.45, 0.15)),
    Kind("beside a column, 75 %", _scaled(75), picture=_broadcast, at=(0, 0)),
)
WINDOWED = KINDS[-5:]
"""Those in which the original lies before something else that stands still."""


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of copies of a video: even, and at most LONG_SIDE long."""
    with av.open(str(path)) as opened:
        stream = opened.streams.video[0]
        scale = min(1.0, LONG_SIDE / max(stream.width, stream.height))
        return round(stream.width * scale / 2) * 2, round(stream.height * scale / 2) * 2


def master(path: Path, folder: Path) -> Path:
    """The beginning of a film, nearly lossless and quick to decode: what all its copies are made from."""
    target = folder / f"{path.stem}.mkv"
    width, height = size_of(path)
    _ffmpeg(["-i", path], f"setpts=PTS-STARTPTS,scale={width}:{height}", 8, target, ["-t", SECONDS])
    return target


def made(kind: Kind, original: Path, other: Path, folder: Path, random: np.random.Generator) -> Copy:
    """Copy a master.

    Args:
        other: the master of the film that a segment is put into.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{original.stem}.mkv"
    width, height = size_of(original)
    seconds = _seconds(original)
    whole = (0.0, seconds, 0.0, seconds / kind.speed)
    if kind.name == KINDS[0].name:
        return Copy(original.stem, kind.name, original, whole)
    if kind.remux:
        target = target.with_suffix(".mp4")
        _run(["-i", original, "-c", "copy"], target)
        return Copy(original.stem, kind.name, target, whole)
    filters = f"setpts=PTS/{kind.speed}," + kind.filters.format(w=width, h=height)
    rate = [] if kind.rate is None else ["-r", kind.rate]
    if kind.segment is not None:
        length = min(kind.segment, seconds)
        start = float(random.uniform(0, seconds - length))
        before = min(_BEFORE, _seconds(other) / 2)
        end = before + length / kind.speed
        around = f"fps=25,scale={width}:{height}:force_original_aspect_ratio=increase,crop={width}:{height},setsar=1"
        graph = (
            f"[0:v]trim={start}:{start + length},setpts=PTS-STARTPTS,{filters},fps=25,setsar=1[a];"
            f"[1:v]{around},split[b][c];[b]trim=0:{before},setpts=PTS-STARTPTS[d];"
            f"[c]trim={before}:{before + _AFTER},setpts=PTS-STARTPTS[e];[d][a][e]concat=n=3"
        )
        _ffmpeg(["-i", original, "-i", other], graph, kind.crf, target, rate)
        return Copy(original.stem, kind.name, target, (start, start + length, before, end))
    inputs: list = ["-i", original]
    if kind.picture is not None:
        drawn = folder / f"{original.stem}.png"
        kind.picture(width, height).save(drawn)
        inputs += ["-i", drawn]
        below, above, at = "[0:v]", "[1:v]", "0:0"
        if kind.at is not None:
            below, above, at = "[1:v]", "[0:v]", f"{int(width * kind.at[0])}:{int(height * kind.at[1])}"
        elif kind.filters != "null":
            kind.picture(*(int(side * 0.49) * 2 for side in (width, height))).save(drawn)
        first = filters if above == "[1:v]" else "null"
        second = filters if above == "[0:v]" else "null"
        loop = "loop=-1:1," if below == "[1:v]" else ""
        graph = f"{below}{loop}{first}[a];{above}{second}[b];[a][b]overlay={at}:shortest={int(bool(loop))}"
        _ffmpeg(inputs, graph, kind.crf, target, rate)
    else:
        _ffmpeg(inputs, filters, kind.crf, target, rate)
    return Copy(original.stem, kind.name, target, whole)


def _seconds(path: Path) -> float:
    with av.open(str(path)) as opened:
        return min(SECONDS, (opened.duration or 0) / 1e6)


def _ffmpeg(inputs: list, graph: str, crf: int, target: Path, options: list) -> None:
    codec = ["-c:v", "libx264", "-preset", "veryfast", "-crf", crf, "-pix_fmt", "yuv420p", "-an", "-threads", "1"]
    _run([*inputs, "-filter_complex", graph, *options, *codec], target)


def _run(arguments: list, target: Path) -> None:
    """Make a file, unless it was made before."""
    if target.exists():
        return
    unfinished = target.with_stem(f"{target.stem}.unfinished")
    command = [ffmpeg_executable(), "-v", "error", "-y", "-nostdin", *map(str, arguments), str(unfinished)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    unfinished.replace(target)
