"""Pairs through pivots: those of a comparison of all, with the cosines of float64, whichever side asks."""

import numpy as np

from gpu_kernels.dedup.pivot_cells import PivotCells, margin_for

FLOOR = 0.9


def clustered(count: int, seed: int) -> np.ndarray:
    """Unit vectors, each with another one near it."""
    dice = np.random.default_rng(seed)
    base = dice.normal(size=(count // 2, 48))
    both = np.concatenate([base, base + 0.3 * dice.normal(size=base.shape)])
    return (both / np.linalg.norm(both, axis=1, keepdims=True)).astype(np.float32)


def test_the_exact_margin_finds_all_pairs_and_a_measured_one_nearly_all() -> None:
    vectors = clustered(3000, 0)
    pivots = vectors[np.random.default_rng(1).permutation(3000)[:100]]
    truth = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    expected = {(i, j) for i, j in np.argwhere(truth >= FLOOR).tolist()}
    measured = margin_for(vectors, pivots, FLOOR, recall=0.99)
    exact = float(np.sqrt(2 - 2 * FLOOR))
    assert measured is not None and 0 < measured < exact
    for margin, least in ((exact, 1.0), (measured, 0.985)):
        cells = PivotCells.of(vectors, np.arange(3000) + 7, pivots, margin)
        row, other, cosine = cells.near(vectors, FLOOR)
        found = set(zip(row.tolist(), (other - 7).tolist(), strict=True))
        assert found <= expected and len(found) == len(row)
        assert len(found) >= least * len(expected)
        assert {(j, i) for i, j in found} == found  # a rule of the pair: it does not matter who asks
        assert np.abs(cosine - truth[row, other - 7]).max() < 1e-6


def test_too_few_pairs_to_tell_a_margin_by_are_all_found() -> None:
    few, many = clustered(300, 0), clustered(3000, 0)
    assert len(PivotCells.made(many, np.arange(3000), FLOOR).pivots) == int(4 * 3000**0.5)
    cells = PivotCells.made(few, np.arange(300) + 7, FLOOR)
    assert len(cells.pivots) == 0
    row, other, _ = cells.near(few, FLOOR)
    truth = few.astype(np.float64) @ few.T.astype(np.float64)
    assert set(zip(row.tolist(), (other - 7).tolist(), strict=True)) == {
        *map(tuple, np.argwhere(truth >= FLOOR).tolist())
    }
