"""Near pairs and clusters of the vectors of a Lance dataset that are more than memory holds.

Vectors are read fragment by fragment. What stays in memory are sketches, 124 or 252 bytes a row for copies, or the
centroids. Work is given out in parts, in turn or to several workers (`engines.shared_work`), and joined in order, so
that the result is the same.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gpu_kernels.dedup import kmeans
from gpu_kernels.dedup.pivot_pairs import Cells, Looks, Pivots, choose_pivots, confirmed, looks
from gpu_kernels.dedup.sketches import Sketcher, Sketches
from gpu_kernels.errors import UserError

Vectors = NDArray[np.float32]

_BATCH = 16384
_LOOKING = 1 << 17
"""Rows that look for cells in one part."""
_CANDIDATES = 1 << 18
"""Candidates that are confirmed in one part."""
_SAMPLE = 12288


class Share(Protocol):
    """Calls a function with what all parts have in common and with each part; results in the order of the parts."""

    def __call__(self, function: Callable[[Any, Any], Any], common: Any, parts: Sequence[Any]) -> list[Any]: ...


def in_turn(function: Callable[[Any, Any], Any], common: Any, parts: Sequence[Any]) -> list[Any]:
    """One after another, here."""
    return [function(common, part) for part in parts]


@dataclass(frozen=True)
class StoredVectors:
    """A column of unit vectors, lists of float32 or float16, in one version of a dataset; other processes can have it.

    Attributes:
        uri: of the dataset.
        version: of it.
        column: has no nulls, and vectors of one length.
        options: of the storage.
    """

    uri: str
    version: int
    column: str
    options: tuple[tuple[str, str], ...] = ()

    def fragments(self) -> list[int]:
        """Numbers of the fragments; rows count through them in this order."""
        return [fragment.fragment_id for fragment in self._dataset().get_fragments()]

    def rows(self) -> int:
        """How many there are."""
        return self._dataset().count_rows()

    def batches(self, fragment: int) -> Iterator[Vectors]:
        """Of one fragment, float32 [n, d] each."""
        found = self._dataset().get_fragment(fragment)
        if found is not None:
            for batch in found.to_batches(columns=[self.column], batch_size=_BATCH):
                yield self._vectors(batch.column(0))

    def fetch(self, rows: NDArray[np.int64]) -> Vectors:
        """Of some rows, in increasing order."""
        return self._vectors(self._dataset().take(rows.tolist(), columns=[self.column]).column(0))

    def sample(self, rows: int, seed: int) -> Vectors:
        """Of random rows, as many as this or all."""
        drawn = np.random.default_rng(seed).permutation(self.rows())[:rows]
        return self.fetch(np.sort(drawn))

    def _dataset(self) -> Any:
        import lance

        return lance.dataset(self.uri, version=self.version, storage_options=dict(self.options) or None)

    def _vectors(self, column: pa.Array | pa.ChunkedArray) -> Vectors:
        lists: Any = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        values, width = lists.flatten(), len(lists.flatten()) // max(1, len(lists))
        if lists.null_count or (pa.types.is_list(lists.type) and (np.diff(lists.offsets.to_numpy()) != width).any()):
            raise UserError(
                f"column {self.column} of {self.uri} has vectors of several lengths or none: write one kind of vector"
            )
        found = values.to_numpy(zero_copy_only=False).reshape(len(lists), width)
        if found.dtype != np.float32:
            found = found.astype(np.float32)
            found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)
        return found


def near_pairs(vectors: StoredVectors, floor: float, share: Share = in_turn, seed: int = 0) -> tuple[pa.Table, Pivots]:
    """All pairs of rows with a cosine of `floor` at least, found by cells around pivots.

    Returns:
        `row` and `other` int64, the smaller one first, and `cosine` float32, by row; and what they were found by,
        with the recall to expect.
    """
    if (rows := vectors.rows()) == 0:
        none, cosines = np.zeros(0, np.int64), np.zeros(0, np.float32)
        return pa.table({"row": none, "other": none, "cosine": cosines}), Pivots(cosines[:, None], 0.0, floor)
    sketcher = Sketcher.fitting(vectors.sample(_SAMPLE, seed), floor, rows)
    sketches = _joined(share(_sketched, (vectors, sketcher), vectors.fragments()))
    pivots = choose_pivots(sketches, vectors.fetch, floor, seed)
    edges = range(0, len(sketches), _LOOKING)
    parts = share(_looks, (sketches, pivots), [range(at, min(at + _LOOKING, len(sketches))) for at in edges])
    cells = Cells(parts, len(pivots.sketches))
    step = max(1, len(pivots.sketches) // 64)
    ranges = [range(at, min(at + step, len(pivots.sketches))) for at in range(0, len(pivots.sketches), step)]
    candidates = np.unique(np.concatenate(share(_candidates, (cells, sketches, floor), ranges), axis=1), axis=1)
    blocks = [candidates[:, at : at + _CANDIDATES] for at in range(0, candidates.shape[1], _CANDIDATES)]
    found = share(_confirmed, (vectors, floor), blocks) or [confirmed(candidates, vectors.fetch, floor)]
    row, other, cosine = (np.concatenate(each) for each in zip(*found, strict=True))
    return pa.table({"row": row, "other": other, "cosine": cosine}), pivots


def clusters(
    vectors: StoredVectors, count: int, iterations: int = 10, share: Share = in_turn, seed: int = 42
) -> Vectors:
    """Centroids by Lloyd's iterations over all fragments, float32 [count, d], begun by k-means++ on a sample."""
    random = np.random.default_rng(seed)
    centroids = kmeans.seeds(vectors.sample(max(_SAMPLE, 16 * count), seed), count, random)
    for _ in range(iterations):
        parts = share(_step, (vectors, centroids), vectors.fragments())
        centroids = kmeans.moved(np.sum(parts, axis=0), centroids)
    return centroids


def _joined(parts: list[Sketches]) -> Sketches:
    """One array of all, while each part goes as it is copied."""
    found = np.empty((sum(map(len, parts)), parts[0].shape[1]), np.float16)
    start = 0
    while parts:
        part = parts.pop(0)
        found[start : start + len(part)] = part
        start += len(part)
    return found


def _sketched(common: tuple[StoredVectors, Sketcher], fragment: int) -> Sketches:
    vectors, sketcher = common
    none = np.zeros((0, len(sketcher.directions)), np.float16)
    return np.concatenate([none, *(sketcher(batch) for batch in vectors.batches(fragment))])


def _looks(common: tuple[Sketches, Pivots], rows: range) -> Looks:
    sketches, pivots = common
    return looks(sketches[rows.start : rows.stop], rows.start, pivots)


def _candidates(common: tuple[Cells, Sketches, float], cells: range) -> NDArray[np.int64]:
    of, sketches, floor = common
    return of.candidates(sketches, floor, cells)


def _confirmed(common: tuple[StoredVectors, float], candidates: NDArray[np.int64]) -> Any:
    vectors, floor = common
    return confirmed(candidates, vectors.fetch, floor, 1 << 14)


def _step(common: tuple[StoredVectors, Vectors], fragment: int) -> NDArray[np.float64]:
    vectors, centroids = common
    totals = np.zeros(centroids.shape, np.float64)
    for batch in vectors.batches(fragment):
        totals += kmeans.part_of_step(batch, centroids)
    return totals
