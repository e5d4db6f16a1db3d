"""Hashes through bands: nothing that is far, nothing missed that shares a band, and the recall that the docs state."""

import numpy as np

from gpu_kernels.dedup.hash_bands import BAND_BITS, BANDS, HashBands, band_keys


def flipped(hashes: np.ndarray, bits: int, dice: np.random.Generator) -> np.ndarray:
    changed = np.unpackbits(hashes.view(np.uint8).reshape(-1, 32), axis=1)
    for row in changed:
        row[dice.choice(256, bits, replace=False)] ^= 1
    return np.packbits(changed, axis=1).view(np.uint64)


def test_near_hashes_that_share_a_band_are_found_and_no_others() -> None:
    dice = np.random.default_rng(0)
    stored = dice.integers(0, 1 << 63, (2000, 4), dtype=np.uint64)
    queries = np.concatenate([flipped(stored[:100], 12, dice), stored[100:110]])
    row, column, bits = HashBands.of(stored).near(queries, 40)
    every = np.bitwise_count(queries[:, None] ^ stored).sum(axis=2)
    shared = (band_keys(queries)[:, :, None] == band_keys(stored)[:, None, :]).any(axis=0)
    assert np.stack([row, column], 1).tolist() == np.argwhere((every <= 40) & shared).tolist()
    assert bits.tolist() == every[row, column].tolist()
    assert len(row) >= 100
    back = HashBands.of(queries).near(stored, 40)
    assert sorted(zip(*back, strict=True)) == sorted(zip(column, row, bits, strict=True))


def test_recall_is_what_the_bands_promise() -> None:
    dice = np.random.default_rng(1)
    stored = dice.integers(0, 1 << 63, (3000, 4), dtype=np.uint64)
    index = HashBands.of(stored)
    for bits in (12, 30):
        row, column, _ = index.near(flipped(stored, bits, dice), 60)
        found = (row == column).mean() * len(row) / len(stored)
        expected = 1 - (1 - (1 - bits / 256) ** BAND_BITS) ** BANDS
        assert abs(found - expected) < 0.05, (bits, found, expected)
