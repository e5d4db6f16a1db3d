"""Which text in a clip was put over the picture, and which belongs to what was filmed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from gpu_kernels.models.registry import PP_OCR_DETECTOR, packaged_revision
from gpu_kernels.models.section import ModelSection, Wanted
from gpu_kernels.ocr.detector import TextBox
from gpu_kernels.ocr.looks import Look, alike
from gpu_kernels.scores.measurement import NO_MODEL, CostlyMeasurementConfig

SECOND = 1_000_000_000
_GAP = 5 * SECOND // 2
"""A line of text that was not found for longer is another one."""
_AGAIN = 0.7
"""Overlap of a line of text with where it was before, at least."""
_AGAIN_REFERENCE = 0.9
_LEAST_PICTURES = 2
_LEAST_FRAMES = 10
"""By the reference's rule, the least length of an overlay; at a few pictures per second, one is enough."""
_DRIFT, _GROWTH = 0.2, 0.08
"""How far the centre of an overlay moves, in heights of its box, and its width changes, at most."""
_CORNER, _CORNER_REFERENCE = 0.25, 0.1
_CORNER_TEXT = 0.1
_MOVING, _MOVING_SHARE = 6.0, 0.3
"""Standard deviation over time of what moves, in grey levels, and the share of the picture that does when the camera
does."""

Region = Literal["top left", "top", "top right", "left", "centre", "right", "bottom left", "bottom", "bottom right"]
_ROWS, _COLUMNS = ("top", "", "bottom"), ("left", "", "right")


class TextOverlaysConfig(CostlyMeasurementConfig, ModelSection):
    """How text is found, and told from text in the scene."""

    unless_default = frozenset({"rule"})

    frames_per_second: float = Field(default=2.0, gt=0)
    """Of the storyboard's pictures, how many per second are looked at, at most. What stays for less than two of them is
    no overlay."""
    longest_side: int = Field(default=640, ge=64)
    """Longest side of a picture as the detector sees it, in pixels."""
    pixel_threshold: float = Field(default=0.3, gt=0, lt=1)
    """What the detector must say of a pixel of text, at least."""
    box_threshold: float = Field(default=0.5, gt=0, lt=1)
    """What it must say of a line of text, on average."""
    rule: Literal["steady", "reference"] = "steady"
    """Which text is an overlay: `steady`, what stays in its place; `reference`, the rule of Cosmos-Curate, by which
    all text that moves slowly is one, and text in a corner. It looks at every third frame, and so should a storyboard
    that it is used with."""

    def models(self) -> tuple[Wanted, ...]:
        return (Wanted(PP_OCR_DETECTOR.name),) if self.enabled else ()

    def identity(self) -> tuple[str, str]:
        """(name, revision) of the detector, with its precision.

        Raises:
            NotThere: its package is not installed, with the remedy.
        """
        return (PP_OCR_DETECTOR.name, f"{packaged_revision(PP_OCR_DETECTOR)}-f32") if self.enabled else NO_MODEL


@dataclass
class Track:
    """A line of text over time.

    Attributes:
        pictures: which pictures it was found in, ascending.
        boxes: where in each.
        overlay: whether it was put over the picture.
        told: whether that can be told from text in the scene: the picture behind it moves, or it comes or goes.
    """

    pictures: list[int]
    boxes: list[TextBox]
    overlay: bool = False
    told: bool = True

    @property
    def box(self) -> TextBox:
        """Where it is, by medians."""
        sides = [[box.x, box.y, box.width, box.height, box.confidence] for box in self.boxes]
        return TextBox(*(float(side) for side in np.median(np.array(sides), axis=0)))


@dataclass(frozen=True)
class TextOverlays:
    """The text of a clip.

    Attributes:
        tracks: all lines of text, overlays and others, in the order in which they begin.
        text_share: share of the pictures with any text.
        share: share of the pictures with an overlay that is told from text in the scene.
        area: the greatest share of a picture that such overlays cover, with boxes that overlap counted twice.
        corner_share: of the pictures with text, the share with text in a corner.
        regions: where the overlays are, in ninths of the picture, sorted.
        undecidable: whether there is text that stays in its place while the picture behind it does, too.
    """

    tracks: list[Track] = field(default_factory=list[Track])
    text_share: float = 0.0
    share: float = 0.0
    area: float = 0.0
    corner_share: float = 0.0
    regions: list[str] = field(default_factory=list[str])
    undecidable: bool = False


