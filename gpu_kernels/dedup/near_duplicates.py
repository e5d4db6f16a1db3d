"""Near-duplicate clips: exact cosine search, brightness over time, groups by connected components, one keeper each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from pydantic import Field

from gpu_kernels.strict import StrictModel

Node = TypeVar("Node", bound="Comparable")


class Comparable(Protocol):
    """Something with an order."""

    def __lt__(self, other: Any, /) -> bool: ...


class DuplicatePairsConfig(StrictModel):
    """Which pairs are kept as measurements."""

    floor_similarity: float = Field(default=0.8, gt=-1, le=1)
    """Pairs of clips below this cosine similarity are not recorded."""


class DuplicateGroupsConfig(StrictModel):
    """Which pairs count as duplicates."""

    min_similarity: float = Field(default=0.88, gt=-1, le=1)
    """Cosine similarity from which two clips are duplicates; not below duplicate_pairs.floor_similarity."""
    min_luma_correlation: float | None = Field(default=0.75, gt=-1, le=1)
    """Least correlation of their brightness over time, so that other moments before the same camera are no duplicates;
    `null` goes by similarity alone. See [near-duplicates](models.md#near-duplicates)."""


class NeighbourSearch(Protocol):
    """Finds the similar pairs between two sets of vectors; scale is a matter of another implementation."""

    def __call__(
        self, queries: np.ndarray, vectors: np.ndarray, floor: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows, columns and similarities of all pairs at or above `floor`, ordered by row and column."""
        ...


def exact_neighbours(
    queries: np.ndarray, vectors: np.ndarray, floor: float, block: int = 1024
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every pair of unit vectors whose cosine similarity is at least `floor`, by blocked matrix products.

    Args:
        queries: float32 [n, d].
        vectors: float32 [m, d].

    Returns:
        int64 [k] rows of `queries`, int64 [k] rows of `vectors`, float32 [k] similarities.
    """
    rows: list[np.ndarray] = []
    columns: list[np.ndarray] = []
    for start in range(0, len(queries), block):
        # Candidates by the fast product, then each pair on its own: its value must not depend on the blocks around it.
        row, column = np.nonzero(queries[start : start + block] @ vectors.T >= floor - 1e-4)
        rows.append(row + start)
        columns.append(column)
    row = np.concatenate(rows) if rows else np.zeros(0, np.int64)
    column = np.concatenate(columns) if columns else np.zeros(0, np.int64)
    similarity = np.array(
        [
            np.dot(queries[i].astype(np.float64), vectors[j].astype(np.float64))
            for i, j in zip(row, column, strict=True)
        ],
        np.float32,
    ).reshape(-1)
    hit = similarity >= floor
    return row[hit], column[hit], similarity[hit]


_CURVE_HZ = 10
_TREND_SAMPLES = 11
_LAG_SAMPLES = 2
_LEAST_SAMPLES = 5
_ALMOST_ONE = 1 - 1e-9


@dataclass(frozen=True)
class LumaCurve:
    """How a clip's mean brightness changes, 10 values a second, without what takes longer than a second.

    The level and its slow changes, with clouds or an exposure control, are alike in many moments before one camera.
    """

    values: np.ndarray

    @classmethod
    def of(cls, pts_ns: np.ndarray, luma: np.ndarray) -> "LumaCurve":
        """From the times of a clip's frames, int64 [n], increasing, and the brightness of each, float32 [n]."""
        seconds = (pts_ns - pts_ns[0]) / 1e9
        level = np.interp(np.arange(0, seconds[-1], 1 / _CURVE_HZ), seconds, luma)
        if len(level) == 0:
            return cls(level)
        around = np.pad(level, _TREND_SAMPLES // 2, "edge")
        return cls(level - np.convolve(around, np.full(_TREND_SAMPLES, 1 / _TREND_SAMPLES), "valid"))


def luma_correlation(one: LumaCurve, other: LumaCurve) -> float | None:
    """How surely two clips brighten and darken together, -1 to 1; None where one of them does not change at all.

    The greatest correlation with one of them moved by up to 0.2 s, less a standard error (of Fisher's z, with a value a
    second), because what is short is easily alike. What only one of them has, at either end, does not count.
    """
    best = None
    for lag in range(-_LAG_SAMPLES, _LAG_SAMPLES + 1):
        a, b = one.values[max(0, lag) :], other.values[max(0, -lag) :]
        length = min(len(a), len(b))
        if length < _LEAST_SAMPLES:
            continue
        a, b = a[:length] - a[:length].mean(), b[:length] - b[:length].mean()
        norm = float(np.linalg.norm(a) * np.linalg.norm(b))
        if norm > 0:
            best = max(best if best is not None else -_ALMOST_ONE, min(float(a @ b) / norm, _ALMOST_ONE))
    if best is None:
        return None
    seconds = min(len(one.values), len(other.values)) / _CURVE_HZ
    return float(np.tanh(np.arctanh(best) - 1 / np.sqrt(seconds)))


def connected_components(nodes: Iterable[Node], edges: Iterable[tuple[Node, Node]]) -> list[list[Node]]:
    """Groups of nodes that edges connect, each sorted, ordered by their first node; whatever the order of the edges."""
    parent: dict[Node, Node] = {node: node for node in nodes}

    def root(node: Node) -> Node:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for one, other in edges:
        first, second = sorted((root(one), root(other)))
        parent[second] = first
    groups: dict[Node, list[Node]] = {}
    for node in parent:
        groups.setdefault(root(node), []).append(node)
    return sorted(sorted(group) for group in groups.values())


@dataclass(frozen=True)
class Quality:
    """What a clip is chosen by.

    Attributes:
        pixels: of the source as displayed.
        bitrate: of the source, in bits per second.
        length_ns: of the clip.
        sharpness: mean of its storyboard frames.
    """

    pixels: int = 0
    bitrate: float = 0.0
    length_ns: int = 0
    sharpness: float = 0.0

    @property
    def rank(self) -> tuple[float, ...]:
        """Sorts the best first."""
        return -self.pixels, -self.bitrate, -self.length_ns, -self.sharpness


def keeper(group: Sequence[Node], quality: Mapping[Node, Quality]) -> Node:
    """The clip of a group to keep: most pixels, then highest bitrate, longest, sharpest, and smallest key."""
    return min(group, key=lambda node: (quality[node].rank, node))
