"""How far apart hashes are: of copies, of other moments before one camera, and of other films. A chart, as SVG."""

# pyright: basic

from collections.abc import Mapping

import numpy as np

from gpu_kernels.dedup.alignment import AlignmentConfig
from gpu_kernels.dedup.picture_hashes import MIRRORED
from gpu_kernels.dedup.picture_track import PictureTrack
from gpu_kernels.dedup.picture_views import JOINS

_WIDTH, _ROW, _LEFT, _TOP = 720, 34, 190, 28
_MOST_BITS = 160
_COLOURS = {"copy": "#2b7a4b", "moment": "#c77d0a", "film": "#8a3434"}


class Distances:
    """Gathers bits that differ, by what was compared."""

    def __init__(self) -> None:
        self.gathered: dict[tuple[str, str], list[np.ndarray]] = {}

    def copy(self, original: PictureTrack, copied: PictureTrack, mirrored: bool, kind: str) -> None:
        """Of a copy of the same length: each moment against the nearest one of the original, in its best view."""
        when = copied.times_ns - copied.times_ns[0] + original.times_ns[0]
        near = original.hashes[np.abs(original.times_ns[:, None] - when).argmin(0)]
        joins = [join for join in JOINS if join.mirrored == mirrored]
        bits = [_bits(*join.hashes(near, copied.hashes)) for join in joins]
        best = min(bits, key=lambda each: float(np.median(each)))
        self._add("copy", kind, best)

    def other_moments(self, track: PictureTrack) -> None:
        """Before one camera, two seconds and more apart."""
        for apart in (20, 50, 100, 200):
            if apart < len(track):
                self._add(
                    "moment", "other moments, static camera", _bits(track.hashes[apart:, 0], track.hashes[:-apart, 0])
                )

    def other_film(self, one: PictureTrack, other: PictureTrack) -> None:
        """Every moment against every other."""
        a, b = one.hashes[::5, 0], other.hashes[::5, 0]
        for theirs in (b, b ^ MIRRORED):
            self._add("film", "other films", _bits(a[:, None], theirs[None]).reshape(-1))

    def _add(self, group: str, kind: str, bits: np.ndarray) -> None:
        self.gathered.setdefault((group, kind), []).append(bits)


def _bits(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.bitwise_count(a ^ b).sum(-1, dtype=np.uint16)


def chart(distances: Distances) -> str:
    """A line for each kind: from the first to the 99th hundredth thin, the middle half thick, the median a dot."""
    rows: Mapping[tuple[str, str], np.ndarray] = {
        key: np.percentile(np.concatenate(each), (1, 25, 50, 75, 99)) for key, each in distances.gathered.items()
    }
    ordered = sorted(rows.items(), key=lambda each: (list(_COLOURS).index(each[0][0]), each[1][2]))
    high = _TOP + _ROW * len(ordered) // 2 + 40
    scale = (_WIDTH - _LEFT - 20) / _MOST_BITS

    def x(bits: float) -> float:
        return round(_LEFT + min(bits, _MOST_BITS) * scale, 1)

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{high}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{_WIDTH}" height="{high}" fill="white"/>',
    ]
    bottom = high - 34
    for bits in range(0, _MOST_BITS + 1, 20):
        lines.append(f'<line x1="{x(bits)}" y1="{_TOP}" x2="{x(bits)}" y2="{bottom}" stroke="#ddd"/>')
        lines.append(f'<text x="{x(bits)}" y="{bottom + 14}" text-anchor="middle">{bits}</text>')
    radius = AlignmentConfig().radius_bits
    lines.append(
        f'<line x1="{x(radius)}" y1="{_TOP - 6}" x2="{x(radius)}" y2="{bottom}" stroke="#333" stroke-dasharray="4 3"/>'
    )
    lines.append(f'<text x="{x(radius)}" y="{_TOP - 10}" text-anchor="middle">radius_bits {radius}</text>')
    lines.append(f'<text x="{x(_MOST_BITS / 2)}" y="{high - 6}" text-anchor="middle">bits of 256 that differ</text>')
    for number, ((group, kind), (least, low, middle, upper, most)) in enumerate(ordered):
        y, colour = _TOP + 10 + number * _ROW // 2, _COLOURS[group]
        lines.append(f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{kind}</text>')
        lines.append(f'<line x1="{x(least)}" y1="{y}" x2="{x(most)}" y2="{y}" stroke="{colour}"/>')
        lines.append(f'<line x1="{x(low)}" y1="{y}" x2="{x(upper)}" y2="{y}" stroke="{colour}" stroke-width="6"/>')
        lines.append(f'<circle cx="{x(middle)}" cy="{y}" r="3.5" fill="white" stroke="{colour}" stroke-width="1.5"/>')
    return "\n".join([*lines, "</svg>"]) + "\n"
