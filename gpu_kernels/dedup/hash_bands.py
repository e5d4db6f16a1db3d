"""Near hashes without comparing all: only those are compared that are equal in one of some bands of bits.

Two hashes share a band of w bits by chance with 2^-w, and with (1 - d / 256)^w where d bits of 256 differ. That two
share one is a property of the two alone, so what is found does not depend on what else is stored. Each of the many
moments of a clip is looked up, and few have to be found (docs/dedup.md has the recall).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BAND_BITS = 20
BANDS = 12
_BLOCK = 1 << 20


@dataclass(frozen=True)
class HashBands:
    """Hashes by their bands.

    Attributes:
        hashes: uint64 [n, 4].
        keys: int32 [BANDS, n], of each band the values, ascending.
        order: int32 [BANDS, n], whose they are.
    """

    hashes: NDArray[np.uint64]
    keys: NDArray[np.int32]
    order: NDArray[np.int32]

    @classmethod
    def of(cls, hashes: NDArray[np.uint64]) -> "HashBands":
        """Sort hashes, uint64 [n, 4], into bands."""
        bands = band_keys(hashes)
        order = np.argsort(bands, axis=1, kind="stable").astype(np.int32)
        return cls(hashes, np.take_along_axis(bands, order, 1), order)

    @classmethod
    def stored(cls, arrays: Mapping[str, NDArray[Any]]) -> "HashBands":
        """From `vars` of one."""
        return cls(**arrays)

    def near(
        self, queries: NDArray[np.uint64], radius: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Pairs of a query, uint64 [m, 4], and a stored hash that share a band and differ in `radius` bits at most:
        int64 [k] and int64 [k], sorted, each pair once, and in how many bits, int64 [k]."""
        found = [np.zeros(0, np.int64)]
        count = len(self.hashes)
        if count == 0:
            return found[0], found[0], found[0]
        for band, (stored, unsorted) in enumerate(zip(self.keys, band_keys(queries), strict=True)):
            asked = np.argsort(unsorted)  # neighbours are then looked up one after the other, which caches reward
            first = np.searchsorted(stored, unsorted[asked])
            there = stored[np.minimum(first, count - 1)] == unsorted[asked]
            asked, first = asked[there], first[there]
            keys = unsorted[asked]
            sizes = np.searchsorted(stored, keys, "right") - first
            ends = np.cumsum(sizes)
            at = 0
            while at < len(keys):  # as many queries at once as have a million candidates
                begun = ends[at] - sizes[at]
                stop = max(at + 1, int(np.searchsorted(ends, begun + _BLOCK, "right")))
                own = sizes[at:stop]
                row = np.repeat(np.arange(at, stop), own)
                offset = np.arange(len(row)) - np.repeat(np.cumsum(own) - own, own)
                column = self.order[band, first[row] + offset]
                row = asked[row]
                far = np.bitwise_count(queries[row] ^ self.hashes[column]).sum(axis=1)
                hit = far <= radius
                found.append(row[hit] * count + column[hit])
                at = stop
        row, column = np.divmod(np.unique(np.concatenate(found)), count)
        return row, column, np.bitwise_count(queries[row] ^ self.hashes[column]).sum(axis=1, dtype=np.int64)


def band_keys(hashes: NDArray[np.uint64]) -> NDArray[np.int32]:
    """int32 [BANDS, n]: each band has every BANDS-th bit, so that neighbours, which change together, are apart."""
    bits = np.unpackbits(np.ascontiguousarray(hashes).view(np.uint8).reshape(-1, 32), axis=1)
    chosen = bits[:, : BANDS * BAND_BITS].reshape(-1, BAND_BITS, BANDS)
    weights = 1 << np.arange(BAND_BITS, dtype=np.int32)
    return np.ascontiguousarray(np.einsum("nwb,w->bn", chosen, weights, dtype=np.int32))
