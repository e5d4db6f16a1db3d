"""`duplicate_groups`: which selected clips show the same, and which of them is kept, from the pairs of all shards.

A pair counts only while both its clips are selected and have the vectors it was measured on, so the groups do not
depend on the order in which shards arrive or are made again.
"""

from collections.abc import Collection
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate_assets.graph.drift import too_few
from curate_assets.graph.graph import Asset
from curate_assets.graph.platform import CheckLimits, PlatformConfig
from curate_assets.graph.shard_checks import Check, Finding, Problems, Shard, nothing_wrong
from curate_assets.graph.whole_table import Gathered, Made
from curate_assets.video.assets.clip_embeddings import CLIP_EMBEDDINGS
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.clips import CLIP_ID
from curate_assets.video.assets.duplicate_pairs import DUPLICATE_PAIRS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS, VIDEO_ID
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.selected_vectors import ClipNode, digest, good_rows, rows_by_shard, selected_vectors, within
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.pipeline.commit import in_order
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.dedup.groups import DuplicateGroupsConfig, Quality, connected_components, keeper
from gpu_kernels.errors import UserError
from gpu_kernels.shots.splitting import SECOND

DUPLICATE_GROUPS = Table(
    name="duplicate_groups",
    grain="clip",
    keys=("video_id", "clip_id"),
    version="2",
    sections=("duplicate_groups",),
    identity=("keeper",),
    columns=(
        VIDEO_ID,
        CLIP_ID,
        Column("group_id", pa.string(), "digest of the group's members"),
        Column("group_size", pa.int32(), "clips in the group; 1 for a clip without duplicates"),
        Column("keeper", pa.bool_(), "whether this clip is the one that is kept"),
        Column("keeper_clip_id", pa.string(), "the one that is kept"),
    ),
    description=(
        "Every selected clip of every shard and the group of near-duplicates that it belongs to, by connected "
        "components of the pairs. One clip of each group is its keeper: by the source's resolution, then its "
        "bitrate, the clip's length, its sharpness, its id."
    ),
)


def group_duplicates(tables: Tables, config: DuplicateGroupsConfig) -> dict[str, pa.Table]:
    """Rows of every shard: each selected clip with its group and the group's keeper."""
    selected = [row for row in good_rows(tables, CLIP_SELECTION) if row["selected"]]
    nodes = {ClipNode(row["clip_id"], row["shard"]): row["video_id"] for row in selected}
    vectors = selected_vectors(tables)
    fingerprint_of = dict(zip(vectors.nodes, vectors.fingerprints, strict=True))
    edges: list[tuple[ClipNode, ClipNode]] = []
    for pair in good_rows(tables, DUPLICATE_PAIRS):
        a, b = ClipNode(pair["clip_a"], pair["shard_a"]), ClipNode(pair["clip_b"], pair["shard_b"])
        current = a in fingerprint_of and b in fingerprint_of
        if not current or pair["vectors"] != digest([fingerprint_of[a], fingerprint_of[b]]):
            continue
        if _duplicates(pair, config):
            edges.append((a, b))
    groups = connected_components(nodes, edges)
    quality = _quality(tables, {node for group in groups if len(group) > 1 for node in group})
    made: dict[str, list[Row]] = {shard: [] for shard in tables.shards(CLIP_SELECTION)}
    for group in groups:
        kept = keeper(group, quality) if len(group) > 1 else group[0]
        members = digest([[node.shard, node.clip_id] for node in group])
        for node in group:
            made[node.shard].append(
                {
                    "shard": node.shard,
                    "video_id": nodes[node],
                    "clip_id": node.clip_id,
                    "group_id": members,
                    "group_size": len(group),
                    "keeper": node == kept,
                    "keeper_clip_id": kept.clip_id,
                    "status": "ok",
                    "fingerprint": digest(
                        [DUPLICATE_GROUPS.name, DUPLICATE_GROUPS.version, config.settings(), members, kept.shard]
                    ),
                }
            )
    return {
        shard: in_order(DUPLICATE_GROUPS, [pa.Table.from_pylist(rows, schema=DUPLICATE_GROUPS.rows_schema)])
        for shard, rows in made.items()
    }


def _duplicates(pair: Row, config: DuplicateGroupsConfig) -> bool:
    """Whether a pair counts; one whose brightness over time could not be compared does not, unless nobody asks.

    A clip's id has the content of its file in it, so the same one in two shards is the same clip.
    """
    least, found = config.min_luma_correlation, pair["luma_correlation"]
    alike = pair["clip_a"] == pair["clip_b"] or least is None or (found is not None and found >= least)
    return alike and pair["similarity"] >= config.min_similarity


