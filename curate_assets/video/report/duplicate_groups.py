"""The biggest groups of near-duplicates: which clip each keeps, and how similar the others are to it."""

from collections import defaultdict
from dataclasses import dataclass

from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS
from curate_assets.video.report.funnel import Key
from curate_assets.video.report.library import Library
from curate_assets.video.report.shown_clips import Clip, clip_paths, shown, storyboard_pictures

GROUPS = 20
"""Duplicate groups shown."""
MEMBERS = 12
"""Clips shown of a duplicate group."""


@dataclass(frozen=True)
class Member:
    """A clip of a duplicate group; `similarity` to the keeper is None for itself and where no pair was recorded."""

    clip: Clip
    keeper: bool
    similarity: float | None


@dataclass(frozen=True)
class DuplicateGroup:
    """The keeper and the first others of `size` clips that show the same."""

    size: int
    members: tuple[Member, ...]


@dataclass(frozen=True)
class Duplicates:
    """The biggest groups, how many there are, and the similarity from which clips count as duplicates."""

    total: int
    threshold: float
    groups: tuple[DuplicateGroup, ...]


def duplicates(library: Library, threshold: float) -> Duplicates | None:
    """Groups of more than one clip, the biggest first; None without duplicate_groups."""
    if not library.written(DUPLICATE_GROUPS):
        return None
    groups: dict[str, list[tuple[Key, bool]]] = defaultdict(list)
    for row in library.rows(DUPLICATE_GROUPS, ["shard", "clip_id", "group_id", "keeper"], "group_size > 1"):
        if (row["shard"], row["clip_id"]) in library.clips:
            groups[row["group_id"]].append(((row["shard"], row["clip_id"]), row["keeper"]))
    biggest = sorted(groups, key=lambda group: (-len(groups[group]), min(groups[group])))[:GROUPS]
    pairs = library.similarities() if biggest else {}
    chosen: list[tuple[int, list[tuple[Key, bool, float | None]]]] = []
    for group in biggest:
        keeper = next((key for key, kept in groups[group] if kept), None)
        members = [
            (key, kept, pairs.get((key, keeper), pairs.get((keeper, key))) if keeper and not kept else None)
            for key, kept in groups[group]
        ]
        # The keeper, then the least similar: where the threshold is too low, it shows there.
        members.sort(key=lambda member: (not member[1], -1.0 if member[2] is None else member[2], member[0]))
        chosen.append((len(members), members[:MEMBERS]))
    every = [key for _, members in chosen for key, _, _ in members]
    pictures, paths = storyboard_pictures(library, every), clip_paths(library, every)
    pictured = tuple(
        DuplicateGroup(
            size,
            tuple(Member(shown(library, key, pictures, paths.get(key)), kept, near) for key, kept, near in members),
        )
        for size, members in chosen
    )
    return Duplicates(len(groups), threshold, pictured)
