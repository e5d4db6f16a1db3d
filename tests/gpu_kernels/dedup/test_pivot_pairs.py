"""Pairs by pivots on sketches, against brute force."""

from itertools import pairwise

import numpy as np
import pytest

from gpu_kernels.dedup import products
from gpu_kernels.dedup.neighbours import exact_pairs
from gpu_kernels.dedup.pivot_pairs import Cells, Pivots, choose_pivots, confirmed, looks
from gpu_kernels.dedup.sketches import NearSketches, Sketcher


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def with_duplicates(rows: int = 3000, width: int = 192, seed: int = 5) -> np.ndarray:
    """Half of them in clusters, and of a tenth another one at a cosine of 0.95 to 0.999."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(rows, width))
    vectors[: rows // 2] += 2 * random.normal(size=(20, width))[random.integers(0, 20, rows // 2)]
    vectors = unit(vectors)
    source = vectors[random.permutation(rows)[: rows // 10]]
    away = random.normal(size=source.shape)
    away = unit(away - (away * source).sum(axis=1, keepdims=True) * source)
    cosine = random.uniform(0.95, 0.999, (len(source), 1))
    return random.permutation(np.concatenate([vectors, cosine * source + np.sqrt(1 - cosine**2) * away])).astype(
        np.float32
    )


@pytest.fixture(autouse=True, params=["numpy", "openvino"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_WORTH_COMPILING", np.inf if request.param == "numpy" else 0)


def test_sketches_rule_out_no_near_pair_and_most_others():
    vectors = with_duplicates()
    sketches = Sketcher.of(vectors[::4], 62)(vectors)
    for floor in (0.95, 0.97, 0.99):
        near = NearSketches(62, floor, 1)
        asking, asked = near.asking(sketches, 3400), near.asked(sketches, 3500)
        left = near.scores(asking, asked) >= near.bound(asking)
        one, other, _ = exact_pairs(vectors, floor)
        assert len(one) > 10 and left[one, other].all()
        assert left[: len(vectors), : len(vectors)].mean() < 0.01
        assert not left[len(vectors) :].any() and not left[:, len(vectors) :].any()


def test_sketches_are_as_long_as_a_floor_needs():
    vectors = with_duplicates()
    widths = [len(Sketcher.fitting(vectors, floor, 100_000).directions) for floor in (0.99, 0.1)]
    assert widths[0] <= 126 and widths[1] == 192


def pairs(vectors: np.ndarray, pivots: Pivots, sketches: np.ndarray, parts: int) -> list[np.ndarray]:
    edges = np.linspace(0, len(vectors), parts + 1).astype(int)
    cells = Cells([looks(sketches[a:b], int(a), pivots) for a, b in pairwise(edges)], len(pivots.sketches))
    step = -(-len(pivots.sketches) // parts)
    found = [
        cells.candidates(sketches, pivots.floor, range(at, min(at + step, len(pivots.sketches))))
        for at in range(0, len(pivots.sketches), step)
    ]
    return list(confirmed(np.concatenate(found, axis=1), lambda rows: vectors[rows], pivots.floor, block=100))


def test_all_pairs_are_found_and_however_the_work_is_divided():
    vectors = with_duplicates()
    sketches = Sketcher.of(vectors, 62)(vectors)
    pivots = choose_pivots(sketches, lambda rows: vectors[rows], 0.95, seed=1)
    assert 0 < pivots.margin < np.sqrt(0.1) and pivots.recall is not None and pivots.recall > 0.9
    expected = exact_pairs(vectors, 0.95)
    for parts in (1, 5):
        for one, other in zip(pairs(vectors, pivots, sketches, parts), expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_exact_margin_misses_nothing_where_differences_have_one_direction():
    random = np.random.default_rng(2)
    vectors = unit(np.concatenate([random.normal(size=(400, 2)), 0.01 * random.normal(size=(400, 30))], axis=1))
    sketches = Sketcher.of(vectors, 32)(vectors)
    few = unit(sketches[:12].astype(np.float32))
    expected = exact_pairs(vectors, 0.9)
    everything = pairs(vectors, Pivots(few, np.sqrt(0.2), 0.9), sketches, 2)
    np.testing.assert_array_equal(everything[2], expected[2])
    assert len(pairs(vectors, Pivots(few, 0, 0.9), sketches, 2)[0]) < len(expected[0])
