"""Films made of real footage with every kind of transition, and with what looks like one; where each is, is known."""

# pyright: basic

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np

WIDE = (216, 384)
"""Height and width of the pictures that films are made from: a view is a window of half to three quarters of one."""
THUMBNAIL = (27, 48)
MOST_FRAMES = 250
PACKAGED_CUTS = {"bikes": (30, 76, 137, 187, 242)}
"""First frames of shots, by eye, of packaged footage that is not a single shot."""

TRANSITIONS = ("cut", "cut_same_film", "dissolve", "fade", "cut_in_motion", "insert")
TRAPS = ("flash", "whip_pan", "fast_motion", "occlusion", "shake", "light")


@dataclass(frozen=True)
class Event:
    """Something that happens in the frames [start, end): of a cut, the frames on either side of it."""

    kind: str
    start: int
    end: int

    @property
    def is_transition(self) -> bool:
        return self.kind in TRANSITIONS


def shots_of(path: Path) -> list[np.ndarray]:
    """Single shots of a video, each uint8 [n, *WIDE, 3], of 40 frames at least."""
    with av.open(str(path)) as source:
        frames = [
            cv2.resize(frame.to_ndarray(format="rgb24"), WIDE[::-1], interpolation=cv2.INTER_AREA)
            for _, frame in zip(range(MOST_FRAMES), source.decode(video=0), strict=False)
        ]
    cuts = [0, *(cut for cut in PACKAGED_CUTS.get(path.stem, ()) if cut < len(frames)), len(frames)]
    return [np.stack(frames[start:end]) for start, end in pairwise(cuts) if end - start >= 40]


