"""Logos and watermarks: what stays in its place while the picture behind it changes.

The edges of a graphic are the same in all pictures, however faint it is: their median over many different pictures
keeps them, and what is behind them averages out. Where the picture itself stays, its own edges do, too, and nothing can
be said.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from gpu_kernels.scores.borders import Box, borders
from gpu_kernels.scores.measurement import CostlyMeasurementConfig

Pixels = NDArray[np.uint8]
Slopes = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Across and down, in grey levels per pixel, [n, height, width] each, or of some pixels."""

_SIDE = 240
"""Short side of the pictures that are compared, in pixels, at most."""

_THUMBNAIL = (32, 18)
_DIFFERENT, _DIFFERENT_SHARE = 6.0, 0.5
"""Different pictures differ by so many grey levels in so much of their thumbnails; before a fixed camera, few do."""
_LEAST_PICTURES = 7
_MARGIN = 3
"""Pixels beside the edge of the picture, which compression leaves unclean."""
_GROUND, _GROUND_STILL, _GROUND_SHARE = 40, 2.5, 0.003
"""Grey level and deviation over time of the black ground that a turned or round picture lies on, at most, and the share
of the frame that a piece of it takes, at least."""
_OUTLINE = 9
"""Width of what lies between such ground and the picture, in pixels."""
_CHANGES, _CHANGING_SHARE = 5.0, 0.5
"""Deviation over time, in grey levels, of what changes, and the share of the picture that must."""
_PATCH = 8
"""Pixels over which that is averaged."""
_EDGE = 1.0
"""Slope of an edge, in grey levels per pixel, at least."""
_SURE = 5.0
"""How many standard errors of the median an edge must have."""
_UNCLEAN = 0.2
"""Grey levels per pixel that compression adds to each error."""
_STEADY, _STEADY_PART = 0.6, 0.3
"""The share of the pictures that show such an edge, at least, and how much of its strength; a shot of a fixed camera
has fewer of them."""
_OPAQUE, _NEAR = 0.3, 41
"""What is opaque changes by less than so much of what its neighbourhood does, of this width in pixels."""
_LEAST_FOR_OPAQUE, _NEAR_CHANGING = 10, 0.7
"""That needs more pictures, and a neighbourhood of which so much changes."""
_EVERYWHERE = 0.05
"""The share of the picture with edges that stay above which the picture does so itself."""
_GAP = 7
"""Pixels between the letters of one graphic, at most."""
_LEAST_EDGE = 14
"""Pixels of edges of the smallest graphic."""
_RING = 10
"""Width of the surroundings of a graphic, in pixels."""
_RING_CHANGING, _RING_EDGES = 0.3, 0.08
"""Of its surroundings, the share that changes, at least, and the share of edges that stay, at most."""
_THERE = 0.5
"""Of the strength of its edges, how much a picture with the graphic shows at least."""
_EVERYWHEN = 0.7
"""The share of all pictures that show a graphic, at least; what one shot of a fixed camera shows is in fewer."""


class PersistentGraphicsConfig(CostlyMeasurementConfig):
    """How logos are looked for."""

    pictures: int = Field(default=16, ge=4)
    """Of a clip, so many are looked at, at most, evenly spread."""
    seconds_before: float = Field(default=64.0, ge=0)
    """Of the same source, so much before the clip is looked at, too, one picture each two seconds: a logo outlives
    cuts. 0: the clip alone."""


@dataclass(frozen=True)
class Graphic:
    """Something that was put over the picture.

    Attributes:
        box: in pixels of the pictures.
        opacity: from 0 to 1, as far as it can be told.
        share: of the clip's pictures, those that show it.
    """

    box: Box
    opacity: float
    share: float


@dataclass(frozen=True)
class PersistentGraphics:
    """The graphics of a clip.

    Attributes:
        graphics: the largest first.
        compared: pictures that differ enough to be compared.
        undecidable: whether the picture stays itself, or too few of them differ.
    """

    graphics: list[Graphic] = field(default_factory=list[Graphic])
    compared: int = 0
    undecidable: bool = False


def prepared(picture: Pixels, like: Pixels | None = None) -> Pixels:
    """A picture, uint8 RGB [height, width, 3], small and grey, uint8 [height, width].

    Args:
        like: a prepared one, whose size it gets.
    """
    import cv2

    height, width = picture.shape[:2]
    scale = min(1.0, _SIDE / min(height, width))
    size = like.shape[::-1] if like is not None else (round(width * scale), round(height * scale))
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)


