"""`duplicate_groups`: which selected clips show the same, and which of them is kept, from the pairs of all shards.

A pair counts only while both its clips are selected and are what it was measured on, so the groups do not depend on the
order in which shards arrive or are made again. A group is a star: what is removed is near its keeper itself, and not
near something that is near something else.
"""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from curate_assets.graph.drift import too_few
from curate_assets.graph.graph import Asset
from curate_assets.graph.platform import CheckLimits, PlatformConfig
from curate_assets.graph.shard_checks import Check, Finding, Problems, Shard, nothing_wrong
from curate_assets.graph.whole_table import Gathered, Made
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.clips import CLIP_ID
from curate_assets.video.assets.duplicate_pairs import DUPLICATE_PAIRS
from curate_assets.video.assets.measurements.technical_quality import TECHNICAL_QUALITY
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS, VIDEO_ID
from curate_assets.video.duplicates.clip_quality import ranks
from curate_assets.video.duplicates.selected_clips import SelectedClips, digest
from curate_assets.video.duplicates.valid_pairs import MEASURED_ON, ValidPairs, valid_pairs
from curate_resources.declarations.table import Column, Table
from curate_resources.pipeline.plan import MissingInput
from curate_resources.tables.history import History
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.dedup.groups import Stars, components, stars
from gpu_kernels.dedup.tiers import TIERS, DuplicateGroupsConfig
from gpu_kernels.errors import UserError

DUPLICATE_GROUPS = Table(
    name="duplicate_groups",
    grain="clip",
    keys=("video_id", "clip_id"),
    version="5",
    sections=("duplicate_groups",),
    identity=("keeper",),
    columns=(
        VIDEO_ID,
        CLIP_ID,
        Column("group_id", pa.string(), "names the group: shard and id of its keeper, with a slash between them"),
        Column("group_size", pa.int32(), "clips in the group; 1 for a clip without duplicates"),
        Column("keeper", pa.bool_(), "whether this clip is the one that is kept"),
        Column("keeper_shard", pa.string(), "shard of the one that is kept"),
        Column("keeper_clip_id", pa.string(), "the one that is kept"),
        Column("tier", pa.string(), "of a removed clip, the strictest tier of its pair with its keeper"),
        Column(
            "similarity",
            pa.float32(),
            "of a removed clip, to its keeper, as that tier measures it; null where other clips lie between them "
            "(`max_links` above 1)",
        ),
        Column("share", pa.float32(), "of a removed clip, the share of its length that its keeper shows, too"),
        Column(
            "alike_id",
            pa.string(),
            "names a group of clips of the same meaning, by shard and id of its best one; null for those without any",
        ),
        Column("alike_size", pa.int32(), "clips in that group; 1 where there is none"),
        Column("alike_similarity", pa.float32(), "cosine to its best clip; null for that one itself"),
    ),
    description=(
        "Every selected clip of every shard, and the group of duplicates that it belongs to: a star around the clip "
        "that is kept, which is the best by `keep_by`. Each removed clip has a pair with its keeper. Clips of the same "
        "meaning are named beside that, and stay."
    ),
)


def group_duplicates(tables: Tables, config: DuplicateGroupsConfig) -> dict[str, pa.Table]:
    """Rows of every shard: each selected clip with its group and the group's keeper."""
    clips = SelectedClips.of(tables)
    pairs = valid_pairs(tables, clips)
    removing = pairs.where(pairs.counts(config) & np.isin(pairs.tier, [TIERS.index(tier) for tier in config.tiers]))
    alike = pairs.where((pairs.tier == TIERS.index("meaning")) & (pairs.similarity >= config.min_similarity))
    rank = _ranks(tables, clips, pairs, removing, alike, config)
    # Strictest tier first, then the most similar: the first edge between two clips is the evidence for removing one.
    removing = removing.where(np.lexsort((-removing.similarity, removing.tier)))
    on_a, on_b = removing.share_a >= config.min_share, removing.share_b >= config.min_share
    edges = np.concatenate([np.flatnonzero(on_b), np.flatnonzero(on_a)])
    forward = np.arange(len(edges)) < on_b.sum()
    source = np.where(forward, removing.a[edges], removing.b[edges])
    target = np.where(forward, removing.b[edges], removing.a[edges])
    shares = np.where(forward, removing.share_b[edges], removing.share_a[edges])
    kept = stars(rank, source, target, config.max_links)
    like = stars(rank, np.concatenate([alike.a, alike.b]), np.concatenate([alike.b, alike.a]))
    evidence = np.where(kept.edge >= 0, edges[kept.edge] if len(edges) else 0, 0)
    return _rows(
        tables,
        config,
        clips,
        kept,
        like,
        tier=_at(removing.tier, evidence, kept.edge, -1),
        similarity=_at(removing.similarity, evidence, kept.edge, np.nan),
        share=_at(shares, kept.edge, kept.edge, np.nan),
        alike_similarity=_at(np.tile(alike.similarity, 2), like.edge, like.edge, np.nan),
    )


