"""`persistent_graphics`: logos of shapes and opacities, over moving and fixed cameras and over many shots."""

# pyright: basic

from collections.abc import Sequence

import cv2
import numpy as np
from proof_overlaid import PER_SECOND, encoded
from proof_pictures import pictures_per_second

from gpu_kernels.scores.persistent_graphics import PersistentGraphics, persistent_graphics, prepared
from proofs.proof import Material, Proof

Source = tuple[list[np.ndarray], int]
"""Pictures of a source, and where the clip begins in it."""

_MOVING = ("bikes", "bedroom", "elf", "frog", "rabbit", "monster")
"""Films in which most of the picture moves."""
_OF_SHOTS = ("bikes", "bedroom", "bigbuckbunny", "01_dog", "02_cups", "03_blocks", "04_coffee", "05_default_juggle")
"""Films of which sources of several shots are made, fixed cameras among them."""
_FIXED = ("01_dog", "02_cups", "03_blocks", "04_coffee", "car-detection", "one-by-one-person-detection")
_SIZE = (640, 360)
_PICTURES, _SHOT = 20, 8
_NEAR = 0.3
"""Intersection over union, at least, of what counts as found."""
_KINDS = ("thin letters", "bold letters", "a disc", "a box with letters")
_OPACITIES = (0.15, 0.3, 0.6, 1.0)


def _logo(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Its colours, uint8 [36, 84, 3], and its shape, 0 to 1."""
    colours, shape, font = np.zeros((36, 84, 3), np.uint8), np.zeros((36, 84), np.uint8), cv2.FONT_HERSHEY_SIMPLEX
    if kind.endswith("letters") and not kind.startswith("a box"):
        colours[:] = (255, 255, 255) if kind.startswith("thin") else (250, 220, 40)
        cv2.putText(shape, "TV9", (6, 29), font, 0.9, 255, 1 if kind.startswith("thin") else 5, cv2.LINE_AA)
    elif kind == "a disc":
        colours[:] = (200, 20, 30)
        cv2.circle(shape, (42, 18), 16, 255, -1, cv2.LINE_AA)
        cv2.putText(colours, "9", (34, 27), font, 0.8, (255, 255, 255), 2, cv2.LINE_AA)
    else:
        colours[:], shape[:] = (20, 40, 120), 255
        cv2.putText(colours, "NEWS", (6, 25), font, 0.72, (255, 255, 255), 2, cv2.LINE_AA)
    return colours, shape / 255


def _with_logo(pictures: Sequence[np.ndarray], kind: str, opacity: float, corner: int) -> tuple[list, tuple]:
    """Pictures with a logo in a corner, and its box: left, top, right and bottom as shares of the picture."""
    colours, shape = _logo(kind)
    (high, wide), (height, width) = shape.shape, pictures[0].shape[:2]
    top, left = (22, height - high - 22)[corner // 2], (32, width - wide - 32)[corner % 2]
    mix = (opacity * shape)[..., None]
    marked = []
    for picture in pictures:
        whole = picture.copy()
        place = whole[top : top + high, left : left + wide]
        place[:] = np.clip(place * (1 - mix) + colours * mix, 0, 255).astype(np.uint8)
        marked.append(whole)
    rows, columns = np.flatnonzero((shape > 0.1).any(1)), np.flatnonzero((shape > 0.1).any(0))
    box = left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1
    return marked, tuple(side / (width, height)[number % 2] for number, side in enumerate(box))


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    wide, high = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
    common = max(0.0, wide) * max(0.0, high)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return common / (sum(areas) - common)


def prove(material: Material) -> Proof:
    """Every kind at every opacity over moving films and over shots of films, and what is found without any."""
    proof = Proof(["graphic", "sources", "found", "undecidable", "overlap of boxes", "opacity as found", "other finds"])
    drawn = np.random.default_rng(material.seed)
    films = {}
    for path in material.footage:
        if path.stem in {*_MOVING, *_OF_SHOTS, *_FIXED}:
            pictures = pictures_per_second(path, _PICTURES, PER_SECOND)
            films[path.stem] = [cv2.resize(picture, _SIZE, interpolation=cv2.INTER_AREA) for picture in pictures]
    moving = [(films[name], 0) for name in _MOVING if name in films]
    of_shots, fixed = [], [(films[name], 0) for name in _FIXED if name in films]
    names = [name for name in _OF_SHOTS if name in films]
    for _ in range(4):
        chosen = drawn.permutation(names)[:5]
        shots = [picture for name in chosen for picture in films[name][:_SHOT]]
        of_shots.append((shots, len(shots) - len(films[chosen[-1]][:_SHOT])))

    def measured(pictures: Sequence[np.ndarray], start: int) -> tuple[PersistentGraphics, list[tuple]]:
        stored = encoded(pictures)
        with proof.timed((len(pictures) - start) / PER_SECOND):
            small = [prepared(picture) for picture in stored]
            found = persistent_graphics(small[start:], small[:start])
        high, wide = small[0].shape
        sides = [(g.box.x, g.box.y, g.box.x + g.box.width, g.box.y + g.box.height) for g in found.graphics]
        return found, [(a / wide, b / high, c / wide, d / high) for a, b, c, d in sides]

    def row(name: str, sources: Sequence[Source], kind: str, opacity: float) -> tuple[int, int]:
        hits = undecidable = others = 0
        overlaps, opacities = [], []
        for index, (pictures, start) in enumerate(sources):
            marked, true = _with_logo(pictures, kind, opacity, index % 4)
            found, boxes = measured(marked, start)
            undecidable += found.undecidable
            near = [_overlap(box, true) for box in boxes]
            others += sum(each == 0 for each in near)
            if near and max(near) >= _NEAR:
                hits += 1
                overlaps.append(max(near))
                opacities.append(found.graphics[int(np.argmax(near))].opacity)
        shown = [f"{np.median(each):.2f}" if each else "" for each in (overlaps, opacities)]
        proof.rows.append([name, len(sources), hits, undecidable, *shown, others])
        return hits, others

    decided = [*moving, *of_shots]
    recall = {}
    for opacity in _OPACITIES:
        rows = [row(f"{kind}, {opacity:.0%} opaque", decided, kind, opacity) for kind in _KINDS]
        recall[opacity] = sum(hits for hits, _ in rows) / (len(_KINDS) * len(decided))
        right = sum(hits for hits, _ in rows)
        precision = right / max(1, right + sum(others for _, others in rows))
        proof.rows.append(
            [f"**{opacity:.0%} opaque**: precision, recall", "", f"{precision:.2f}, {recall[opacity]:.2f}"]
        )
        proof.figures["precision"] = min(proof.figures.get("precision", 1.0), precision)
    proof.figures |= dict(zip(("recall_15", "recall_30", "recall_60", "recall_100"), recall.values(), strict=True))
    row("letters before a fixed camera, 100% opaque", fixed, "bold letters", 1)
    wrong = 0
    for name, sources in {"moving films": moving, "sources of shots": of_shots, "fixed cameras": fixed}.items():
        seen = [measured(pictures, start) for pictures, start in sources]
        undecidable = sum(found.undecidable for found, _ in seen)
        wrong += sum(bool(boxes) for _, boxes in seen)
        proof.rows.append(
            [f"none: {name}", len(sources), "", undecidable, "", "", sum(len(boxes) for _, boxes in seen)]
        )
    proof.figures["called_wrongly"] = wrong
    return proof