class Filmed:
    """A view of a shot: the thumbnails of a window of its pictures, from a frame on, back and forth."""

    def __init__(self, shot: np.ndarray, random: np.random.Generator) -> None:
        self._shot, self._random = shot, random
        self._share = random.uniform(0.5, 0.75)
        self._place = random.uniform(0, 1, 2)
        self._at = int(random.integers(0, max(1, len(shot) // 2)))
        self._end = len(shot)

    def _picture(self, at: int) -> np.ndarray:
        turn = at % (2 * self._end - 2)
        return self._shot[turn if turn < self._end else 2 * self._end - 2 - turn]

    def _thumbnail(self, picture: np.ndarray, place: np.ndarray) -> np.ndarray:
        size = [round(side * self._share) for side in WIDE]
        top, left = (
            round((whole - part) * float(np.clip(where, 0, 1)))
            for whole, part, where in zip(WIDE, size, place, strict=True)
        )
        window = picture[top : top + size[0], left : left + size[1]]
        return cv2.resize(window, THUMBNAIL[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)

    def take(self, count: int, speed: int = 1) -> np.ndarray:
        """The next frames, float32 [count, 27, 48, 3]."""
        frames = [self._thumbnail(self._picture(self._at + speed * i), self._place) for i in range(count)]
        self._at += speed * count
        return np.stack(frames)

    def whipped(self, count: int) -> np.ndarray:
        """The camera turns to another place within `count` frames, with the blur of that."""
        aim = np.array([self._place[0], 1.0 if self._place[1] < 0.5 else 0.0])
        ways = (1 - np.cos(np.linspace(0, np.pi, count + 1))) / 2
        frames = []
        for before, after in pairwise(ways):
            seen = [
                self._thumbnail(self._picture(self._at), self._place + (aim - self._place) * way)
                for way in np.linspace(before, after, 6)
            ]
            frames.append(np.mean(seen, axis=0))
            self._at += 1
        self._place = aim
        return np.stack(frames)

    def shaken(self, count: int) -> np.ndarray:
        frames = []
        for _ in range(count):
            frames.append(self._thumbnail(self._picture(self._at), self._place + self._random.normal(0, 0.12, 2)))
            self._at += 1
        return np.stack(frames)


def made_film(shots: Sequence[np.ndarray], seed: int, events: int = 40) -> tuple[np.ndarray, list[Event]]:
    """A film of views of shots.

    Returns:
        uint8 [n, 27, 48, 3], and what happens in it, in order.
    """
    random = np.random.default_rng(seed)
    pieces: list[np.ndarray] = []
    found: list[Event] = []
    total = 0
    which = int(random.integers(len(shots)))
    view = Filmed(shots[which], random)

    def add(frames: np.ndarray) -> None:
        nonlocal total
        pieces.append(frames)
        total += len(frames)

    add(view.take(40))
    kinds = [kind for _ in range(-(-events // len(TRANSITIONS + TRAPS))) for kind in TRANSITIONS + TRAPS]
    for kind in random.permutation(kinds)[:events].tolist():
        start = total
        if kind == "insert":  # another shot for a moment, and back to the one before
            length = int(random.integers(10, 24))
            add(Filmed(shots[int((which + random.integers(1, len(shots))) % len(shots))], random).take(length))
            found += [Event(kind, start - 1, start + 1), Event(kind, total - 1, total + 1)]
        elif kind in TRANSITIONS:
            before, previous = view, which
            if kind != "cut_same_film" and len(shots) > 1:
                which = int((which + random.integers(1, len(shots))) % len(shots))
            view = Filmed(shots[which], random)
            if kind == "cut_same_film":
                # Another part of the picture, or it would be no other shot.
                view._place = (before._place + 0.5) % 1.0 if which == previous else view._place
            if kind == "cut_in_motion":
                add(before.take(8, speed=5))
                start = total
                add(view.take(8, speed=5))
                found.append(Event(kind, start - 1, start + 1))
            elif kind in ("dissolve", "fade"):
                length = int(random.integers(10, 80 if kind == "dissolve" else 50))
                old, new = before.take(length), view.take(length)
                share = np.linspace(0, 1, length + 2)[1:-1, None, None, None].astype(np.float32)
                if kind == "dissolve":
                    add(old * (1 - share) + new * share)
                else:
                    colour = np.float32(random.choice([0, 0, 255]))
                    out, back = np.clip(1 - 2 * share, 0, 1), np.clip(2 * share - 1, 0, 1)
                    add(old * out + new * back + colour * (1 - out - back))
                found.append(Event(kind, start, total))
            else:
                found.append(Event(kind, start - 1, start + 1))
        else:
            add(_trap(kind, view, shots, which, random))
            found.append(Event(kind, start - 1, total + 1))
        add(view.take(int(random.integers(26, 46))))
    return np.clip(np.round(np.concatenate(pieces)), 0, 255).astype(np.uint8), found


def _trap(kind: str, view: Filmed, shots: Sequence[np.ndarray], which: int, random: np.random.Generator) -> np.ndarray:
    traps: dict[str, Callable[[], np.ndarray]] = {
        "flash": lambda: _flash(view, random),
        "whip_pan": lambda: view.whipped(int(random.integers(4, 10))),
        "fast_motion": lambda: view.take(int(random.integers(8, 20)), speed=int(random.integers(6, 12))),
        "occlusion": lambda: _occlusion(view, shots[(which + 1) % len(shots)], random),
        "shake": lambda: view.shaken(int(random.integers(8, 16))),
        "light": lambda: _light(view, random),
    }
    return traps[kind]()


def _flash(view: Filmed, random: np.random.Generator) -> np.ndarray:
    """A flash of one to three frames, which may die away."""
    frames = view.take(int(random.integers(1, 6)))
    strength = random.uniform(0.6, 1) * random.uniform(0.4, 1) ** np.arange(len(frames))
    return frames + (255 - frames) * strength[:, None, None, None].astype(np.float32)


def _light(view: Filmed, random: np.random.Generator) -> np.ndarray:
    """A light goes off, and on again after a while."""
    return view.take(int(random.integers(6, 30))) * np.float32(random.uniform(0.25, 0.6))


def _occlusion(view: Filmed, other: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Something as wide as most of the picture goes by."""
    count = int(random.integers(6, 14))
    frames = view.take(count)
    texture = cv2.resize(other[len(other) // 2], THUMBNAIL[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
    wide = int(THUMBNAIL[1] * random.uniform(0.6, 1.0))
    for index, left in enumerate(np.linspace(-wide, THUMBNAIL[1], count + 2)[1:-1].round().astype(int)):
        start, end = max(0, left), min(THUMBNAIL[1], left + wide)
        frames[index, :, start:end] = texture[:, start - left : end - left]
    return frames