def persistent_graphics(clip: Sequence[Pixels], earlier: Sequence[Pixels] = ()) -> PersistentGraphics:
    """What was put over a clip.

    Args:
        clip: its pictures, as `prepared` has them, all of one size; one at least.
        earlier: likewise, from the same source before the clip.
    """
    import cv2

    different = _different([*clip, *earlier])
    if len(different) < _LEAST_PICTURES:
        return PersistentGraphics(compared=len(different), undecidable=True)
    stack = np.stack(different)
    shown = borders([np.repeat(picture[..., None], 3, axis=2) for picture in different]).box
    inside = np.zeros(stack.shape[1:], np.bool_)
    top, left = shown.y + _MARGIN, shown.x + _MARGIN
    inside[top : shown.y + shown.height - _MARGIN, left : shown.x + shown.width - _MARGIN] = True
    changes = _changes(stack)
    most = changes & _changes(np.stack([*clip, *earlier])) & inside  # what passes a fixed camera makes pictures differ
    across, down = _slopes(stack)
    stays_across, stays_down = np.median(across, axis=0), np.median(down, axis=0)
    strength = np.hypot(stays_across, stays_down)
    deviation = stack.std(0, dtype=np.float32)
    edges = (strength >= _EDGE) & inside & ~_outline(stack, deviation)
    places = np.nonzero(edges)
    off = np.hypot(across[:, *places] - stays_across[places], down[:, *places] - stays_down[places])
    along = across[:, *places] * stays_across[places] + down[:, *places] * stays_down[places]
    steady = (along >= _STEADY_PART * strength[places] ** 2).mean(0) >= _STEADY
    error = 1.25 * 1.26 * np.median(off, axis=0) / np.sqrt(len(stack))
    opaque = deviation[places] <= _OPAQUE * cv2.blur(deviation, (_NEAR, _NEAR))[places]
    opaque &= cv2.blur(changes.astype(np.float32), (_NEAR, _NEAR))[places] >= _NEAR_CHANGING
    opaque &= len(stack) >= _LEAST_FOR_OPAQUE
    edges[places] = opaque | steady & (strength[places] >= _SURE * (error + _UNCLEAN))
    if most.sum() <= _CHANGING_SHARE * inside.sum() or edges.sum() > _EVERYWHERE * inside.sum():
        return PersistentGraphics(compared=len(stack), undecidable=True)
    clip_slopes = _slopes(np.stack(clip))
    found: list[Graphic] = []
    for part in _parts(edges):
        box, ring = _around(part)
        ring &= inside
        if not ring.any() or changes[ring].mean() < _RING_CHANGING or edges[ring & ~part].mean() > _RING_EDGES:
            continue
        template = stays_across[part], stays_down[part]
        share = _shown(clip_slopes, part, template)
        if share > 0 and _shown((across, down), part, template) >= _EVERYWHEN:
            opacity = 1 - float(np.percentile(deviation[part], 10) / max(1e-6, np.median(deviation[ring])))
            found.append(Graphic(box, float(np.clip(opacity, 0, 1)), share))
    found.sort(key=lambda graphic: -graphic.box.area)
    return PersistentGraphics(found, len(stack), False)


def _shown(slopes: Slopes, part: NDArray[np.bool_], template: Slopes) -> float:
    """The share of pictures that show the edges of a part."""
    (across, down), (edge_across, edge_down) = slopes, template
    along = (across[:, part] * edge_across + down[:, part] * edge_down).sum(1)
    return float((along >= _THERE * (edge_across**2 + edge_down**2).sum()).mean())


def _different(pictures: Sequence[Pixels]) -> list[Pixels]:
    """Those that differ from all before."""
    import cv2

    kept: list[Pixels] = []
    thumbnails: list[NDArray[np.float32]] = []
    for picture in pictures:
        small = cv2.resize(picture, _THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32)
        if all(np.mean(np.abs(small - other) >= _DIFFERENT) >= _DIFFERENT_SHARE for other in thumbnails):
            kept.append(picture)
            thumbnails.append(small)
    return kept


def _slopes(stack: Pixels) -> Slopes:
    import cv2

    return tuple(
        np.stack([cv2.Scharr(picture, cv2.CV_32F, *way, scale=1 / 32) for picture in stack]) for way in ((1, 0), (0, 1))
    )  # type: ignore[return-value]


def _changes(stack: Pixels) -> NDArray[np.bool_]:
    """Where the picture changes for more than half of the time."""
    import cv2

    height, width = stack.shape[1:]
    size = max(1, width // _PATCH), max(1, height // _PATCH)
    patches = np.stack([cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in stack]).astype(
        np.float32
    )
    deviation = 1.48 * np.median(np.abs(patches - np.median(patches, axis=0)), axis=0)
    changes = (deviation >= _CHANGES).astype(np.uint8)
    return cv2.resize(changes, (width, height), interpolation=cv2.INTER_NEAREST).astype(np.bool_)


def _outline(stack: Pixels, deviation: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where a picture that is no rectangle ends, and black ground begins that reaches to the edge of the frame."""
    import cv2

    black = (stack.max(0) <= _GROUND) & (deviation <= _GROUND_STILL)
    number, labels, stats, _ = cv2.connectedComponentsWithStats(black.astype(np.uint8))
    at_edge = set(np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])).tolist())
    large = [part for part in range(1, number) if stats[part, cv2.CC_STAT_AREA] >= _GROUND_SHARE * black.size]
    ground = np.isin(labels, [part for part in large if part in at_edge])
    if not ground.any() or ground.all():
        return np.zeros_like(ground)
    number, labels, stats, _ = cv2.connectedComponentsWithStats((~ground).astype(np.uint8))
    shown = labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))  # and not letters that lie on the ground
    brush = np.ones((_OUTLINE, _OUTLINE), np.uint8)
    inside, outside = (cv2.dilate(each.astype(np.uint8), brush).astype(np.bool_) for each in (shown, ~shown))
    return inside & outside


def _parts(edges: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """Edges that lie near each other."""
    import cv2

    near = cv2.dilate(edges.astype(np.uint8), np.ones((_GAP, _GAP), np.uint8))
    number, labels = cv2.connectedComponents(near)
    parts = (edges & (labels == label) for label in range(1, number))
    return [part for part in parts if part.sum() >= _LEAST_EDGE]


def _around(part: NDArray[np.bool_]) -> tuple[Box, NDArray[np.bool_]]:
    """The box of a graphic, and its surroundings."""
    rows, columns = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
    box = Box(int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1)
    ring = np.zeros_like(part)
    ring[max(0, box.y - _RING) : box.y + box.height + _RING, max(0, box.x - _RING) : box.x + box.width + _RING] = True
    ring[max(0, box.y - 2) : box.y + box.height + 2, max(0, box.x - 2) : box.x + box.width + 2] = False
    return box, ring
