"""Vectors in a Lance dataset that are more than memory holds: read fragment by fragment, or some rows at a time.

Work on them is given out in parts, in turn or to several workers (`engines.shared_work`), and joined in order, so that
the result is the same.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate_resources.storage.root import Storage
from gpu_kernels.errors import UserError

Vectors = NDArray[np.float32]
Rows = NDArray[np.int64]

_BATCH = 4096
_READ_AHEAD = 1 << 24
"""Bytes that are read before they are wanted."""
_FRAGMENT = 1 << 26
"""Bytes of vectors in a fragment that is written here: what one worker goes through in one part."""
_FORMAT = "2.0"
"""Of Lance's files: later ones, which can compress, take three times as long to write vectors, and twice to read."""
_COLUMN = "vector"


class Share(Protocol):
    """Calls a function with what all parts have in common and with each part; results in the order of the parts."""

    def __call__(self, function: Callable[[Any, Any], Any], common: Any, parts: Sequence[Any]) -> Iterator[Any]: ...


def in_turn(function: Callable[[Any, Any], Any], common: Any, parts: Sequence[Any]) -> Iterator[Any]:
    """One after another, here."""
    return (function(common, part) for part in parts)


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

    @classmethod
    def written(cls, storage: Storage, path: str, batches: Iterable[Vectors]) -> "StoredVectors | None":
        """A dataset of batches, float32 [n, d] each, in their order; whatever dataset was there before is no more.
        None: there is no batch."""
        import lance

        failed: list[BaseException] = []  # Lance would tell of it in words of its own
        coming = iter(batches)
        if (first := next(coming, None)) is None:
            return None
        column = pa.field(_COLUMN, pa.list_(pa.float32(), first.shape[1]))

        def records() -> Iterator[pa.RecordBatch]:
            try:
                for batch in chain([first], coming):
                    values = pa.FixedSizeListArray.from_arrays(pa.array(batch.reshape(-1)), batch.shape[1])
                    yield pa.record_batch([values], names=[_COLUMN])
            except BaseException as error:
                failed.append(error)
                raise

        rows = max(1, _FRAGMENT // (4 * first.shape[1]))
        storage.delete_folder(path)
        uri, options = storage.lance_uri(path), storage.lance_options
        reader = pa.RecordBatchReader.from_batches(pa.schema([column]), records())
        try:
            made = lance.write_dataset(
                reader, uri, storage_options=options or None, max_rows_per_file=rows, data_storage_version=_FORMAT
            )
        except Exception:
            if failed:
                raise failed[0] from None
            raise
        return cls(uri, made.version, _COLUMN, tuple(sorted(options.items())))

    def fragments(self) -> list[int]:
        """Numbers of the fragments; rows count through them in this order."""
        return [fragment.fragment_id for fragment in self._dataset.get_fragments()]

    def rows(self) -> int:
        """How many there are."""
        return self._dataset.count_rows()

    def batches(self, fragment: int) -> Iterator[Vectors]:
        """Of one fragment, float32 [n, d] each."""
        found = self._dataset.get_fragment(fragment)
        if found is not None:
            scan = found.to_batches(
                columns=[self.column], batch_size=_BATCH, batch_readahead=1, io_buffer_size=_READ_AHEAD
            )
            for batch in scan:
                yield self._vectors(batch.column(0))

    def fetch(self, rows: Rows) -> Vectors:
        """Of some rows, float32 [n, d], in any order."""
        dataset, found = self._dataset, np.zeros((0, 0), np.float32)
        order = np.argsort(rows, kind="stable")
        for start in range(0, len(rows), _BATCH):
            places = order[start : start + _BATCH]
            part = self._vectors(dataset.take(rows[places].tolist(), columns=[self.column]).column(0))
            if start == 0:
                found = np.empty((len(rows), part.shape[1]), np.float32)
            found[places] = part
        return found

    def sample(self, rows: int, seed: int, order: Rows | None = None) -> Vectors:
        """Of random rows, as many as this or all.

        Args:
            order: int64 [n] all rows, in an order that they are drawn by; None: as they are stored.
        """
        drawn = np.sort(np.random.default_rng(seed).permutation(self.rows())[:rows])
        return self.fetch(drawn if order is None else order[drawn])

    def at_random(self, rows: int, most: int, seed: int, order: Rows | None = None) -> Iterator[Vectors]:
        """All vectors in batches of so many random rows, each row once, or the first `most` of these batches.

        Args:
            order: as of `sample`.
        """
        drawn = np.random.default_rng([seed, 1]).permutation(self.rows())[: rows * most]
        for start in range(0, len(drawn), rows):
            some = np.sort(drawn[start : start + rows])
            yield self.fetch(some if order is None else order[some])

    @cached_property
    def _dataset(self) -> Any:
        """Opened once: that takes as long as to fetch hundreds of vectors."""
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
