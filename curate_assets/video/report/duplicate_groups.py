"""The biggest groups of duplicates: which clip each keeps, and why the others are removed, side by side in time."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS
from curate_assets.video.duplicates.evidence import Evidence, Side, evidence_of
from curate_assets.video.report.funnel import Key
from curate_assets.video.report.library import Library
from curate_assets.video.report.shown_clips import Clip, clip_paths, shown, storyboard_pictures
from curate_assets.video.thumbnails import Moment, moment_pictures
from curate_resources.declarations.table import Row

GROUPS = 20
"""Groups shown."""
MEMBERS = 12
"""Clips shown of a group."""
STRIPS = 3
"""Spans shown of a group."""
MOMENTS = 6
"""Pictures shown of each side of a span."""


@dataclass(frozen=True)
class Strip:
    """A span of a removed clip beside the same one of its keeper: pictures at the same moments of both."""

    evidence: Evidence
    removed: Clip
    moments: tuple[tuple[bytes | None, bytes | None], ...]


@dataclass(frozen=True)
class Member:
    """A clip of a group; `similarity` to the keeper (or the best clip) and `tier` are None for itself, and where other
    clips lie between them."""

    clip: Clip
    keeper: bool
    similarity: float | None
    tier: str | None


@dataclass(frozen=True)
class Group:
    """The keeper and the first others of `size` clips, and the spans that they share."""

    size: int
    members: tuple[Member, ...]
    strips: tuple[Strip, ...]


@dataclass(frozen=True)
class Duplicates:
    """The biggest groups of duplicates, and of clips that are alike in meaning; and how many there are of each."""

    total: int
    groups: tuple[Group, ...]
    total_alike: int
    alike: tuple[Group, ...]


@dataclass(frozen=True)
class _Member:
    key: Key
    best: bool
    similarity: float | None
    tier: str | None


def duplicates(library: Library) -> Duplicates | None:
    """Groups of more than one clip, the biggest first; None without duplicate_groups."""
    if not library.written(DUPLICATE_GROUPS):
        return None
    columns = ["shard", "clip_id", "group_id", "group_size", "keeper", "similarity", "tier"]
    columns += ["alike_id", "alike_size", "alike_similarity"]
    rows = library.rows(DUPLICATE_GROUPS, columns, "(group_size > 1 OR alike_size > 1)")
    rows = [row for row in rows if (row["shard"], row["clip_id"]) in library.clips]
    removing = _grouped((row for row in rows if row["group_size"] > 1), "group_id", "similarity")
    alike = _grouped((row for row in rows if row["alike_size"] > 1), "alike_id", "alike_similarity")
    evidence = {group[0].key: _evidence(library, group) for group in removing[:GROUPS]}
    every = {each.key for group in (*removing[:GROUPS], *alike[:GROUPS]) for each in group[:MEMBERS]}
    every |= {each.other.clip for own in evidence.values() for each in own}
    pictures, paths = storyboard_pictures(library, sorted(every)), clip_paths(library, every)
    clips = {key: shown(library, key, pictures, paths.get(key)) for key in sorted(every)}
    moments = _moments(library, [each for own in evidence.values() for each in own])
    return Duplicates(
        len(removing),
        tuple(
            _group(group, clips, _strips(library, evidence[group[0].key], clips, moments))
            for group in removing[:GROUPS]
        ),
        len(alike),
        tuple(_group(group, clips, ()) for group in alike[:GROUPS]),
    )


def _grouped(rows: Iterable[Row], name: str, similarity: str) -> list[list[_Member]]:
    """The biggest first; of each the best clip, then the least similar: a threshold that is too low shows there."""
    groups: dict[str, list[_Member]] = defaultdict(list)
    for row in rows:
        key = (row["shard"], row["clip_id"])
        tier = row["tier"] if similarity == "similarity" else "meaning"
        best = row[name] == "/".join(key)
        groups[row[name]].append(_Member(key, best, row[similarity], None if best else tier))
    for members in groups.values():
        members.sort(key=lambda each: (not each.best, -1.0 if each.similarity is None else each.similarity, each.key))
    return sorted(groups.values(), key=lambda members: (-len(members), members[0].key))


def _group(members: Sequence[_Member], clips: Mapping[Key, Clip], strips: tuple[Strip, ...]) -> Group:
    some = tuple(Member(clips[each.key], each.best, each.similarity, each.tier) for each in members[:MEMBERS])
    return Group(len(members), some, strips)


def _evidence(library: Library, group: Sequence[_Member]) -> list[Evidence]:
    """Of the keeper and the first removed clips, why they were removed: the first spans."""
    pairs = evidence_of(library.tables, [group[0].key]) if group[0].best else {}
    found = [
        each for one in group[1:MEMBERS] for each in pairs.get((group[0].key, one.key), []) if each.tier == one.tier
    ]
    return found[:STRIPS]


def _strips(
    library: Library, evidence: Sequence[Evidence], clips: Mapping[Key, Clip], pictures: Mapping[Moment, bytes]
) -> tuple[Strip, ...]:
    return tuple(
        Strip(
            each,
            clips[each.other.clip],
            tuple(
                (pictures.get(one), pictures.get(other))
                for one, other in zip(_at(library, each.one), _at(library, each.other), strict=True)
            ),
        )
        for each in evidence
    )


def _moments(library: Library, evidence: Sequence[Evidence]) -> dict[Moment, bytes]:
    moments = [moment for each in evidence for side in (each.one, each.other) for moment in _at(library, side)]
    return moment_pictures(library.tables, moments)


def _at(library: Library, side: Side) -> list[Moment]:
    """Moments of a span, or of the whole clip, evenly spread."""
    clip = library.clips[side.clip]
    start = clip["start_ns"] if side.start_ns is None else side.start_ns
    end = clip["end_ns"] if side.end_ns is None else side.end_ns
    times = (start + (2 * step + 1) * (end - start) // (2 * MOMENTS) for step in range(MOMENTS))
    return [Moment(side.clip[0], clip["video_id"], time) for time in times]
