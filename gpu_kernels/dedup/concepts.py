"""Concepts: clusters of what clips show, and how far a clip is from its cluster's middle and from its neighbours."""

from dataclasses import dataclass

import numpy as np
from pydantic import Field

from gpu_kernels.dedup.products import cosines_of
from gpu_kernels.dedup.sampling import isolation
from gpu_kernels.models.files import Device
from gpu_kernels.strict import StrictModel


class ConceptClustersConfig(StrictModel):
    """Clusters of clips that show similar things."""

    unless_default = frozenset({"mini_batch"})
    without_effect = frozenset({"device"})

    clusters: int | None = Field(default=None, ge=2)
    """How many clusters there are; `null`: none are made. Some tens tell kinds of scenes apart, thousands single
    subjects."""
    iterations: int = Field(default=50, ge=1)
    """Most iterations of k-means, which ends earlier when no clip changes its cluster."""
    mini_batch: bool = False
    """Train by batches of random clips, each clip at most once, and not by all of them in each iteration: several times
    quicker for a million clips, and clusters that are about as tight. `iterations` are then the most batches."""
    seed: int = Field(default=42, ge=0)
    """Of k-means."""
    device: Device = "cpu"
    """What goes through the vectors: CPUs, or one GPU of the machine that runs this, with the same result; `auto` is a
    GPU where there is one."""
    neighbours: int = Field(default=5, ge=1)
    """Nearest clips of its cluster that a clip's isolation is measured to."""
    generation: int = Field(default=1, ge=1)
    """Raise it to train the clusters anew from the clips that there are now. Until then new clips join the clusters
    that there are, whose numbers stay."""


@dataclass(frozen=True)
class ConceptMembers:
    """Of each vector of a cluster, float32 [m] the cosine distance to its centroid, and float32 [m] its isolation among
    them: see `sampling.isolation`."""

    distances: np.ndarray
    isolation: np.ndarray


def members(vectors: np.ndarray, centroid: np.ndarray, neighbours: int) -> ConceptMembers:
    """How typical the vectors of a cluster are of it.

    Args:
        vectors: float32 [m, d] at unit length.
        centroid: float32 [d] at unit length.
        neighbours: that isolation is measured to.
    """
    rows = np.arange(len(vectors))
    to_centroid = cosines_of(vectors, rows, centroid[None], np.zeros_like(rows))
    return ConceptMembers(1 - np.clip(to_centroid, -1, 1), isolation(vectors, neighbours))
