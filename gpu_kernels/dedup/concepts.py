"""Concepts: which cluster a vector belongs to, and how far it is from that cluster's middle and from its neighbours."""

from dataclasses import dataclass

import numpy as np
from pydantic import Field

from gpu_kernels.dedup.kmeans import assign
from gpu_kernels.dedup.sampling import isolation
from gpu_kernels.strict import StrictModel


class ConceptClustersConfig(StrictModel):
    """Clusters of clips that show similar things."""

    clusters: int | None = Field(default=None, ge=2)
    """How many clusters there are; `null`: none are made. Some tens tell kinds of scenes apart, thousands single
    subjects."""
    iterations: int = Field(default=50, ge=1)
    """Most iterations of k-means, which ends earlier when no clip changes its cluster."""
    seed: int = Field(default=42, ge=0)
    """Of k-means."""
    neighbours: int = Field(default=5, ge=1)
    """Nearest clips of its cluster that a clip's isolation is measured to."""
    generation: int = Field(default=1, ge=1)
    """Raise it to train the clusters anew from the clips that there are now. Until then new clips join the clusters
    that there are, whose numbers stay."""


@dataclass(frozen=True)
class Concepts:
    """Of each vector, int32 [n] its cluster, float32 [n] the cosine distance to its centroid, and float32 [n] its
    isolation: see `sampling.isolation`, here among the vectors of its cluster."""

    clusters: np.ndarray
    distances: np.ndarray
    isolation: np.ndarray


def concepts(vectors: np.ndarray, centroids: np.ndarray, neighbours: int) -> Concepts:
    """The concept of each vector.

    Args:
        vectors: float32 [n, d] at unit length.
        centroids: float32 [k, d] at unit length.
        neighbours: that isolation is measured to.
    """
    clusters, cosines = assign(vectors, centroids)
    alone = np.full(len(vectors), np.nan, np.float32)
    order = np.argsort(clusters, kind="stable")
    for rows in np.split(order, np.cumsum(np.bincount(clusters, minlength=len(centroids)))[:-1]):
        alone[rows] = isolation(vectors[rows], neighbours)
    return Concepts(clusters, 1 - cosines, alone)
