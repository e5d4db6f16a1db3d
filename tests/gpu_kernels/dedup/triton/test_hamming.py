"""The form for GPUs, in Triton's interpreter on a CPU: the pairs of the reference."""

import numpy as np
import pytest

from gpu_kernels.dedup.hamming import distances
from gpu_kernels.dedup.triton.hamming import near_hashes


@pytest.mark.parametrize("radius", [0, 64, 110, 255])
def test_pairs_are_those_of_the_reference(radius: int) -> None:
    random = np.random.default_rng(radius)
    queries, stored = (random.integers(0, 1 << 64, (count, 4), np.uint64) for count in (70, 300))
    stored[:9] = queries[40:49]
    stored[3:6] ^= random.integers(0, 1 << 30, (3, 1), np.uint64)
    queries[7], stored[20] = 0, ~np.uint64(0)  # differ in all bits
    expected = distances(queries, stored)
    rows, columns, bits = near_hashes(queries, stored, radius, "cpu", room=16)
    assert np.array_equal(np.stack([rows, columns], 1), np.argwhere(expected <= radius))
    assert np.array_equal(bits, expected[rows, columns])


def test_nothing_is_near_nothing() -> None:
    some = np.random.default_rng(1).integers(0, 1 << 64, (3, 4), np.uint64)
    for queries, stored, radius in ((some[:0], some, 9), (some, some[:0], 9), (some, some, -1)):
        assert [len(part) for part in near_hashes(queries, stored, radius, "cpu")] == [0, 0, 0]
