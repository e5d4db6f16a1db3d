"""The nearest centroid of each vector on a GPU: products fused with their arg-max, so that no n-by-k matrix is written.

A program has a block of vectors and goes through all centroids; what it keeps of each vector is the best product, whose
it is, and the second best, which tells whether float64 has to decide. Reads of centroids come from L2, so that the
tensor cores are the bound: 2 n k d operations.
"""

# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false, reportIndexIssue=false

import torch
import triton
import triton.language as tl

from gpu_kernels.dedup.products import FLOAT32_ERROR, Precision

_EXACT_ROWS = 4096


@triton.jit
def _assign(
    vectors, centroids, nearest, best, second, rows, clusters, width: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    inner = tl.arange(0, BLOCK_K)
    most = tl.full((BLOCK_M,), -float("inf"), tl.float32)
    next_most = tl.full((BLOCK_M,), -float("inf"), tl.float32)
    place = tl.zeros((BLOCK_M,), tl.int32)
    for first in range(0, clusters, BLOCK_N):
        cluster = first + tl.arange(0, BLOCK_N)
        scores = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
        for start in range(0, width, BLOCK_K):
            at = start + inner
            one = tl.load(
                vectors + row[:, None].to(tl.int64) * width + at[None, :],
                mask=(row[:, None] < rows) & (at[None, :] < width), other=0.0,
            )  # fmt: skip
            other = tl.load(
                centroids + cluster[None, :] * width + at[:, None],
                mask=(cluster[None, :] < clusters) & (at[:, None] < width), other=0.0,
            )  # fmt: skip
            scores = tl.dot(one, other, scores, input_precision=PRECISION)
        scores = tl.where(cluster[None, :] < clusters, scores, -float("inf"))
        here, where = tl.max(scores, axis=1, return_indices=True, return_indices_tie_break_left=True)
        rest = tl.max(tl.where(tl.arange(0, BLOCK_N)[None, :] == where[:, None], -float("inf"), scores), axis=1)
        next_most = tl.maximum(tl.maximum(next_most, rest), tl.minimum(most, here))
        place = tl.where(here > most, first + where, place)
        most = tl.maximum(most, here)
    tl.store(nearest + row, place, mask=row < rows)
    tl.store(best + row, most, mask=row < rows)
    tl.store(second + row, next_most, mask=row < rows)


def assign(
    vectors: torch.Tensor, centroids: torch.Tensor, precision: Precision = "float32"
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `gpu_kernels.dedup.kmeans.assign`: the first of the nearest centroids, as float64 has it.

    Args:
        vectors: float32 [n, d] of length 1, on the GPU.
        centroids: float32 [k, d] of length 1, there, too.
        precision: "float32" is three products in TF32, and float64 where two centroids are nearly the same; "fast" is
            one in float16 and leaves it at that, which training can do with.

    Returns:
        int32 [n] which one, and float32 [n] the cosine.
    """
    fast, (rows, width), clusters = precision == "fast", vectors.shape, len(centroids)
    one, other = (each.to(torch.float16 if fast else torch.float32).contiguous() for each in (vectors, centroids))
    nearest = torch.empty(rows, dtype=torch.int32, device=vectors.device)
    best, second = (torch.empty(rows, dtype=torch.float32, device=vectors.device) for _ in range(2))
    block = 128 if fast else 64
    if rows:
        _assign[(triton.cdiv(rows, block),)](
            one, other, nearest, best, second, rows, clusters, width,
            BLOCK_M=block, BLOCK_N=block, BLOCK_K=64 if fast else 32, PRECISION="tf32" if fast else "tf32x3",
            num_warps=8 if fast else 4, num_stages=3,
        )  # fmt: skip
    if not fast:
        unsure = torch.nonzero(second >= best - 2 * FLOAT32_ERROR).flatten()
        for part in unsure.split(_EXACT_ROWS):
            nearest[part] = (vectors[part].double() @ centroids.double().T).argmax(dim=1).int()
        for part in torch.arange(rows, device=vectors.device).split(1 << 16):
            exact = (vectors[part].double() * centroids[nearest[part].long()].double()).sum(dim=1)
            best[part] = exact.float()
    return nearest, best.clamp(-1, 1)
