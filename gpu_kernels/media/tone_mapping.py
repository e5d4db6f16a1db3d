"""High dynamic range and wide gamut as what ordinary screens show: BT.709. Runs inside the sandbox's child.

Light is computed as on a reference display (BT.2100: PQ as it is, HLG on a display of 1000 nits). White paper, 203 nits
in BT.2408, becomes 1. The brightest of red, green and blue decides by how much all three are dimmed, so that hues stay:
nothing below 0.3, and above it by the Möbius curve that ffmpeg's `tonemap` has, to 1 at 1000 nits; what is brighter is
white. The curve is the same for every video, whatever its metadata say, so that equal light gives equal pictures.
Colours beyond BT.709 are clipped. The result is for a display as in BT.1886, with a gamma of 2.4.
"""

from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av import VideoFrame
    from av.filter import Graph
    from av.filter.context import FilterContext

DynamicRange = Literal["sdr", "pq", "hlg"]

PQ, HLG = 16, 18
"""Transfer characteristics as ITU-T H.273 numbers them."""
_BT709, _UNKNOWN, _BT2020 = 1, 2, 9
"""Primaries."""

DEEP = "gbrp16le"
"""The pixels in which colours are looked up."""

_STEPS, _SIDE = 64, 512
"""A table of this many steps for red, green and blue is a square picture with this side."""

_WHITE_NITS, _PEAK_NITS = 203, 1000
_LINEAR_TO = 0.3
_GAMMA = 2.4
_LUMA_2020 = np.array([0.2627, 0.6780, 0.0593])
_BT2020_TO_709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])


def dynamic_range(frame: "VideoFrame") -> DynamicRange:
    """What a frame's transfer characteristic says."""
    if frame.color_trc == PQ:
        return "pq"
    return "hlg" if frame.color_trc == HLG else "sdr"


def needs_mapping(frame: "VideoFrame") -> bool:
    """Whether a frame's colours are beyond those of ordinary screens."""
    return frame.color_trc in (PQ, HLG) or frame.color_primaries == _BT2020


@cache
def table(transfer: int, primaries: int) -> NDArray[np.uint16]:
    """What colours become: uint16 [512, 512, 3], RGB.

    It is a Hald image: of 64 steps each, red changes from pixel to pixel, then green, then blue.
    """
    step = np.arange(_STEPS) / (_STEPS - 1)
    blue, green, red = np.meshgrid(step, step, step, indexing="ij")
    light = _light(np.stack([red, green, blue], -1).reshape(-1, 3), transfer)
    if primaries == _BT2020 or (primaries == _UNKNOWN and transfer in (PQ, HLG)):
        light = light @ _BT2020_TO_709.T
    if transfer in (PQ, HLG):
        brightest = np.maximum(light.max(1, keepdims=True), 1e-6)
        light *= _dimmed(brightest) / brightest
    codes = light.clip(0, 1) ** (1 / _GAMMA)
    return np.rint(codes * 65535).astype(np.uint16).reshape(_SIDE, _SIDE, 3)


def _light(codes: NDArray[np.float64], transfer: int) -> NDArray[np.float64]:
    """Light of a display for codes 0 to 1, [n, 3]; white paper gives 1."""
    if transfer == PQ:
        root = codes ** (32 / 2523)
        nits = 10_000 * (np.maximum(root - 107 / 128, 0) / (2413 / 128 - 2392 / 128 * root)) ** (16384 / 2610)
        return nits / _WHITE_NITS
    if transfer == HLG:
        scene = np.where(codes <= 0.5, codes**2 / 3, (np.exp((codes - 0.55991073) / 0.17883277) + 0.28466892) / 12)
        return _PEAK_NITS * scene * (scene @ _LUMA_2020)[:, None] ** 0.2 / _WHITE_NITS
    return codes**_GAMMA


def _dimmed(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """The Möbius curve through (0.3, 0.3), there with a slope of 1, and (peak, 1)."""
    peak, knee = _PEAK_NITS / _WHITE_NITS, _LINEAR_TO
    a = -(knee**2) * (peak - 1) / (knee**2 - 2 * knee + peak)
    b = (knee**2 - 2 * knee * peak + peak) / (peak - 1)
    return np.where(light <= knee, light, (b + knee) ** 2 / (b - a) * (light + a) / (light + b))


class Lookup:
    """A place in a filter graph where every pixel's colour is looked up in a table.

    Args:
        last: gives pixels in DEEP.

    Attributes:
        node: gives pixels in DEEP.
    """

    def __init__(self, graph: "Graph", last: "FilterContext", side: int = _SIDE) -> None:
        self._table = graph.add("buffer", video_size=f"{side}x{side}", pix_fmt=DEEP, time_base="1/1000")
        self.node = graph.add("haldclut", "clut=first:interp=tetrahedral")
        last.link_to(self.node, 0, 0)
        self._table.link_to(self.node, 0, 1)

    def fill(self, colours: NDArray[np.uint16]) -> None:
        """Give the table, once the graph is configured and before its first frame: a Hald image, RGB."""
        self.fill_planes(colours[..., _plane_order()])

    def fill_planes(self, colours: NDArray[np.uint16]) -> None:
        """Give the table as the filter wants it."""
        from av import VideoFrame

        frame = VideoFrame.from_ndarray(np.ascontiguousarray(colours), DEEP)
        frame.pts = 0
        self._table.push(frame)
        self._table.push(None)


@cache
def _plane_order() -> list[int]:
    """Which of red, green and blue `haldclut` takes each plane of its table for: some versions mix them up."""
    from av import VideoFrame
    from av.filter import Graph

    graph = Graph()
    source = graph.add("buffer", video_size="8x8", pix_fmt=DEEP, time_base="1/1000")
    lookup = Lookup(graph, source, 8)
    sink = graph.add("buffersink")
    lookup.node.link_to(sink)
    graph.configure()
    given = np.full((8, 8, 3), (10_000, 20_000, 30_000), np.uint16)
    lookup.fill_planes(given)
    frame = VideoFrame.from_ndarray(given, DEEP)
    frame.pts = 0
    source.push(frame)
    taken = graph.vpull().to_ndarray()[0, 0]  # output plane p shows what was given in plane q
    return [int(np.flatnonzero(np.abs(taken.astype(int) - value) < 100)[0]) for value in given[0, 0]]
