"""`stillness`: films that are frozen, repeated, faded, lit up or emptied for a known time, and what is said of them."""

# pyright: basic

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gpu_kernels.sandbox import DecodingLimits, Nursery
from gpu_kernels.scan.scan import ScanChunk, read_scan
from gpu_kernels.scores.stillness import ClipFrames, Stillness, StillnessConfig, stillness
from gpu_kernels.scores.thumbnails import thumbnail_signals
from proofs.films import encoded, film
from proofs.proof import Material, Proof, precision_recall

RATE, FRAMES = 25, 125
X264 = {f"x264 crf {crf}": ["-c:v", "libx264", "-preset", "veryfast", "-crf", str(crf)] for crf in (18, 23, 35)}
CODECS = X264 | {
    "x265": ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:pools=none"],
    "vp9": ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-crf", "32", "-b:v", "0"],
    "mpeg4": ["-c:v", "mpeg4", "-q:v", "4"],
}
USUAL = CODECS["x264 crf 23"]


def made(film: np.ndarray, others: list[np.ndarray], draw: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """Kinds, and the film so; what has no name in `TRUTH` is a negative."""
    start = int(draw.integers(20, 60))
    yield "as it is", film
    frozen = film.copy()
    frozen[start : start + 40] = film[start]
    yield "frozen for 1.6 s", frozen
    shown = [film[0], *(each[10] for each in others)]
    shows = np.repeat(np.stack(shown), 30, axis=0)
    yield "slideshow", shows
    dissolved = shows.astype(np.float32)
    for cut in range(30, len(shows), 30):
        steps = np.linspace(0, 1, 10, dtype=np.float32)[:, None, None, None]
        dissolved[cut : cut + 10] = (1 - steps) * shows[cut - 1] + steps * shows[cut]
    yield "slideshow, dissolves", dissolved.astype(np.uint8)
    yield "every fifth repeated", film[np.arange(len(film)) * 4 // 5]
    yield "every second repeated", film[np.arange(len(film)) // 2]
    level = np.ones(len(film))
    level[:20], level[-20:] = np.linspace(0, 1, 20), np.linspace(1, 0, 20)
    yield "faded from and to black", (film * level[:, None, None, None]).astype(np.uint8)
    white = 255 - (255 - film) * level[:, None, None, None]
    yield "faded from and to white", white.astype(np.uint8)
    lit = film.astype(np.int16)
    for at in (start, start + 30):
        lit[at : at + 2] += 90
    yield "lit twice", lit.clip(0, 255).astype(np.uint8)
    black = film.copy()
    black[start : start + 63] = 2
    yield "half black", black
    blue = film.copy()
    blue[start : start + 63] = (20, 30, 180)
    yield "half blue", blue


FOUND = {
    "frozen for 1.6 s": ("frozen", lambda found: found.frozen >= 0.2),
    "slideshow": ("slideshow", lambda found: found.slides >= 2),
    "slideshow, dissolves": ("slideshow", lambda found: found.slides >= 2),
    "every fifth repeated": ("repeated", lambda found: found.repeated >= 0.1),
    "every second repeated": ("repeated", lambda found: found.repeated >= 0.1),
    "faded from and to black": ("fades", lambda found: found.fades == 2),
    "faded from and to white": ("fades", lambda found: found.fades == 2),
    "lit twice": ("flashes", lambda found: found.flashes == 2),
    "half black": ("black", lambda found: found.black >= 0.4),
    "half blue": ("single colour", lambda found: found.single_colour >= 0.4),
}
FIGURES = {
    "frozen": ("frozen_precision", "frozen_recall"),
    "slideshow": ("slideshow_precision", "slideshow_recall"),
    "repeated": ("repeated_precision", "repeated_recall"),
    "fades": ("fades_precision", "fades_recall"),
    "flashes": ("flashes_precision", "flashes_recall"),
    "black": ("black_precision", "black_recall"),
    "single colour": ("single_colour_precision", "single_colour_recall"),
}
ALSO = {"slideshow": ("frozen",), "black": ("frozen", "single colour"), "single colour": ("frozen",)}
"""What is true of a kind as well."""
CALLED = {
    "frozen": lambda found: found.frozen >= 0.2,
    "slideshow": lambda found: found.slides >= 2,
    "repeated": lambda found: found.repeated >= 0.1,
    "fades": lambda found: found.fades > 0,
    "flashes": lambda found: found.flashes > 0,
    "black": lambda found: found.black >= 0.4,
    "single colour": lambda found: found.single_colour >= 0.4,
}


def measured(nursery: Nursery, path: Path, proof: Proof) -> Stillness:
    """Of a whole file, as the scan and the asset measure it."""
    chunks = [chunk for chunk in read_scan(nursery, str(path), None, ()) if isinstance(chunk, ScanChunk)]
    pts_ns = np.concatenate([chunk.pts_ns for chunk in chunks])
    with proof.timed(len(pts_ns) / RATE):
        found = thumbnail_signals(np.concatenate([chunk.thumbnails for chunk in chunks]))
        luma, black = (np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in ("luma", "black"))
        seconds = np.diff(pts_ns, append=pts_ns[-1] + 1_000_000_000 // RATE) / 1e9
        frames = ClipFrames(seconds, luma, black, found.contrast, found.uniform, found.change)
        return stillness(frames, StillnessConfig(enabled=True))


def prove(material: Material) -> Proof:
    """Every kind of every film, and the frozen ones by several encoders."""
    proof = Proof(["kind", "films", *CALLED])
    draw = np.random.default_rng(material.seed)
    films = [film(path, FRAMES, RATE) for path in material.footage]
    films = [each for each in films if len(each) == FRAMES][:12]
    found: dict[str, list[Stillness]] = {}
    with Nursery(DecodingLimits()) as nursery:
        for number, each in enumerate(films):
            others = [films[(number + step) % len(films)] for step in (1, 2, 3)]
            for kind, frames in made(each, others, draw):
                codecs = CODECS if kind in ("as it is", "frozen for 1.6 s") and number % 4 == 0 else {"": USUAL}
                for name, codec in codecs.items():
                    path = encoded(material.scratch / "film.mkv", frames, RATE, codec)
                    label = f"{kind}, by {name}" if name else kind
                    found.setdefault(label, []).append(measured(nursery, path, proof))
    for kind, those in found.items():
        proof.rows.append([kind, len(those), *(sum(map(called, those)) for called in CALLED.values())])
    for name, called in CALLED.items():
        truth, said = {}, {}
        for kind, those in found.items():
            what, right = FOUND.get(kind.split(", by ")[0], ("", called))
            if what != name and name in ALSO.get(what, ()):
                continue
            for i, one in enumerate(those):
                truth[f"{kind} {i}"] = what == name
                said[f"{kind} {i}"] = bool((right if what == name else called)(one))
        precision, recall = precision_recall(said, truth)
        proof.rows.append([f"precision, recall of {name}", "", f"{precision:.3f}, {recall:.3f}"])
        if name in FIGURES:
            proof.figures |= dict(zip(FIGURES[name], (precision, recall), strict=True))
    return proof
