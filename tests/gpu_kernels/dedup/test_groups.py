"""Stars: every node near its centre by an edge, no two centres that could stand for each other, whatever the order."""

import numpy as np
import pytest

from gpu_kernels.dedup.groups import components, stars


def random_graph(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    dice = np.random.default_rng(seed)
    source, target = dice.integers(0, 40, (2, 50))
    return dice.permutation(40), source[source != target], target[source != target]


@pytest.mark.parametrize("seed", range(5))
def test_every_removed_node_has_an_edge_from_its_keeper_and_no_keeper_has_one_from_a_better(seed: int) -> None:
    rank, source, target = random_graph(seed)
    found = stars(rank, source, target)
    removed = found.keeper != np.arange(40)
    assert removed.any()
    assert (found.edge >= 0).tolist() == removed.tolist()
    assert (source[found.edge[removed]] == found.keeper[removed]).all()
    assert (target[found.edge[removed]] == np.flatnonzero(removed)).all()
    assert (found.keeper[found.keeper] == found.keeper).all()
    centres = set(np.flatnonzero(~removed).tolist())
    both = [(a, b) for a, b in zip(source.tolist(), target.tolist(), strict=True) if {a, b} <= centres]
    assert all(rank[a] > rank[b] for a, b in both)  # only where the better one could not be removed
    shuffled = np.random.default_rng(9).permutation(len(source))
    assert stars(rank, source[shuffled], target[shuffled]).keeper.tolist() == found.keeper.tolist()


def test_a_chain_does_not_become_one_group() -> None:
    """0 - 1 - 2 - 3 - 4 - 5, the best first: each group has what is next to its best, and no more."""
    chain = np.arange(5)
    source, target = np.concatenate([chain, chain + 1]), np.concatenate([chain + 1, chain])
    rank = np.arange(6)
    assert stars(rank, source, target).keeper.tolist() == [0, 0, 2, 2, 4, 4]
    assert stars(rank, source, target, max_links=2).keeper.tolist() == [0, 0, 0, 3, 3, 3]
    assert stars(rank, source, target, max_links=2).edge.tolist()[1:3] == [0, -1]
    assert len(set(components(6, chain, chain + 1).tolist())) == 1
    assert stars(rank, np.zeros(0, np.int64), np.zeros(0, np.int64)).keeper.tolist() == rank.tolist()