def text_overlays(
    found: Sequence[Sequence[TextBox]],
    frames: Sequence[int],
    times_ns: Sequence[int],
    aspect: float,
    moves: bool,
    rule: Literal["steady", "reference"] = "steady",
    looks: Sequence[Sequence[Look]] | None = None,
) -> TextOverlays:
    """What text was put over a clip.

    Args:
        found: the lines of text of every picture.
        frames: of the source, that the pictures are.
        times_ns: of the pictures.
        aspect: width of the picture by its height.
        moves: whether most of the picture does: see `picture_moves`.
        rule: see `TextOverlaysConfig`.
        looks: of every line of every picture; where they are known and the rule is our own, a line that says something
            else is another one, though it be in the same place, as subtitles are.
    """
    steady = rule == "steady"
    tracks = _tracks(found, times_ns, _AGAIN if steady else _AGAIN_REFERENCE, looks if steady else None)
    corner = _CORNER if steady else _CORNER_REFERENCE
    with_text = [number for number, boxes in enumerate(found) if boxes]
    cornered = [number for number in with_text if any(_in_corner(box, corner, steady) for box in found[number])]
    corner_share = len(cornered) / max(1, len(with_text))
    last = len(found) - 1
    for track in tracks:
        if steady:
            track.overlay = _stays(track, aspect)
            comes_or_goes = track.pictures[0] >= _LEAST_PICTURES or track.pictures[-1] <= last - _LEAST_PICTURES
            track.told = moves or comes_or_goes
        else:  # boxes of a track overlap by nine tenths, each with the one before
            track.overlay = len(track.boxes) >= max(1, _LEAST_FRAMES // _interval(frames))
    if not steady and corner_share > _CORNER_TEXT:
        for track in tracks:
            track.overlay = track.overlay or any(_in_corner(box, corner, False) for box in track.boxes)
    covered = np.zeros(len(found))
    for track in tracks:
        if track.overlay and track.told:
            for number, box in zip(track.pictures, track.boxes, strict=True):
                covered[number] += box.area
    overlays = [track for track in tracks if track.overlay]
    return TextOverlays(
        tracks=tracks,
        text_share=len(with_text) / len(found),
        share=float((covered > 0).mean()),
        area=float(covered.max()),
        corner_share=corner_share,
        regions=sorted({_region(track.box) for track in overlays}),
        undecidable=any(not track.told for track in overlays),
    )


def picture_moves(pictures: Sequence[NDArray[np.uint8]]) -> bool:
    """Whether much of the picture changes over a clip, uint8 RGB [height, width, 3] each: the camera moves, and not
    only what it looks at."""
    import cv2

    thumbnails = (cv2.resize(each, (64, 36), interpolation=cv2.INTER_AREA) for each in pictures)
    small = [cv2.cvtColor(each, cv2.COLOR_RGB2GRAY) for each in thumbnails]
    change = np.stack(small).astype(np.float32).std(0)
    return bool((change >= _MOVING).mean() >= _MOVING_SHARE)


def _tracks(
    found: Sequence[Sequence[TextBox]], times_ns: Sequence[int], again: float, looks: Sequence[Sequence[Look]] | None
) -> list[Track]:
    """Each box goes on the track whose last box it overlaps most, if that was not long ago and looks like it."""
    tracks: list[Track] = []
    last: dict[int, Look] = {}
    for number, boxes in enumerate(found):
        open_ = [track for track in tracks if times_ns[number] - times_ns[track.pictures[-1]] <= _GAP]
        pairs = [(track.boxes[-1].overlap(box), track, place) for track in open_ for place, box in enumerate(boxes)]
        taken: dict[int, Track] = {}
        for overlap, track, place in sorted(pairs, key=lambda pair: -pair[0]):
            if overlap < again or track.pictures[-1] == number or place in taken:
                continue
            if looks is None or alike(last[id(track)], looks[number][place]):
                track.pictures.append(number)
                track.boxes.append(boxes[place])
                taken[place] = track
        for place, box in enumerate(boxes):
            if place not in taken:
                taken[place] = Track([number], [box])
                tracks.append(taken[place])
            if looks is not None:
                last[id(taken[place])] = looks[number][place]
    return tracks


def _interval(frames: Sequence[int]) -> int:
    return max(1, int(np.median(np.diff(frames)))) if len(frames) > 1 else 1


def _stays(track: Track, aspect: float) -> bool:
    """Whether it is at the end where it was in the beginning; boxes tremble, and their overlap would fall by that."""
    if len(track.boxes) < _LEAST_PICTURES:
        return False
    half = len(track.boxes) // 2
    middles = np.array([[(b.x + b.width / 2) * aspect, b.y + b.height / 2] for b in track.boxes])
    from_middle = np.hypot(*(middles - np.median(middles, axis=0)).T)
    if np.median(from_middle) > _DRIFT * track.box.height:  # it shakes, as seen by a camera in the hand
        return False
    first, second = (Track([], boxes).box for boxes in (track.boxes[:half], track.boxes[-half:]))
    wide = (first.x + first.width / 2 - second.x - second.width / 2) * aspect
    high = first.y + first.height / 2 - second.y - second.height / 2
    height, width = max(first.height, second.height), max(first.width, second.width)
    return bool(np.hypot(wide, high) <= _DRIFT * height and abs(first.width - second.width) <= _GROWTH * width)


def _in_corner(box: TextBox, share: float, whole: bool) -> bool:
    if whole:
        across = box.x + box.width <= share or box.x >= 1 - share
        return across and (box.y + box.height <= share or box.y >= 1 - share)
    x, y = box.x + box.width / 2, box.y + box.height / 2
    return min(x, 1 - x) <= share and min(y, 1 - y) <= share


def _region(box: TextBox) -> str:
    row, column = (int(min(2, 3 * (start + length / 2))) for start, length in ((box.y, box.height), (box.x, box.width)))
    return f"{_ROWS[row]} {_COLUMNS[column]}".strip() or "centre"
