"""Groups of duplicates around the clip that is kept: stars of a bounded radius instead of chains of any length."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Stars:
    """Each node's star.

    Attributes:
        keeper: int64 [n], the node at the centre of each node's star; a centre has itself.
        edge: int64 [n], the edge between a node and its keeper; -1 for centres and for those that are reached through
            others.
    """

    keeper: NDArray[np.int64]
    edge: NDArray[np.int64]


def stars(rank: NDArray[np.int64], source: NDArray[np.int64], target: NDArray[np.int64], max_links: int = 1) -> Stars:
    """The best node becomes a centre and takes all nodes that edges lead to, then the best of those that are left, and
    so on (the greedy dominating set, as in canopy clustering; it does not depend on the order of the edges).

    Args:
        rank: int64 [n], distinct; the smallest is the best.
        source, target: int64 [e]; an edge says that `source` can stand for `target`. Of several between two nodes the
            first counts.
        max_links: edges between a centre and a node of its star, at most.
    """
    count = len(rank)
    keeper, edge = np.arange(count), np.full(count, -1, np.int64)
    order = np.lexsort((np.arange(len(source)), source))
    starts = np.searchsorted(source[order], np.arange(count + 1)).tolist()
    targets, edges = target[order].tolist(), order.tolist()
    ends = np.union1d(source, target)
    free = dict.fromkeys(ends[np.argsort(rank[ends])].tolist(), True)  # the others are alone, and are not gone through
    for centre in list(free):
        if not free[centre]:
            continue
        free[centre] = False
        ring = [centre]
        for link in range(max_links):
            reached: list[int] = []
            for node in ring:
                for place in range(starts[node], starts[node + 1]):
                    other = targets[place]
                    if free[other]:
                        free[other] = False
                        keeper[other] = centre
                        edge[other] = edges[place] if link == 0 else -1
                        reached.append(other)
            ring = reached
    return Stars(keeper, edge)


def components(count: int, source: NDArray[np.int64], target: NDArray[np.int64]) -> NDArray[np.int32]:
    """int32 [count], the number of the connected component of each node."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    matrix = coo_array((np.ones(len(source), np.bool_), (source, target)), (count, count))
    return connected_components(matrix, directed=False)[1]
