"""`borders`: bars of widths and colours, constant and blurred frames, split screens and insets, put around footage."""

# pyright: basic

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from proof_overlaid import PER_SECOND, encoded, films, fitted

from gpu_kernels.scores.borders import Box, borders
from proofs.proof import Material, Proof

Pictures = Sequence[np.ndarray]
_COLOURS = {"black": (0, 0, 0), "white": (255, 255, 255), "blue": (30, 60, 160)}
_NEAR = 0.01
"""Of the picture's longer side: how far an edge may be off."""

_OWN = {
    "carphone_pristine": ((176, 144), Box(1, 0, 175, 144)),
    **dict.fromkeys(("crystal", "elf", "frog", "monster", "pig", "rabbit"), ((720, 480), Box(8, 0, 704, 480))),
}
"""Films with borders of their own: their size, and the picture in it. Read off their edges, enlarged: black columns
that a digitiser left, one at the left, or eight at either side."""
_WITHOUT = frozenset(
    "01_dog 02_cups 03_blocks 04_coffee 05_default_juggle bedroom bigbuckbunny bikes bottle-detection car-detection "
    "one-by-one-person-detection".split()
)
"""Films that were looked at likewise, and have none."""


def _own(name: str, film: Pictures) -> Box | None:
    """The picture in a film with borders of its own; None without.

    Raises:
        SystemExit: nobody has looked at this film.
    """
    size = film[0].shape[1::-1]
    if name in _WITHOUT:
        return None
    if name not in _OWN or _OWN[name][0] != size:
        raise SystemExit(f"nobody looked where the picture of {name}, {size[0]}x{size[1]}, is: put it into {__file__}")
    return _OWN[name][1]


def _around(film: Pictures, x: float, y: float, ground: np.ndarray, below_only: bool = False) -> tuple[list, Box]:
    """Film within bars of shares of the width and the height."""
    height, width = film[0].shape[:2]
    left, top = int(width * x), int(height * y)
    box = Box(left, 0 if below_only else top, width - 2 * left, height - (top if below_only else 2 * top))
    framed = []
    for picture in film:
        whole = np.broadcast_to(ground, picture.shape).copy()
        whole[box.y : box.y + box.height, box.x : box.x + box.width] = fitted(picture, box.width, box.height)
        framed.append(whole)
    return framed, box


