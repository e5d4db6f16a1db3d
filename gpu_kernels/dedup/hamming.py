"""Pairs of perceptual hashes that differ in few bits: exact search by popcount, in tiles.

faiss, where it is installed (the extra `faiss`), counts bits twice as quickly as numpy, and does it for large sets. The
form for GPUs is `triton/hamming.py`; `distances` is the reference of all three.
"""

from functools import cache
from importlib.util import find_spec
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

WORDS = 4
"""Words of 64 bits that a hash has."""

_ROWS, _COLUMNS = 32, 4096
"""A tile: what comes of it stays in a core's own cache."""
_WORTH_FAISS = 1 << 22
"""Pairs from which faiss gains more than its import takes."""
_ASKED_AT_ONCE = 4096
_DENSE = 1 / 16
"""Where more of a tile is left after the first words, the others are counted for all of it."""


_Found = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]


class HammingSearch(Protocol):
    """Finds the near pairs between two sets of hashes."""

    def __call__(
        self, queries: NDArray[np.uint64], stored: NDArray[np.uint64], radius: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
        """Rows, columns and bits of all pairs that differ in at most `radius` bits, ordered by row and column."""
        ...


def as_words(hashes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Hashes of 32 bytes, uint8 [..., 32], as words, uint64 [..., 4]."""
    return np.ascontiguousarray(hashes).view(np.uint64)


def distances(queries: NDArray[np.uint64], stored: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Bits in which every query differs from every stored hash, int64 [n, m]."""
    return np.bitwise_count(queries[:, None] ^ stored[None]).sum(-1, dtype=np.int64)


def near_hashes(
    queries: NDArray[np.uint64], stored: NDArray[np.uint64], radius: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """Every pair of hashes that differ in at most `radius` bits. No n-by-m matrix is made.

    The first words tell of nearly all pairs that they are farther apart: two of them up to a radius of 41, three up to
    68. The others are counted only of what is left.

    Args:
        queries: uint64 [n, 4].
        stored: uint64 [m, 4].
        radius: in bits; below 0 there is no pair.

    Returns:
        int64 [k] rows of `queries`, int64 [k] rows of `stored`, int32 [k] bits; ordered by row and column.

    Raises:
        ValueError: another shape or dtype.
    """
    checked(queries, stored)
    if radius < 0 or not len(queries) or not len(stored):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int32)
    by_faiss = len(queries) * len(stored) >= _WORTH_FAISS and _has_faiss()
    found = _by_faiss(queries, stored, radius) if by_faiss else _by_numpy(queries, stored, radius)
    rows, columns, bits = (np.concatenate(parts) for parts in zip(*found, strict=True))
    if by_faiss or len(stored) > _COLUMNS:  # else they are in order as they come
        order = np.argsort(rows * len(stored) + columns, kind="stable")
        rows, columns, bits = rows[order], columns[order], bits[order]
    return rows, columns, bits


def checked(queries: NDArray[np.uint64], stored: NDArray[np.uint64]) -> None:
    """Raises:
    ValueError: another shape or dtype than of hashes.
    """
    for hashes in (queries, stored):
        if hashes.dtype != np.uint64 or hashes.ndim != 2 or hashes.shape[1] != WORDS:
            raise ValueError(f"hashes must be uint64 [n, {WORDS}], not {hashes.dtype} {list(hashes.shape)}")


@cache
def _has_faiss() -> bool:
    return find_spec("faiss") is not None


def _by_faiss(queries: NDArray[np.uint64], stored: NDArray[np.uint64], radius: int) -> list[_Found]:
    import faiss

    index = faiss.IndexBinaryFlat(64 * WORDS)
    index.add(np.ascontiguousarray(stored).view(np.uint8))
    found: list[_Found] = []
    for first in range(0, len(queries), _ASKED_AT_ONCE):
        asked = np.ascontiguousarray(queries[first : first + _ASKED_AT_ONCE])
        limits, bits, columns = index.range_search(asked.view(np.uint8), radius + 1)  # what is less than that
        rows = np.repeat(np.arange(first, first + len(asked)), np.diff(limits.astype(np.int64)))
        found.append((rows, columns.astype(np.int64), bits.astype(np.int32)))
    return found


def _by_numpy(queries: NDArray[np.uint64], stored: NDArray[np.uint64], radius: int) -> list[_Found]:
    words = np.ascontiguousarray(stored.T)
    return [
        _tile(queries, words, radius, row, column)
        for row in range(0, len(queries), _ROWS)
        for column in range(0, len(stored), _COLUMNS)
    ]


def _tile(queries: NDArray[np.uint64], words: NDArray[np.uint64], radius: int, row: int, column: int) -> _Found:
    few, many = queries[row : row + _ROWS], words[:, column : column + _COLUMNS]
    # The first so many words of hashes that have nothing to do with each other differ in more, by four deviations.
    used = next((count for count in (2, 3) if radius <= 32 * count - 16 * count**0.5), WORDS)
    counted = _counted(few, many, 0, min(used, 3))  # at most 192: uint8 holds it
    left = np.flatnonzero(counted <= radius)  # of a matrix, np.nonzero takes many times as long
    if used == WORDS or len(left) > counted.size * _DENSE:
        counted = counted + _counted(few, many, min(used, 3), WORDS).astype(np.uint16)
        used, left = WORDS, np.flatnonzero(counted <= radius)
    rows, columns = np.divmod(left, many.shape[1])
    bits = counted.ravel()[left].astype(np.int32)
    if used < WORDS:
        bits += np.bitwise_count(few[rows, used:] ^ many[used:, columns].T).sum(1, dtype=np.int32)
        near = bits <= radius
        rows, columns, bits = rows[near], columns[near], bits[near]
    return rows + row, columns + column, bits


def _counted(few: NDArray[np.uint64], many: NDArray[np.uint64], first: int, end: int) -> NDArray[np.uint8]:
    """Bits in which some of the words differ, of fewer than four."""
    counted = np.bitwise_count(few[:, first, None] ^ many[first])
    for word in range(first + 1, end):
        counted += np.bitwise_count(few[:, word, None] ^ many[word])
    return counted