def _quality(tables: Tables, nodes: Collection[ClipNode]) -> dict[ClipNode, Quality]:
    """What some clips are chosen by; what is not known of one counts as nothing."""
    found = dict.fromkeys(nodes, Quality())
    for shard, clips in rows_by_shard(tables, nodes).items():
        of_these = f"status = 'ok' AND {within('video_id', {clip['video_id'] for clip in clips})}"
        columns = ["video_id", "width", "height", "bytes", "duration_ns"]
        videos = {row["video_id"]: row for row in tables.read(SOURCE_VIDEOS, shard, columns, of_these).to_pylist()}
        boards: dict[str, list[Row]] = {}
        for row in tables.read(STORYBOARDS, shard, ["video_id", "frame", "sharpness"], of_these).to_pylist():
            boards.setdefault(row["video_id"], []).append(row)
        for clip in clips:
            video, span = videos.get(clip["video_id"]), range(clip["start_frame"], clip["end_frame"])
            sharpness = [row["sharpness"] for row in boards.get(clip["video_id"], []) if row["frame"] in span]
            found[ClipNode(clip["clip_id"], shard)] = Quality(
                pixels=video["width"] * video["height"] if video else 0,
                bitrate=video["bytes"] * 8 * SECOND / max(1, video["duration_ns"]) if video else 0.0,
                length_ns=clip["end_ns"] - clip["start_ns"],
                sharpness=float(np.mean(sharpness)) if sharpness else 0.0,
            )
    return found


def kept_clips(config: Any, clips: pa.Table, inputs: Any) -> list[bool]:
    """Which rows of `clips` are selected and the keeper of their group: the ones that captions and files are made of.

    Raises:
        NotGrouped: a selected clip has no group yet.
    """
    selected = {
        row["clip_id"] for row in inputs[CLIP_SELECTION.name].to_pylist() if row["status"] == "ok" and row["selected"]
    }
    groups = {row["clip_id"]: row["keeper"] for row in inputs[DUPLICATE_GROUPS.name].to_pylist()}
    missing = sorted(clip for clip in clips["clip_id"].to_pylist() if clip in selected and clip not in groups)
    if missing:
        shard = clips["shard"][0].as_py()
        raise NotGrouped(
            f"{len(missing)} selected clips of {shard} are in no duplicate group ({missing[0]}, ...): "
            f"`curate materialize --select duplicate_pairs --shard {shard}`, then `--select duplicate_groups`"
        )
    return [clip in selected and groups[clip] for clip in clips["clip_id"].to_pylist()]


class NotGrouped(UserError):
    """Selected clips that duplicate_groups does not know yet."""


GROUPED = (CLIP_SELECTION.name, DUPLICATE_GROUPS.name)
"""What decides whether a clip is delivered."""


def _made(tables: Tables, config: PlatformConfig, _: str) -> Made:
    rows = group_duplicates(tables, config.section(DUPLICATE_GROUPS.name, DuplicateGroupsConfig))
    clips = [row for part in rows.values() for row in part.select(["group_id", "group_size", "keeper"]).to_pylist()]
    return Made(
        rows,
        {
            "groups": len({row["group_id"] for row in clips}),
            "groups_of_several": len({row["group_id"] for row in clips if row["group_size"] > 1}),
            "duplicates": sum(not row["keeper"] for row in clips),
            "shards": sorted(rows),
        },
    )


def _one_keeper(shard: Shard) -> Problems:
    keepers: dict[str, int] = {}
    for row in shard.rows(DUPLICATE_GROUPS):
        keepers[row["group_id"]] = keepers.get(row["group_id"], 0) + row["keeper"]
    return [f"group {group} has {count} keepers" for group, count in keepers.items() if count != 1]


class DuplicateGroupsLimits(CheckLimits):
    """What the checks of `duplicate_groups` accept."""

    max_duplicate_share: float = Field(default=0.8, ge=0, le=1)
    """Greatest share of the selected clips of all shards that are duplicates of others."""


def _few(shard: Shard) -> Finding:
    clips, checks = shard.rows(DUPLICATE_GROUPS), shard.limits(DuplicateGroupsLimits)
    if note := too_few(shard, len(clips), "clips"):
        return Finding([], note=note)
    duplicates = sum(not row["keeper"] for row in clips)
    share, limit = duplicates / len(clips), checks.max_duplicate_share
    said = f"{duplicates} of {len(clips)} clips are duplicates: {share:.1%}, more than {limit:.1%}"
    return Finding([said] if share > limit else [], {"duplicate_share": share})


CHECKS = (
    Check(
        DUPLICATE_GROUPS,
        "one_keeper_per_group",
        "Every group keeps exactly one clip.",
        nothing_wrong(_one_keeper),
        "select group_id, count(*) as clips, count(*) filter (keeper) as keepers from duplicate_groups "
        "group by group_id having keepers <> 1",
        blocking=True,
    ),
    Check(
        DUPLICATE_GROUPS,
        "duplicates_few",
        "Duplicates are within checks.max_duplicate_share of the selected clips.",
        _few,
        "select group_id, group_size, shard, clip_id, keeper from duplicate_groups "
        "where group_size > 1 order by group_size desc, group_id, keeper desc",
    ),
)

GATHER = Gathered(DUPLICATE_GROUPS, _made, (DUPLICATE_PAIRS, CLIP_EMBEDDINGS, CLIP_SELECTION, SOURCE_VIDEOS))


def _above_the_floor(config: Any) -> None:
    least, floor = config.duplicate_groups.min_similarity, config.duplicate_pairs.floor_similarity
    if least < floor:
        raise ValueError(
            f"duplicate_groups.min_similarity ({least}) is below duplicate_pairs.floor_similarity ({floor}), "
            "where no pair is recorded"
        )


ASSET = Asset(
    DUPLICATE_GROUPS,
    GATHER,
    "duplicates",
    CHECKS,
    section=DuplicateGroupsConfig,
    agrees=_above_the_floor,
    limits=DuplicateGroupsLimits,
    same_for_all="clips of all shards are grouped",
    exported=True,
)
