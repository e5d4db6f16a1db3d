"""Pairs of the tier `meaning`: clips with near vectors."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate_assets.video.assets.clip_embeddings import CLIP_EMBEDDINGS
from curate_assets.video.duplicates.pair_rows import PairRows
from curate_assets.video.duplicates.selected_clips import (
    SelectedClips,
    Strings,
    columns_of,
    digest,
    matrix_of,
    one_length,
    one_model,
    unchanged,
)
from curate_assets.video.duplicates.shard_index import ShardIndex, parts
from curate_resources.declarations.table import Row
from curate_resources.tables.lance_tables import Tables
from curate_resources.tables.segments import Segments
from gpu_kernels.dedup.neighbours import exact_neighbours
from gpu_kernels.dedup.pivot_cells import PivotCells
from gpu_kernels.dedup.products import of_unit_length
from gpu_kernels.dedup.tiers import DuplicatePairsConfig

VECTORS = "clip_vectors-"
"""How the folders of the indexes of vectors begin."""
_FORMAT = "pivots in each segment"
"""What tells segments from those that other versions of this module made."""


def meaning_pairs(
    tables: Tables, clips: SelectedClips, shard: str, config: DuplicatePairsConfig, index: ShardIndex
) -> list[Row]:
    """All pairs with a clip of a shard whose vectors have a cosine of `floor_similarity` at least.

    Raises:
        MixedModels: vectors are of different models.
    """
    segments = vector_segments(tables, config)
    measured = clips.measured(tables, CLIP_EMBEDDINGS)
    own, queries = _vectors(tables, clips, measured, [shard])
    found: dict[tuple[int, int], float] = {}
    rows = PairRows(clips, measured)

    def add(one: NDArray[np.int64], other: NDArray[np.int64], cosine: NDArray[np.float32]) -> None:
        for x, y, similarity in zip(own[one].tolist(), other.tolist(), cosine.tolist(), strict=True):
            if x != y:
                found[rows.first(x, y)] = similarity

    floor = config.floor_similarity
    covered, rest = index.grown(segments, measured, lambda shards: _arrays(tables, clips, measured, shards, floor))
    for part in parts(clips, [shard, *(each for each in rest if each != shard)]):
        places, vectors = _vectors(tables, clips, measured, part)
        if len(own) and len(places):
            one_length(tables, [queries.shape[1], vectors.shape[1]])
        one, other, cosine = exact_neighbours(queries, vectors, floor)
        add(one, places[other], cosine)
    for each in covered:
        with segments.opened(each.segment) as arrays:
            cells = PivotCells.stored(arrays)
            if len(own):
                one_length(tables, [queries.shape[1], cells.vectors.shape[1]])
            one, other, cosine = cells.near(queries, floor)
        places = each.places(other, clips.shards)
        add(one[places >= 0], places[places >= 0], cosine[places >= 0])
    return [
        rows.row(a, b, tier="meaning", similarity=similarity, share_a=1.0, share_b=1.0)
        for (a, b), similarity in found.items()
    ]


def vector_segments(tables: Tables, config: DuplicatePairsConfig) -> Segments:
    """The index of the vectors of one model, for one floor.

    Raises:
        MixedModels: shards were embedded by different models.
    """
    kind = digest([one_model(tables), config.floor_similarity, _FORMAT])[:12]
    return Segments(tables.storage, f"{VECTORS}{kind}")


def _vectors(
    tables: Tables, clips: SelectedClips, measured: Strings, shards: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The clips of some shards that have a vector of length 1: their places, ascending, and the vectors."""
    rows = columns_of(tables, CLIP_EMBEDDINGS, ["shard", "clip_id", "fingerprint", "vector"], "status = 'ok'", shards)
    places = clips.places(rows["shard"], rows["clip_id"])
    order = unchanged(rows, places, measured)
    if len(order) == 0:
        return np.zeros(0, np.int64), np.zeros((0, 0), np.float32)
    chosen = rows["vector"].combine_chunks().take(pa.array(order))
    vectors = matrix_of(tables, chosen)
    usable = of_unit_length(vectors)
    return places[order][usable], vectors[usable]


def _arrays(
    tables: Tables, clips: SelectedClips, measured: Strings, shards: Sequence[str], floor: float
) -> dict[str, NDArray[np.generic]] | None:
    """The arrays of a segment that covers some shards; None where none of their clips has a vector."""
    places, vectors = _vectors(tables, clips, measured, shards)
    if len(places) == 0:
        return None
    return vars(PivotCells.made(vectors, clips.rows_within(shards, places), floor))