def _at(values: NDArray[Any], index: NDArray[np.int64], edge: NDArray[np.int64], otherwise: float) -> NDArray[Any]:
    """Values at places, where there is an edge."""
    found = np.full(len(edge), otherwise, values.dtype)
    found[edge >= 0] = values[index[edge >= 0]]
    return found


def _ranks(
    tables: Tables,
    clips: SelectedClips,
    pairs: ValidPairs,
    removing: ValidPairs,
    alike: ValidPairs,
    config: DuplicateGroupsConfig,
) -> NDArray[np.int64]:
    """Of every clip; those of no pair come last, and nothing is looked up for them."""
    ends = np.unique(np.concatenate([removing.a, removing.b, alike.a, alike.b]))
    rank = np.arange(len(clips), 2 * len(clips))
    one = np.searchsorted(ends, np.concatenate([removing.a, alike.a]))
    other = np.searchsorted(ends, np.concatenate([removing.b, alike.b]))
    whole = ~np.isin(ends, np.concatenate([removing.a[removing.window_a], removing.b[removing.window_b]]))
    rank[ends] = ranks(tables, clips, ends, components(len(ends), one, other), config.keep_by, whole)
    return rank


def _rows(
    tables: Tables, config: DuplicateGroupsConfig, clips: SelectedClips, kept: Stars, like: Stars, **found: NDArray[Any]
) -> dict[str, pa.Table]:
    size = np.bincount(kept.keeper, minlength=len(clips))[kept.keeper]
    alike = np.bincount(like.keeper, minlength=len(clips))[like.keeper]
    names = clips.names
    keepers = clips.rows.take(pa.array(kept.keeper))
    recipe = [DUPLICATE_GROUPS.name, DUPLICATE_GROUPS.version, config.settings()]
    fingerprints = np.full(len(clips), digest(recipe), object)
    for place in np.flatnonzero(size > 1).tolist():
        keeper = int(kept.keeper[place])
        evidence = [str(found[name][place]) for name in ("tier", "similarity", "share")]
        fingerprints[place] = digest([recipe, names[keeper].as_py(), evidence])
    columns = {
        "shard": clips.rows["shard"],
        "video_id": clips.rows["video_id"],
        "clip_id": clips.rows["clip_id"],
        "group_id": names.take(pa.array(kept.keeper)),
        "group_size": pa.array(size, pa.int32()),
        "keeper": pa.array(kept.keeper == np.arange(len(clips))),
        "keeper_shard": keepers["shard"],
        "keeper_clip_id": keepers["clip_id"],
        "tier": pa.array(TIERS, pa.string()).take(pa.array(found["tier"], pa.int64(), mask=found["tier"] < 0)),
        "alike_id": names.take(pa.array(like.keeper, mask=alike == 1)),
        "alike_size": pa.array(alike, pa.int32()),
        **{
            name: pa.array(found[name], pa.float32(), mask=np.isnan(found[name]))
            for name in ("similarity", "share", "alike_similarity")
        },
        "status": pa.array(["ok"]).take(pa.array(np.zeros(len(clips), np.int64))),
        "error": pa.nulls(len(clips), DUPLICATE_GROUPS.schema.field("error").type),
        "fingerprint": pa.array(fingerprints, pa.string()),
    }
    schema = DUPLICATE_GROUPS.rows_schema
    rows = pa.table([columns[name] for name in schema.names], schema=schema)
    of_shards = {shard: rows.slice(places.start, len(places)) for shard, places in clips.shards.items()}
    return {shard: of_shards.get(shard, DUPLICATE_GROUPS.empty()) for shard in tables.shards(CLIP_SELECTION)}


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
    if not tables.exists(DUPLICATE_PAIRS.name) and len(SelectedClips.of(tables)):
        raise MissingInput(
            f"{DUPLICATE_GROUPS.name} needs {DUPLICATE_PAIRS.name}, which is not there: "
            f"`curate materialize --select {DUPLICATE_PAIRS.name}` first"
        )
    rows = group_duplicates(tables, config.section(DUPLICATE_GROUPS.name, DuplicateGroupsConfig))
    made = History(tables.storage).index().made()
    not_compared = [shard for shard, own in rows.items() if own.num_rows and (DUPLICATE_PAIRS.name, shard) not in made]
    clips = DUPLICATE_GROUPS.joined(rows)
    keeper, tiers = clips["keeper"].to_numpy(), clips["tier"].drop_null().value_counts().to_pylist()
    removed = {each["values"]: each["counts"] for each in tiers}
    return Made(
        rows,
        {
            "groups": int(keeper.sum()),
            "groups_of_several": int((keeper & (clips["group_size"].to_numpy() > 1)).sum()),
            "duplicates": int((~keeper).sum()),
            **{f"removed_{tier}": removed[tier] for tier in TIERS if tier in removed},
            "clips_alike": int((clips["alike_size"].to_numpy() > 1).sum()),
            "shards": sorted(rows),
            "shards_not_compared": sorted(not_compared),
        },
    )


