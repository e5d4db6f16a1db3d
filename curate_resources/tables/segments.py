"""Segments of an index: immutable files of arrays about the rows of some shards, named by what they hold.

A segment says of every shard that it covers which state of its rows it was made from. Whoever searches takes of the
segments what is still so, and looks at all other shards directly; so an index is never wrong, only incomplete. Nothing
points at a segment but its place, and writers need not agree: two segments of one shard are one too many, no more.
"""

import hashlib
import json
import mmap
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate_resources.storage import object_stores
from curate_resources.storage.root import Storage, is_local, local_path
from curate_resources.storage.scratch import Scratch

INDEXES = "indexes"
"""The folder below the root."""

_READERS_AGE = 3600.0
"""Seconds for which a segment stays that is needed no more: somebody may be about to read it."""
ENDING = ".safetensors"
"""How the names of segments end."""


@dataclass(frozen=True)
class Segment:
    """What a segment covers.

    Attributes:
        path: below the root.
        states: by shard, what its rows were.
        starts: int64 [shards + 1], where each shard's rows begin among all that are covered.
    """

    path: str
    states: Mapping[str, str]
    starts: NDArray[np.int64]

    @property
    def rows(self) -> int:
        """How many rows it covers."""
        return int(self.starts[-1])


@dataclass(frozen=True)
class Covered:
    """A segment, and the shards that it is to be asked about: another one has the rest, or they have changed."""

    segment: Segment
    shards: frozenset[str]

    def places(self, rows: NDArray[np.int64], of: Mapping[str, range]) -> NDArray[np.int64]:
        """Where rows of the segment are now.

        Args:
            of: by shard, the places of its rows.

        Returns:
            int64 [len(rows)]; -1 for rows of other shards.
        """
        first = [of[shard].start if shard in self.shards else -1 for shard in self.segment.states]
        number = np.searchsorted(self.segment.starts, rows, "right") - 1
        begins = np.array(first, np.int64)[number]
        return np.where(begins < 0, -1, begins + rows - self.segment.starts[number])


@dataclass(frozen=True)
class Segments:
    """The segments of one index.

    Attributes:
        kind: its folder below INDEXES.
    """

    storage: Storage
    kind: str

    @property
    def folder(self) -> str:
        """Where they lie."""
        return f"{INDEXES}/{self.kind}"

    def all(self) -> list[Segment]:
        """Those that are there, the largest first."""
        found: list[Segment] = []
        for name in self.storage.files(self.folder):
            if name.endswith(ENDING):
                with suppress(FileNotFoundError):  # removed meanwhile
                    found.append(_segment(self.storage, f"{self.folder}/{name}"))
        return sorted(found, key=lambda each: (-each.rows, each.path))

    def covering(self, states: Mapping[str, str]) -> tuple[list[Covered], list[str]]:
        """What segments know of shards in these states, each shard once, and the shards that none does."""
        left, found = dict(states), list[Covered]()
        for segment in self.all():
            own = frozenset(shard for shard, state in segment.states.items() if left.get(shard) == state)
            if own:
                found.append(Covered(segment, own))
                for shard in own:
                    del left[shard]
        return found, list(left)

    def write(self, states: Mapping[str, str], counts: Sequence[int], arrays: Mapping[str, NDArray[Any]]) -> Segment:
        """Add a segment.

        Args:
            states: of the shards that it covers, in the order of its rows.
            counts: how many rows each has.
        """
        from safetensors.numpy import save

        about = {"states": json.dumps(states), "counts": json.dumps(list(counts))}
        whole = save({name: np.ascontiguousarray(values) for name, values in arrays.items()}, about)
        path = f"{self.folder}/{hashlib.sha256(whole).hexdigest()[:32]}{ENDING}"
        if not self.storage.exists(path):
            self.storage.write(path, whole)
        return _segment(self.storage, path)

    def forget(self, needed: Sequence[Covered]) -> None:
        """Remove the segments that are none of these, if nobody can be about to read them."""
        kept = {each.segment.path for each in needed}
        for file in list(self.storage.walk(self.folder, recursive=False)):
            if file.path.endswith(ENDING) and file.path not in kept and time.time() - file.modified > _READERS_AGE:
                self.storage.delete(file.path)

    @contextmanager
    def opened(self, segment: Segment) -> Generator[Mapping[str, NDArray[Any]]]:
        """Its arrays, read as they are looked at: from the disk, or from a copy of this machine's."""
        uri = self.storage.uri(segment.path)
        with ExitStack() as stack:
            if is_local(uri):
                path = local_path(uri)
            else:
                path = stack.enter_context(Scratch.of_this_machine().copy(uri, object_stores.stat(uri)))
            file = stack.enter_context(open(path, "rb"))
            yield _arrays(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def shard_states(of: Mapping[str, range], rows: Sequence[Any]) -> dict[str, str]:
    """Digests of the rows of shards.

    Args:
        of: by shard, the places of its rows.
        rows: columns of text, pyarrow arrays, which say all that matters of a row.
    """
    import pyarrow as pa

    columns = [pa.chunked_array(column).cast(pa.large_string()).combine_chunks() for column in rows]
    parts: list[tuple[NDArray[np.int64], memoryview]] = []
    for column in columns:
        _, offsets, data = column.buffers()
        bounds = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1]
        parts.append((bounds, memoryview(data) if data is not None else memoryview(b"")))
    states: dict[str, str] = {}
    for shard, places in of.items():
        found = hashlib.sha256()
        for bounds, data in parts:
            own = bounds[places.start : places.stop + 1]
            found.update(np.diff(own).tobytes())
            found.update(data[own[0] : own[-1]])
        states[shard] = found.hexdigest()[:32]
    return states


def _header(storage: Storage, path: str) -> tuple[dict[str, Any], int]:
    length = int.from_bytes(storage.read(path, 0, 8), "little")
    return json.loads(storage.read(path, 8, length)), 8 + length


@lru_cache(maxsize=256)
def _segment(storage: Storage, path: str) -> Segment:
    about = _header(storage, path)[0]["__metadata__"]
    starts = np.concatenate([[0], np.cumsum(json.loads(about["counts"]))]).astype(np.int64)
    return Segment(path, json.loads(about["states"]), starts)


_KINDS = {"F32": np.float32, "F16": np.float16, "I32": np.int32, "I64": np.int64, "U64": np.uint64, "U8": np.uint8}


def _arrays(whole: mmap.mmap) -> dict[str, NDArray[Any]]:
    """The arrays of a safetensors file, without a copy."""
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    found: dict[str, NDArray[Any]] = {}
    for name, about in header.items():
        if name != "__metadata__":
            first, last = about["data_offsets"]
            kind = np.dtype(_KINDS[about["dtype"]])
            values = np.frombuffer(whole, kind, (last - first) // kind.itemsize, 8 + length + first)
            found[name] = values.reshape(about["shape"])
    return found
