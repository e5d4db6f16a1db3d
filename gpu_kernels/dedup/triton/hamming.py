"""Pairs of perceptual hashes that differ in few bits, on a GPU: distances are made and compared in registers, and only
pairs within the radius leave them."""

# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false, reportIndexIssue=false

from typing import Any

import numpy as np
import triton
import triton.language as tl
from numpy.typing import NDArray

from gpu_kernels.dedup.hamming import checked

_WORDS = 8
"""Of 32 bits: GPUs count the bits of these in one instruction."""
_ROWS, _COLUMNS = 64, 128
_ROWS_AT_ONCE = 1 << 20
"""Queries of one launch: a grid has at most 65,535 tiles in its second direction."""
_ROOM = 1 << 20
"""Pairs that there is room for at first."""


@triton.jit
def _near(
    queries,
    stored,
    query_count,
    stored_count,
    radius,
    room,
    found,
    found_rows,
    found_columns,
    found_bits,
    words: tl.constexpr,
    high: tl.constexpr,
    wide: tl.constexpr,
):
    columns = tl.program_id(0) * wide + tl.arange(0, wide)
    rows = tl.program_id(1) * high + tl.arange(0, high)
    bits = tl.zeros([high, wide], tl.int32)
    for word in tl.static_range(words):
        own = tl.load(queries + word * query_count + rows, mask=rows < query_count, other=0)
        other = tl.load(stored + word * stored_count + columns, mask=columns < stored_count, other=0)
        # The count of a word's bits in steps that LLVM knows, and makes one instruction of.
        different = (own[:, None] ^ other[None, :]).to(tl.uint32, bitcast=True)
        different = different - ((different >> 1) & 0x55555555)
        different = (different & 0x33333333) + ((different >> 2) & 0x33333333)
        different = (different + (different >> 4)) & 0x0F0F0F0F
        bits += ((different * 0x01010101) >> 24).to(tl.int32)
    near = (bits <= radius) & (rows < query_count)[:, None] & (columns < stored_count)[None, :]
    if tl.max(near.to(tl.int32)) > 0:
        place = tl.atomic_add(found + tl.zeros([high, wide], tl.int32), 1, mask=near)
        kept = near & (place < room)
        tl.store(found_rows + place, rows[:, None] + tl.zeros([high, wide], tl.int32), mask=kept)
        tl.store(found_columns + place, columns[None, :] + tl.zeros([high, wide], tl.int32), mask=kept)
        tl.store(found_bits + place, bits, mask=kept)


def near_hashes(
    queries: NDArray[np.uint64], stored: NDArray[np.uint64], radius: int, device: str = "cuda", room: int = _ROOM
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """As `gpu_kernels.dedup.hamming.near_hashes`, on a GPU.

    Args:
        room: pairs that there is room for at first; where more are found, the search of these queries is repeated.

    Raises:
        ValueError: another shape or dtype.
    """
    checked(queries, stored)
    on_device = words_on(stored, device)
    parts = [
        _of_some(words_on(queries[start : start + _ROWS_AT_ONCE], device), on_device, radius, room, start)
        for start in range(0, len(queries), _ROWS_AT_ONCE)
        if radius >= 0 and len(stored)
    ]
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int32)
    rows, columns, bits = (np.concatenate(each) for each in zip(*parts, strict=True))
    order = np.lexsort((columns, rows))  # a GPU's order is of chance
    return rows[order], columns[order], bits[order]


def words_on(hashes: NDArray[np.uint64], device: str) -> Any:
    """Hashes as the kernel reads them: int32 [8, n] on a device, so that neighbours read neighbours."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(np.ascontiguousarray(hashes).view(np.int32).T)).to(device)


def near_words(queries: Any, stored: Any, radius: int, room: int) -> tuple[int, Any, Any, Any]:
    """How many pairs there are; and rows, columns and bits of as many as there is room for, int32, in no order.

    Args:
        queries, stored: int32 [8, n] and [8, m] on one device.
    """
    import torch

    counts = queries.shape[1], stored.shape[1]
    found = torch.zeros(1, dtype=torch.int32, device=queries.device)
    rows, columns, bits = (torch.empty(room, dtype=torch.int32, device=queries.device) for _ in range(3))
    grid = triton.cdiv(counts[1], _COLUMNS), triton.cdiv(counts[0], _ROWS)
    _near[grid](
        queries, stored, *counts, radius, room, found, rows, columns, bits, words=_WORDS, high=_ROWS, wide=_COLUMNS
    )
    return int(found.item()), rows, columns, bits


def _of_some(queries: Any, stored: Any, radius: int, room: int, start: int) -> tuple[Any, Any, Any]:
    count, rows, columns, bits = near_words(queries, stored, radius, room)
    if count > room:
        count, rows, columns, bits = near_words(queries, stored, radius, count)
    rows, columns, bits = (each[:count].cpu().numpy() for each in (rows, columns, bits))
    return rows.astype(np.int64) + start, columns.astype(np.int64), bits
