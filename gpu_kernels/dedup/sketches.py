"""Short forms of unit vectors, which rule out at a sixth of the cost that two are near.

A sketch is a projection on orthonormal directions, the principal ones of a sample, so that it shortens distances:
|P x - P y| <= |x - y|, and the latter is sqrt(2 - 2 t) for a cosine of t. What the sketches rule out is no pair; what
they leave is a candidate. Both statements are exact, roundings included.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.dedup.products import TileProduct, Vectors

Sketches = NDArray[np.float16]

_BLOCK = 4096
_WIDTHS = (62, 126, 254, 510)
"""Directions: with two numbers that are added, rows have a width that CPUs like."""
_TRIED = 2048
_BESIDE = 4
"""Candidates per row beside the true ones."""
_FAR = 4
_HALF_FLOAT = 1e-3
"""More than rounding to float16 changes the distance of two sketches."""


@dataclass(frozen=True)
class Sketcher:
    """A projection; `directions` is float32 [s, d], orthonormal."""

    directions: Vectors

    @classmethod
    def of(cls, sample: Vectors, width: int) -> "Sketcher":
        """On the principal directions of a sample, float32 [n, d]; all of them, if there are no more than `width`."""
        moments = np.zeros((sample.shape[1], sample.shape[1]))
        for start in range(0, len(sample), _BLOCK):
            block = sample[start : start + _BLOCK].astype(np.float64)
            moments += block.T @ block
        _, directions = np.linalg.eigh(moments)  # the largest come last
        return cls(np.ascontiguousarray(directions[:, ::-1][:, :width].T, np.float32))

    @classmethod
    def fitting(cls, sample: Vectors, floor: float, rows: int) -> "Sketcher":
        """The shortest sketches that leave few candidates beside the true pairs: the lower the floor, the longer.

        Args:
            sample: float32 [n, d], random vectors.
            floor: the least cosine of a pair.
            rows: that there are in all, which make pairs by the square.
        """
        every = cls.of(sample, sample.shape[1])
        few = np.ascontiguousarray(sample[:: max(1, len(sample) // _TRIED)], np.float32)
        true = int((few @ few.T >= floor).sum())
        for width in _WIDTHS:
            if width >= sample.shape[1]:
                break
            shorter = cls(every.directions[:width])
            near, sketches = NearSketches(width, floor, 0), shorter(few)
            asking = near.asking(sketches, len(few))
            left = int((near.scores(asking, near.asked(sketches, len(few))) >= near.bound(asking)).sum())
            if left - true <= _BESIDE * len(few) ** 2 / max(rows, len(few)):
                return shorter
        return every

    def __call__(self, vectors: Vectors) -> Sketches:
        """Of unit vectors, float32 [n, d], as float16 [n, s]: of each row by itself."""
        product = TileProduct(vectors.shape[1], float(vectors.size) * len(self.directions), "float32")
        found = np.empty((len(vectors), len(self.directions)), np.float16)
        for start in range(0, len(vectors), _BLOCK):
            block = np.ascontiguousarray(vectors[start : start + _BLOCK], np.float32)
            found[start : start + _BLOCK] = product(block, self.directions)
        return found


class NearSketches:
    """Which of two sets of sketches may belong to vectors with a cosine of `floor` at least.

    The squared distance is one product: (a, -|a|^2 / 2, 1) . (b, 1, -|b|^2 / 2) = -|a - b|^2 / 2.

    Args:
        width: s of the sketches.
        floor: the least cosine.
        work: products that are to come, about.
    """

    def __init__(self, width: int, floor: float, work: float) -> None:
        self._width = width
        self._distance = float(np.sqrt(max(0.0, 2 - 2 * floor))) + _HALF_FLOAT
        self._product = TileProduct(width + 2, work * (width + 2))

    def asking(self, sketches: Sketches | Vectors, rows: int) -> Vectors:
        """One side, float32 [rows, s + 2]; the rows that are too many are near nothing."""
        found = np.zeros((rows, self._width + 2), np.float32)
        found[:, -2:] = -_FAR, 1
        found[: len(sketches), :-2] = sketches
        found[: len(sketches), -2] = -0.5 * np.einsum("ij,ij->i", *[found[: len(sketches), :-2]] * 2)
        return found

    def asked(self, sketches: Sketches | Vectors, rows: int) -> Vectors:
        """The other side, likewise."""
        found = self.asking(sketches, rows)
        found[:, -2:] = found[:, :-3:-1]
        return found

    def bound(self, asking: Vectors) -> float:
        """From which on `scores` leave a candidate."""
        half = -asking[:, -2]
        longest = 2 * float(half.max(where=half < _FAR, initial=0))  # squared
        norm = longest + self._distance * (2 * longest**0.5 + self._distance)  # of what may be near, at most
        return -(self._distance**2) / 2 - self._product.error * norm - 1e-4

    def scores(self, asking: Vectors, asked: Vectors) -> Vectors:
        """-|a - b|^2 / 2 of all pairs, float32 [n, m], to be used before the next call."""
        return self._product(asking, asked)
