import numpy as np
import pytest

from gpu_kernels.dedup import hamming
from gpu_kernels.dedup.hamming import as_words, distances, near_hashes


def hashes(random: np.random.Generator, count: int) -> np.ndarray:
    return random.integers(0, 1 << 64, (count, 4), np.uint64)


def near(random: np.random.Generator, some: np.ndarray, most: int) -> np.ndarray:
    """Each hash with up to so many of its bits turned."""
    bits = np.unpackbits(some.view(np.uint8), axis=1)
    for row in bits:
        row[random.choice(256, random.integers(0, most + 1), replace=False)] ^= 1
    return np.packbits(bits, axis=1).view(np.uint64)


@pytest.mark.parametrize("by_faiss", [False, True])
@pytest.mark.parametrize("radius", [0, 12, 64, 100, 128, 256])
def test_all_pairs_within_the_radius_are_found_and_no_other(
    radius: int, by_faiss: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by_faiss:
        pytest.importorskip("faiss", reason="needs the extra `faiss`")
        monkeypatch.setattr(hamming, "_WORTH_FAISS", 0)
        monkeypatch.setattr(hamming, "_ASKED_AT_ONCE", 16)
    random = np.random.default_rng(radius)
    queries = hashes(random, 37)
    stored = np.concatenate([hashes(random, 4100), near(random, queries, 120), queries[:5], hashes(random, 3)])
    expected = distances(queries, stored)
    rows, columns, bits = near_hashes(queries, stored, radius)
    assert np.array_equal(np.stack([rows, columns], 1), np.argwhere(expected <= radius))
    assert np.array_equal(bits, expected[rows, columns]) and bits.dtype == np.int32
    by_bits = np.unpackbits(queries.view(np.uint8), axis=1)[:, None] != np.unpackbits(stored.view(np.uint8), axis=1)
    assert np.array_equal(by_bits.sum(-1), expected)


def test_nothing_is_near_nothing() -> None:
    some = hashes(np.random.default_rng(1), 3)
    for queries, stored, radius in ((some[:0], some, 9), (some, some[:0], 9), (some, some, -1)):
        assert [len(part) for part in near_hashes(queries, stored, radius)] == [0, 0, 0]


def test_words_are_the_bytes_of_hashes() -> None:
    stored = np.random.default_rng(1).integers(0, 256, (5, 3, 32), np.uint8)
    assert as_words(stored[:, 1]).shape == (5, 4)
    assert np.array_equal(as_words(stored[:, 1]).view(np.uint8), stored[:, 1])


def test_what_is_no_hash_is_refused() -> None:
    some = hashes(np.random.default_rng(1), 3)
    with pytest.raises(ValueError, match=r"hashes must be uint64 \[n, 4\], not uint8 \[3, 32\]"):
        near_hashes(some, some.view(np.uint8), 3)  # type: ignore[arg-type]