def _filled(film: Pictures) -> tuple[list, Box]:
    """An upright part of the film before an enlarged, blurred copy of it."""
    height, width = film[0].shape[:2]
    box = Box(width * 3 // 10, 0, width * 4 // 10, height)
    framed = []
    for picture in film:
        large = cv2.resize(picture, None, fx=2, fy=2)[
            height // 2 : height // 2 + height, width // 2 : width // 2 + width
        ]
        whole = cv2.GaussianBlur(large, (0, 0), 12)
        whole[:, box.x : box.x + box.width] = picture[:, box.x : box.x + box.width]
        framed.append(whole)
    return framed, box


def _uprights(film: Pictures) -> list[list[np.ndarray]]:
    """Parts of the film in which edges of its scene run from side to side: its left, its middle and its right."""
    wide, width = film[0].shape[0] * 9 // 16, film[0].shape[1]
    return [[picture[:, left : left + wide] for picture in film] for left in (0, (width - wide) // 2, width - wide)]


def _split(film: Pictures, other: Pictures) -> list[np.ndarray]:
    height, width = film[0].shape[:2]
    quarter, half = width // 4, width // 2
    pairs = ((a, fitted(b, width, height)) for a, b in zip(film, other, strict=False))
    return [np.hstack([a[:, quarter : quarter + half], b[:, quarter : quarter + half]]) for a, b in pairs]


def _inset(film: Pictures, other: Pictures, margin: float) -> list[np.ndarray]:
    height, width = film[0].shape[:2]
    wide, high = int(width * 0.3), int(height * 0.3)
    x, y = width - wide - int(margin * width), height - high - int(margin * height)
    framed = []
    for a, b in zip(film, other, strict=False):
        whole = a.copy()
        whole[y : y + high, x : x + wide] = fitted(b, wide, high)
        framed.append(whole)
    return framed


def _off(found: Box, true: Box) -> int:
    corners = ((box.x, box.y, box.x + box.width, box.y + box.height) for box in (found, true))
    return max(abs(a - b) for a, b in zip(*corners, strict=True))


def prove(material: Material) -> Proof:
    """Every kind around every film; one that has borders of its own is stripped of them first, by hand."""
    proof = Proof(["kind", "films", "found", "edge off by, median", "at most"])
    plain: dict[str, list[np.ndarray]] = {}
    wrongly = 0
    own: dict[int, list[bool]] = {}
    for name, film in films(material.footage).items():
        with proof.timed(len(film) / PER_SECOND):
            found = borders(film)
        box = _own(name, film)
        wrongly += found.layout != "plain"
        if box is None:
            wrongly += found.share > 0
            plain[name] = list(film)
        else:
            own.setdefault(box.x, []).append(found.box == box == borders(encoded(film)).box)
            plain[name] = [each[box.y : box.y + box.height, box.x : box.x + box.width] for each in film]
    names = list(plain)
    others = {name: plain[names[(index + 3) % len(names)]] for index, name in enumerate(names)}
    still = 0
    for film in plain.values():
        found = borders(encoded(film))
        still += found.share > 0 or found.layout != "plain"
    proof.rows.append(["no borders: called one", len(plain), still, "", ""])
    proof.figures |= {"called_wrongly": wrongly + still, "films": len(plain)}
    parts = [part for film in plain.values() for part in _uprights(film)]
    divided = sum(borders(encoded(part)).layout != "plain" for part in parts)
    proof.rows.append(["upright parts: called divided", len(parts), divided, "", ""])
    proof.figures["upright_called_divided"] = divided / len(parts)

    def boxes(kind: str, figure: str | None, make: Callable[[Pictures, Pictures], tuple[list, Box]]) -> None:
        off = []
        for name, film in plain.items():
            framed, true = make(film, others[name])
            off.append(_off(borders(encoded(framed)).box, true) / max(film[0].shape))
        right = [each for each in off if each <= _NEAR]
        shown = [f"{np.median(right):.1%}", f"{max(right):.1%}"] if right else ["", ""]
        proof.rows.append([kind, len(off), len(right), *shown])
        if figure is not None:
            proof.figures[figure] = min(proof.figures.get(figure, 1.0), len(right) / len(off))

    for name, colour in _COLOURS.items():
        ground = np.array(colour, np.uint8)
        for kind, (x, y) in {
            "letterbox 12 %": (0, 0.12),
            "pillarbox 30 %": (0.3, 0),
            "all round 10 %": (0.1, 0.1),
        }.items():
            boxes(f"{kind}, {name}", "bars_found", lambda film, _, x=x, y=y, g=ground: _around(film, x, y, g))
    boxes("letterbox 3 %, black", "bars_found", lambda film, _: _around(film, 0, 0.03, np.zeros(3, np.uint8)))
    boxes("below only, black", "bars_found", lambda film, _: _around(film, 0, 0.1, np.zeros(3, np.uint8), True))
    boxes(
        "a still picture all round",
        None,
        lambda film, other: _around(film, 0.1, 0.1, fitted(other[0], *film[0].shape[1::-1])),
    )
    boxes("a blurred copy at both sides", "blurred_found", lambda film, _: _filled(film))
    for kind, layout, make in (
        ("split screen", "split", _split),
        ("inset", "inset", lambda film, other: _inset(film, other, 0.05)),
        ("inset in the corner", "inset", lambda film, other: _inset(film, other, 0)),
    ):
        found = [borders(encoded(make(film, others[name]))).layout == layout for name, film in plain.items()]
        proof.rows.append([kind, len(found), sum(found), "", ""])
        proof.figures["panes_found"] = min(proof.figures.get("panes_found", 1.0), sum(found) / len(found))
    for columns, right in sorted(own.items(), reverse=True):
        kind = f"its own {columns} black columns at either side" if columns > 1 else "its own black column at the left"
        proof.rows.append([kind, len(right), sum(right), "", ""])
    bars = [each for columns, right in own.items() if columns > 1 for each in right]
    proof.figures["own_found"] = sum(bars) / len(bars) if bars else 1.0
    return proof
