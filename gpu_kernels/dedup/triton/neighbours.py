"""Pairs of vectors at or above a threshold on a GPU: products, compared in registers, and only the hits written.

A program has a tile of products. It counts its hits, takes so many places of the output by one atomic addition, and
writes rows and columns there: there is no n-by-m matrix. Tiles are numbered so that those that run at a time share
their vectors in L2.
"""

# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false, reportIndexIssue=false

import torch
import triton
import triton.language as tl

_BLOCK = 1 << 16
_ERROR = 0.0012
"""More than a product of unit vectors is off in float16, which tensor cores multiply as quickly as bfloat16."""


@triton.jit
def _near(
    queries, stored, found_rows, found_columns, found, bound, rows, columns, capacity, width: tl.constexpr,
    ITSELF: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    down, across = tl.cdiv(rows, BLOCK_M), tl.cdiv(columns, BLOCK_N)
    program = tl.program_id(0)
    first_row = program // (GROUP * across) * GROUP
    tall = min(down - first_row, GROUP)
    top = first_row + program % (GROUP * across) % tall
    left = program % (GROUP * across) // tall
    row = top * BLOCK_M + tl.arange(0, BLOCK_M)
    column = left * BLOCK_N + tl.arange(0, BLOCK_N)
    if (not ITSELF) or (left + 1) * BLOCK_N > top * BLOCK_M + 1:
        scores = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
        for start in range(0, width, BLOCK_K):
            at = start + tl.arange(0, BLOCK_K)
            one = tl.load(
                queries + row[:, None].to(tl.int64) * width + at[None, :],
                mask=(row[:, None] < rows) & (at[None, :] < width), other=0.0,
            )  # fmt: skip
            other = tl.load(
                stored + column[None, :].to(tl.int64) * width + at[:, None],
                mask=(column[None, :] < columns) & (at[:, None] < width), other=0.0,
            )  # fmt: skip
            scores = tl.dot(one, other, scores)
        hit = (scores >= bound) & (row[:, None] < rows) & (column[None, :] < columns)
        if ITSELF:
            hit = hit & (row[:, None] < column[None, :])
        flat = tl.reshape(hit.to(tl.int32), (BLOCK_M * BLOCK_N,))
        count = tl.sum(flat, axis=0)
        if count > 0:
            begin = tl.atomic_add(found, count.to(tl.int64))
            place = begin + tl.cumsum(flat, axis=0) - 1
            fits = (flat > 0) & (place < capacity)
            every_row = tl.reshape(tl.broadcast_to(row[:, None], (BLOCK_M, BLOCK_N)), (BLOCK_M * BLOCK_N,))
            every_column = tl.reshape(tl.broadcast_to(column[None, :], (BLOCK_M, BLOCK_N)), (BLOCK_M * BLOCK_N,))
            tl.store(found_rows + place, every_row.to(tl.int64), mask=fits)
            tl.store(found_columns + place, every_column.to(tl.int64), mask=fits)


def neighbours(
    queries: torch.Tensor, stored: torch.Tensor | None, floor: float, capacity: int = 1 << 20
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """As `exact_neighbours` of the CPU, and as `exact_pairs` where `stored` is None: candidates in float16, each
    confirmed in float64.

    Args:
        queries: float32 [n, d] of length 1, on the GPU.
        stored: float32 [m, d], there, too.
        floor: the least cosine.
        capacity: candidates there is room for at first; it is made to fit.

    Returns:
        int64 [k] rows, int64 [k] columns, float32 [k] cosines; by row and column.
    """
    other = queries if stored is None else stored
    row, column = _candidates(queries, other, floor - _ERROR, stored is None, capacity)
    order = torch.argsort(row * max(1, len(other)) + column)
    row, column = row[order], column[order]
    cosine = torch.empty(len(row), dtype=torch.float32, device=queries.device)
    for part in torch.arange(len(row), device=queries.device).split(_BLOCK):
        exact = (queries[row[part]].double() * other[column[part]].double()).sum(dim=1)
        cosine[part] = exact.float()
    hit = cosine >= torch.tensor(floor, dtype=torch.float32, device=queries.device)
    return row[hit], column[hit], cosine[hit]


def _candidates(
    queries: torch.Tensor, stored: torch.Tensor, bound: float, itself: bool, capacity: int
) -> tuple[torch.Tensor, torch.Tensor]:
    (rows, width), columns, device = queries.shape, len(stored), queries.device
    one, other = (each.to(torch.float16).contiguous() for each in (queries, stored))
    while True:
        found = torch.zeros(1, dtype=torch.int64, device=device)
        row, column = (torch.empty(capacity, dtype=torch.int64, device=device) for _ in range(2))
        if tiles := triton.cdiv(rows, 128) * triton.cdiv(columns, 128):
            _near[(tiles,)](
                one, other, row, column, found, bound, rows, columns, capacity, width,
                ITSELF=itself, BLOCK_M=128, BLOCK_N=128, BLOCK_K=64, GROUP=8, num_warps=8, num_stages=3,
            )  # fmt: skip
        if (count := int(found)) <= capacity:
            return row[:count], column[:count]
        capacity = count
