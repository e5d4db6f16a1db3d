"""k-means on a GPU: the same assignments and sums as by `gpu_kernels.dedup.kmeans`, to the last bit."""

# pyright: basic, reportMissingImports=false

from collections.abc import Iterable, Iterator

import numpy as np
import torch

from gpu_kernels.dedup.kmeans import GRID
from gpu_kernels.dedup.triton.assignment import assign


def assigned(
    batches: Iterable[np.ndarray], centroids: np.ndarray, device: str = "cuda"
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """As `kmeans.assigned`.

    Args:
        device: of torch; any other than a GPU runs by Triton's interpreter.
    """
    stay = torch.from_numpy(centroids).to(device)
    for batch in batches:
        yield batch, assign(_moved(batch, device), stay)[0].cpu().numpy()


def part_of_step(batches: Iterable[np.ndarray], centroids: np.ndarray, device: str = "cuda") -> np.ndarray:
    """As `kmeans.part_of_step`. Whole numbers are added up, so that the order in which threads do so makes no
    difference."""
    stay = torch.from_numpy(centroids).to(device)
    totals = torch.zeros(centroids.shape, dtype=torch.int64, device=device)
    for batch in batches:
        vectors = _moved(batch, device)
        nearest, _ = assign(vectors, stay)
        totals.index_add_(0, nearest.long(), (vectors * float(GRID)).round_().long())
    return totals.cpu().numpy() / np.float64(GRID)


def _moved(batch: np.ndarray, device: str) -> torch.Tensor:
    return torch.from_numpy(np.require(batch, np.float32, ("C", "W"))).to(device)
