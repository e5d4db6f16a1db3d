"""Vectors with the ids of what they stand for: those of a root in memory, or those of anything on a disk, by parts."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate_assets.video.assets.clip_embeddings import CLIP_EMBEDDINGS
from curate_assets.video.clip_vectors import selected_vectors, vector_batches
from curate_assets.video.duplicates.selected_clips import SelectedClips
from curate_resources.storage.root import Storage
from curate_resources.tables.lance_tables import Tables
from curate_resources.tables.stored_vectors import Rows, StoredVectors
from gpu_kernels.errors import NotThere, UserError


@dataclass(frozen=True)
class NamedVectors:
    """Unit vectors in the order of their ids.

    Attributes:
        ids: [n] texts or whole numbers, all different.
        matrix: float32 [n, d].
    """

    ids: pa.Array
    matrix: np.ndarray


@dataclass(frozen=True)
class NamedPart:
    """Some of many: [n] ids, float32 [n, d] unit vectors, and where they are from."""

    ids: pa.Array
    matrix: np.ndarray
    origin: str


@dataclass(frozen=True)
class NamedRows:
    """Unit vectors on a disk, as many as there are.

    Attributes:
        ids: [n] of the rows, texts or whole numbers, all different.
        order: int64 [n] the rows in the order of their ids.
    """

    ids: pa.Array
    order: Rows
    vectors: StoredVectors


def stored_vectors(tables: Tables, name: str = CLIP_EMBEDDINGS.name) -> NamedVectors:
    """Those of the selected clips of a root, from the table of that name; a clip that is in several shards, once.

    Raises:
        NotThere: there are none.
        MixedModels: they are of different models.
    """
    found = selected_vectors(tables.under({CLIP_EMBEDDINGS.name: name}))
    if not found.nodes:
        raise _none_selected(name)
    first = {node.clip_id: row for row, node in reversed([*enumerate(found.nodes)])}
    ids = sorted(first)
    return NamedVectors(pa.array(ids), found.matrix[[first[each] for each in ids]])


def selected_parts(tables: Tables, name: str = CLIP_EMBEDDINGS.name) -> Iterator[NamedPart]:
    """As `stored_vectors`, some at a time and in no order."""
    tables = tables.under({CLIP_EMBEDDINGS.name: name})
    selected, found = SelectedClips.of(tables), False
    counts = pc.value_counts(selected.rows["clip_id"])  # pyright: ignore[reportAttributeAccessIssue]
    several = {each["values"]: False for each in counts.to_pylist() if each["counts"] > 1}
    for rows, matrix in vector_batches(tables, selected, ["shard", "clip_id"]):
        found, clips = True, rows["clip_id"]
        if several:
            ids = clips.to_pylist()
            new = np.array([not several.get(clip, False) for clip in ids])
            several |= dict.fromkeys(several.keys() & ids, True)
            clips, matrix = clips.filter(pa.array(new)), matrix[new]
        if len(clips):
            yield NamedPart(clips, matrix, name)
    if not found:
        raise _none_selected(name)


def kept_on_disk(parts: Iterable[NamedPart], storage: Storage, path: str) -> NamedRows:
    """Vectors as they come, in a dataset below a folder; only their ids stay in memory.

    Raises:
        UserError: they have other dimensions than those before them, ids of another type, or an id that is there
            twice; it says where they are from.
    """
    ids: list[pa.Array] = []
    origins: list[str] = []

    def matrices() -> Iterator[np.ndarray]:
        width = None
        for part in parts:
            width = width or part.matrix.shape[1]
            if part.matrix.shape[1] != width:
                raise UserError(
                    f"{part.origin} has vectors of {part.matrix.shape[1]} dimensions, and {origins[0]} of {width}: "
                    "give vectors of one model"
                )
            if ids and part.ids.type != ids[0].type:
                raise UserError(f"{part.origin} has ids of type {part.ids.type}, and {origins[0]} of {ids[0].type}")
            ids.append(part.ids)
            origins.append(part.origin)
            yield part.matrix

    vectors = StoredVectors.written(storage, path, matrices())
    assert vectors is not None, "whoever gives parts sees to it that there are some"
    together = pa.concat_arrays(ids)
    order = pc.call_function("array_sort_indices", [together]).to_numpy().astype(np.int64)
    ordered = together.take(pa.array(order))
    repeated = pc.call_function("equal", [ordered[1:], ordered[:-1]])
    same = np.flatnonzero(repeated.to_numpy(zero_copy_only=False))
    if len(same):
        ends = np.cumsum([len(part) for part in ids])
        one, other = (origins[int(np.searchsorted(ends, order[row], "right"))] for row in (same[0], same[0] + 1))
        raise UserError(f"{ordered[same[0]].as_py()!r} is in {one} and again in {other}: an id must be there once")
    return NamedRows(together, order, vectors)


def _none_selected(name: str) -> NotThere:
    return NotThere(f"no selected clip has a vector in {name}: `curate materialize --select +{name},clip_selection`")
