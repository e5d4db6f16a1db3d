"""Which files of the indexes no comparison asks any more: of shards as they were, or of an earlier embedder."""

from collections.abc import Iterator
from contextlib import suppress

from curate_assets.video.assets.clip_embeddings import CLIP_EMBEDDINGS
from curate_assets.video.assets.picture_hashes import PICTURE_HASHES
from curate_assets.video.duplicates.compared_shards import COMPARED, shard_of
from curate_assets.video.duplicates.identical_pairs import CONTENTS
from curate_assets.video.duplicates.meaning_pairs import VECTORS, vector_segments
from curate_assets.video.duplicates.picture_pairs import PICTURES
from curate_assets.video.duplicates.selected_clips import MixedModels, SelectedClips
from curate_assets.video.duplicates.shard_index import ShardIndex
from curate_resources.declarations.table import Table
from curate_resources.storage.root import StoredFile
from curate_resources.tables.lance_tables import Tables
from curate_resources.tables.segments import ENDING, INDEXES, Segments
from gpu_kernels.dedup.tiers import DuplicatePairsConfig

_EARLIER = "/pivots.npz"
"""What lay beside segments of vectors before each had pivots of its own."""


def unneeded_segments(tables: Tables, config: DuplicatePairsConfig) -> Iterator[StoredFile]:
    """The segments that cover no shard as it is, and what was noted of shards that are gone."""
    clips = SelectedClips.of(tables)
    used: list[tuple[Segments, Table]] = []
    used += [(Segments(tables.storage, CONTENTS), PICTURE_HASHES)] if config.identical else []
    used += [(Segments(tables.storage, PICTURES), PICTURE_HASHES)] if config.picture else []
    unknown: str | None = None
    try:
        used += [(vector_segments(tables, config), CLIP_EMBEDDINGS)] if config.meaning else []
    except MixedModels:  # nobody can tell which of them are still to be compared
        unknown = f"{INDEXES}/{VECTORS}"
    needed = set[str]()
    for segments, table in used:
        covered, _ = ShardIndex(clips).covering(segments, clips.measured(tables, table))
        needed |= {each.segment.path for each in covered}
    with suppress(FileNotFoundError):
        for file in tables.storage.walk(INDEXES):
            if file.path.startswith(f"{COMPARED}/"):
                if shard_of(file.path) not in clips.shards:
                    yield file
                continue
            known = file.path.endswith((ENDING, _EARLIER))
            if known and file.path not in needed and not (unknown and file.path.startswith(unknown)):
                yield file
