"""`curate sample`: clips chosen by their vectors, as lists that `clip_selection.only` can name."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from curate_assets.video.assets.clip_embeddings import CLIP_EMBEDDINGS
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS
from curate_assets.video.clip_lists import path_of, write_list
from curate_assets.video.clip_vectors import good_rows
from curate_assets.video.duplicates.selected_clips import SelectedClips
from curate_assets.video.named_vectors import NamedVectors, stored_vectors
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.dedup.sampling import isolation, most_different, nearest_to
from gpu_kernels.errors import UserError

NEIGHBOURS = 5


@dataclass(frozen=True)
class ChosenClips:
    """A list that was written.

    Attributes:
        name: what `clip_selection.only` takes.
        path: below the root.
        of: how many clips it was chosen from.
        values: of the clips in their order, what each was chosen by; None where that is nothing.
        unknown: clips that were asked for and left out, because the root has none of that name.
        without_vector: how many clips could not be chosen, because they have no vector.
    """

    name: str
    path: str
    of: int
    clips: tuple[str, ...]
    values: tuple[float | None, ...]
    unknown: tuple[str, ...] = ()
    without_vector: int = 0


def candidates(tables: Tables, table: str = CLIP_EMBEDDINGS.name) -> NamedVectors:
    """The vectors of the clips that can be chosen: the selected ones, and of groups of duplicates the keepers.

    Raises:
        NotThere: there are none.
    """
    vectors, others = stored_vectors(tables, table), _copies(tables)
    rows = [row for row, clip in enumerate(vectors.ids.to_pylist()) if clip not in others]
    return NamedVectors(vectors.ids.take(pa.array(rows, pa.int64())), vectors.matrix[rows])


def _copies(tables: Tables) -> set[str]:
    """The clips that are no keepers. Of one that is in several shards, one is the keeper: then it is one."""
    if not tables.exists(DUPLICATE_GROUPS.name):
        return set()
    groups = good_rows(tables, DUPLICATE_GROUPS, ["clip_id", "keeper"])
    return {row["clip_id"] for row in groups} - {row["clip_id"] for row in groups if row["keeper"]}


def choose_diverse(tables: Tables, vectors: NamedVectors, count: int) -> ChosenClips:
    """Clips that are least like each other: each with its greatest cosine with one before it."""
    rows, cosines = most_different(vectors.matrix, count)
    return _written(tables, f"diverse-{count}", vectors, rows, [None, *cosines.tolist()[1:]])


def choose_isolated(tables: Tables, vectors: NamedVectors, count: int) -> ChosenClips:
    """Clips that are least like their nearest others: each with its isolation."""
    found = isolation(vectors.matrix, NEIGHBOURS)
    rows = np.argsort(-np.nan_to_num(found, nan=-1.0), kind="stable")[:count]
    values = [None if np.isnan(value) else float(value) for value in found[rows]]
    return _written(tables, f"isolated-{count}", vectors, rows, values)


def choose_nearest(
    tables: Tables, vectors: NamedVectors, labels: Mapping[str, str], title: str, count: int
) -> ChosenClips:
    """The clips that are most like those with the label `keep`, less all that have a label: each with its cosine. What
    is labelled and not there is told.

    Raises:
        UserError: no clip with a vector has the label `keep`.
    """
    ids = vectors.ids.to_pylist()
    examples = [row for row, clip in enumerate(ids) if labels.get(clip) == "keep"]
    if not examples:
        raise UserError("no selected clip has the label keep: label some that are to be sampled from")
    cosines = nearest_to(vectors.matrix, vectors.matrix[examples])
    open_rows = np.array([row for row, clip in enumerate(ids) if clip not in labels], np.int64)
    rows = open_rows[np.argsort(-cosines[open_rows], kind="stable")[:count]]
    found = _written(tables, f"{title}-{count}", vectors, rows, cosines[rows].tolist())
    return replace(found, unknown=tuple(sorted(labels.keys() - _there(tables))))


def choose_listed(tables: Tables, clips: Collection[str], title: str) -> ChosenClips:
    """Clips that are listed in a file, as far as the root has them.

    Raises:
        UserError: the root has none of them.
    """
    there = _there(tables)
    found, unknown = sorted(there & {*clips}), sorted({*clips} - there)
    if not found:
        raise UserError("the root has none of the listed clips: their ids are in the column clip_id of `clips`")
    name = write_list(tables.storage, title, found, [None] * len(found))
    return ChosenClips(name, path_of(name), len(there), tuple(found), (None,) * len(found), tuple(unknown))


def _there(tables: Tables) -> set[str]:
    """The clips of the root."""
    return set(tables.read(CLIPS, columns=["clip_id"], where="status = 'ok'")["clip_id"].to_pylist())


def _written(
    tables: Tables, title: str, vectors: NamedVectors, rows: np.ndarray, values: Sequence[float | None]
) -> ChosenClips:
    if len(rows) == 0:
        raise UserError("there is no clip to choose: all that are selected have a label")
    clips: list[str] = vectors.ids.take(pa.array(rows)).to_pylist()
    name = write_list(tables.storage, title, clips, values)
    missing = {*SelectedClips.of(tables).rows["clip_id"].to_pylist()} - _copies(tables) - {*vectors.ids.to_pylist()}
    return ChosenClips(name, path_of(name), len(vectors.ids), tuple(clips), tuple(values), without_vector=len(missing))
