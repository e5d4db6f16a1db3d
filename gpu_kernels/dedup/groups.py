"""Groups of duplicates, and which clip of each is kept."""

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


class DuplicateGroupsConfig(StrictModel):
    """Which pairs count as duplicates."""

    min_similarity: float = Field(default=0.88, gt=-1, le=1)
    """Cosine similarity from which two clips are duplicates; not below duplicate_pairs.floor_similarity."""
    min_luma_correlation: float | None = Field(default=0.75, gt=-1, le=1)
    """Least correlation of their brightness over time, so that other moments before the same camera are no duplicates;
    `null` goes by similarity alone. See [near-duplicates](models.md#near-duplicates)."""


def connected_components(nodes: Iterable[Node], edges: Iterable[tuple[Node, Node]]) -> list[list[Node]]:
    """Groups of nodes that edges connect, each sorted, ordered by their first node; whatever the order of the edges."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components as components

    ordered = sorted(set(nodes))
    number = {node: index for index, node in enumerate(ordered)}
    pairs = [(number[one], number[other]) for one, other in edges]
    row, column = np.array(pairs, np.int64).reshape(-1, 2).T
    matrix = coo_array((np.ones(len(pairs), np.bool_), (row, column)), (len(ordered), len(ordered)))
    count, label = components(matrix, directed=False)
    groups: list[list[Node]] = [[] for _ in range(count)]
    for node, group in zip(ordered, label.tolist(), strict=True):
        groups[group].append(node)
    return sorted(groups)


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
