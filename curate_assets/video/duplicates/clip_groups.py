"""The rows of `duplicate_groups` as groups."""

from collections import defaultdict
from dataclasses import dataclass

from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.duplicates.evidence import Key
from curate_assets.video.duplicates.selected_clips import SelectedClips, columns_of
from curate_resources.declarations.table import Row
from curate_resources.tables.lance_tables import Tables, one_of, quoted
from gpu_kernels.errors import NotThere


@dataclass(frozen=True)
class Member:
    """A clip of a group; `tier`, `similarity` and `share` say why it is removed, and are None for the keeper."""

    clip: Key
    uri: str
    tier: str | None
    similarity: float | None
    share: float | None


@dataclass(frozen=True)
class ClipGroup:
    """Clips that show the same, the keeper first, then the most similar."""

    keeper: Key
    members: tuple[Member, ...]


def clip_groups(tables: Tables, count: int, tier: str | None = None) -> tuple[list[ClipGroup], int]:
    """The biggest groups of several clips, of all or of those from which a tier removes a clip; and how many there are.

    Raises:
        NotThere: clips were never grouped.
    """
    tables.dataset(DUPLICATE_GROUPS.name)
    where = "group_size > 1" if tier is None else f"tier = {quoted(tier)}"
    rows = tables.read(DUPLICATE_GROUPS, columns=["group_id", "group_size"], where=where)
    biggest = rows.group_by("group_id").aggregate([("group_size", "max")])
    biggest = biggest.sort_by([("group_size_max", "descending"), ("group_id", "ascending")])
    return _groups(tables, biggest["group_id"].slice(0, count).to_pylist()), biggest.num_rows


def groups_of(tables: Tables, name: str) -> list[ClipGroup]:
    """The group of that id, or those of the clips of that id, which may be in several shards; also groups of one.

    Raises:
        NotThere: there is none, or clips were never grouped.
    """
    tables.dataset(DUPLICATE_GROUPS.name)
    where = f"group_id = {quoted(name)} OR clip_id = {quoted(name)} OR concat(shard, '/', clip_id) = {quoted(name)}"
    rows = tables.read(DUPLICATE_GROUPS, columns=["group_id"], where=where)
    if rows.num_rows == 0:
        raise NotThere(
            f"{name} is no selected clip and no group: `curate duplicates show` lists groups, "
            '`curate query "select shard, clip_id from duplicate_groups"` clips; what was selected since is in none '
            "until `curate materialize --select duplicate_pairs,duplicate_groups`"
        )
    return _groups(tables, sorted(set(rows["group_id"].to_pylist())))


@dataclass(frozen=True)
class Outdated:
    """How far groups are from the clips that are selected now: `gone` are in a group and not selected any more, `new`
    are selected and in no group yet."""

    gone: int
    new: int


def outdated(tables: Tables) -> Outdated:
    """That of all groups."""
    selected = SelectedClips.of(tables)
    grouped = columns_of(tables, DUPLICATE_GROUPS, ["shard", "clip_id"], "status = 'ok'")
    known = int((selected.places(grouped["shard"], grouped["clip_id"]) >= 0).sum())
    return Outdated(grouped.num_rows - known, len(selected) - known)


def _groups(tables: Tables, names: list[str]) -> list[ClipGroup]:
    if not names:
        return []
    columns = ["shard", "video_id", "clip_id", "group_id", "keeper", "tier", "similarity", "share"]
    rows = tables.read(DUPLICATE_GROUPS, columns=columns, where=one_of("group_id", names)).to_pylist()
    videos = one_of("video_id", {row["video_id"] for row in rows})
    known = tables.read(SOURCE_VIDEOS, columns=["shard", "video_id", "uri"], where=f"status = 'ok' AND {videos}")
    uris = {(row["shard"], row["video_id"]): row["uri"] for row in known.to_pylist()}
    members: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        members[row["group_id"]].append(row)
    found: list[ClipGroup] = []
    for name in names:
        own = sorted(members[name], key=lambda row: (not row["keeper"], -(row["similarity"] or 0), row["clip_id"]))
        each = [
            Member(
                (row["shard"], row["clip_id"]),
                uris.get((row["shard"], row["video_id"]), ""),
                row["tier"],
                row["similarity"],
                row["share"],
            )
            for row in own
        ]
        found.append(ClipGroup(each[0].clip, tuple(each)))
    return found
