"""Concepts: the biggest clusters of kept clips, typical and untypical ones, and what a balanced set has of them."""

from collections import defaultdict
from dataclasses import dataclass

from curate_assets.video.assets.concept_clusters import CONCEPT_CLUSTERS
from curate_assets.video.assets.training_dataset import TRAINING_DATASET, balance_of
from curate_assets.video.balancing import Share
from curate_assets.video.report.funnel import Key
from curate_assets.video.report.library import Library
from curate_assets.video.report.shown_clips import Clip, clip_paths, shown, storyboard_pictures

CLUSTERS = 12
"""Clusters shown."""
_NEAREST, _FARTHEST = 6, 3


@dataclass(frozen=True)
class Concept:
    """A cluster: its number, how many clips it has, and of these the nearest to its centroid and the farthest."""

    number: int
    size: int
    nearest: tuple[Clip, ...]
    farthest: tuple[Clip, ...]


@dataclass(frozen=True)
class Concepts:
    """The biggest clusters, of `total` with `clips` clips."""

    total: int
    clips: int
    biggest: tuple[Concept, ...]


def concepts(library: Library) -> Concepts | None:
    """The biggest clusters first; None where there are none."""
    if not library.written(CONCEPT_CLUSTERS):
        return None
    members: dict[int, list[tuple[float, Key]]] = defaultdict(list)
    for row in library.rows(CONCEPT_CLUSTERS, ["shard", "clip_id", "cluster", "distance"]):
        if (key := (row["shard"], row["clip_id"])) in library.clips:
            members[row["cluster"]].append((row["distance"], key))
    if not members:
        return None
    biggest = sorted(members, key=lambda number: (-len(members[number]), number))[:CLUSTERS]
    chosen: dict[int, tuple[list[Key], list[Key]]] = {}
    for number in biggest:
        ordered = [key for _, key in sorted(members[number])]
        chosen[number] = ordered[:_NEAREST], ordered[_NEAREST:][-_FARTHEST:]
    every = [key for both in chosen.values() for keys in both for key in keys]
    pictures, paths = storyboard_pictures(library, every), clip_paths(library, every)

    def clips(keys: list[Key]) -> tuple[Clip, ...]:
        return tuple(shown(library, key, pictures, paths.get(key)) for key in keys)

    found = tuple(Concept(number, len(members[number]), *map(clips, chosen[number])) for number in biggest)
    return Concepts(len(members), sum(map(len, members.values())), found)


def balance(library: Library) -> tuple[Share, ...]:
    """The groups of the training set before and after it was balanced; none where it was not."""
    if not library.written(TRAINING_DATASET):
        return ()
    return tuple(balance_of(library.tables.read(TRAINING_DATASET, columns=["status", "balanced_by"])))