def _one_keeper(shard: Shard) -> Problems:
    keepers: dict[str, int] = {}
    for row in shard.rows(DUPLICATE_GROUPS):
        keepers[row["group_id"]] = keepers.get(row["group_id"], 0) + row["keeper"]
    return [f"group {group} has {count} keepers" for group, count in keepers.items() if count != 1]


def _paired(shard: Shard) -> Problems:
    rows = [row for row in shard.good(DUPLICATE_GROUPS) if not row["keeper"]]
    if not rows:
        return []
    clips = SelectedClips.of(shard.tables)
    names, pairs = clips.names.to_pylist(), valid_pairs(shard.tables, clips)
    there = {frozenset((names[a], names[b])) for a, b in zip(pairs.a.tolist(), pairs.b.tolist(), strict=True)}
    through_others = shard.config.section(DUPLICATE_GROUPS.name, DuplicateGroupsConfig).max_links > 1
    return [
        f"{row['shard']}/{row['clip_id']} is removed, but has no pair with {row['group_id']}"
        for row in rows
        if frozenset((f"{row['shard']}/{row['clip_id']}", row["group_id"])) not in there
        and not (through_others and row["similarity"] is None)
    ]


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
        "removed_by_a_pair",
        "Every removed clip has a pair with its keeper that holds.",
        nothing_wrong(_paired),
        "select g.shard, g.clip_id, g.group_id, g.tier from duplicate_groups g where not g.keeper and not exists "
        "(select 1 from duplicate_pairs p where (p.shard_a, p.clip_a, p.shard_b, p.clip_b) in "
        "((g.shard, g.clip_id, g.keeper_shard, g.keeper_clip_id), (g.keeper_shard, g.keeper_clip_id, g.shard, "
        "g.clip_id)))",
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

GATHER = Gathered(
    DUPLICATE_GROUPS,
    _made,
    (DUPLICATE_PAIRS, CLIP_SELECTION, *dict.fromkeys(MEASURED_ON.values()), SOURCE_VIDEOS, TECHNICAL_QUALITY),
)


def _within_what_is_measured(config: Any) -> None:
    groups, pairs = config.duplicate_groups, config.duplicate_pairs
    if "meaning" in groups.tiers and not pairs.meaning:
        raise ValueError("duplicate_groups.tiers names meaning, which duplicate_pairs.meaning switches off")
    least, floor = groups.min_similarity, pairs.floor_similarity
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
    agrees=_within_what_is_measured,
    limits=DuplicateGroupsLimits,
    same_for_all="clips of all shards are grouped",
    exported=True,
)
