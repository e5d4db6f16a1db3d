"""`duplicate_pairs`: which selected clips show the same, measured per shard against all shards that are there.

A row says what two clips are, and nothing of who was there first. So whichever shard of a pair is measured later finds
it, both find the same when they are measured at once, and the rows of all shards together are those of one run.
"""

from collections.abc import Sequence

import pyarrow as pa

from curate_assets.graph.graph import Asset
from curate_assets.graph.platform import PlatformConfig
from curate_assets.graph.shard_checks import Check, Problems, Shard, nothing_wrong
from curate_assets.graph.whole_table import Gathered, Made
from curate_assets.video.assets.clip_embeddings import CLIP_EMBEDDINGS
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.picture_hashes import PICTURE_HASHES
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.duplicates.compared_shards import ClipStates, ComparedShards
from curate_assets.video.duplicates.identical_pairs import identical_pairs
from curate_assets.video.duplicates.meaning_pairs import meaning_pairs
from curate_assets.video.duplicates.picture_pairs import picture_pairs
from curate_assets.video.duplicates.selected_clips import SelectedClips, digest
from curate_assets.video.duplicates.shard_index import LEAST_CLIPS, ShardIndex
from curate_assets.video.duplicates.unneeded_segments import unneeded_segments
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.pipeline.commit import in_order
from curate_resources.pipeline.plan import MissingInput
from curate_resources.sources.manifests import Manifests
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.dedup.tiers import DuplicatePairsConfig

DUPLICATE_PAIRS = Table(
    name="duplicate_pairs",
    grain="clip pair",
    keys=("shard_a", "clip_a", "shard_b", "clip_b", "tier", "span"),
    version="6",
    sections=("duplicate_pairs",),
    columns=(
        Column("shard_a", pa.string(), "shard of the first clip"),
        Column("clip_a", pa.string(), "the clip with the smaller id (and shard, if the ids are equal)"),
        Column("shard_b", pa.string(), "shard of the other clip"),
        Column("clip_b", pa.string(), "the other clip"),
        Column(
            "tier",
            pa.string(),
            "`identical`: the same content; `picture`: the same pictures in the same order; `meaning`: near vectors",
        ),
        Column("span", pa.int32(), "number of the span among those of the pair and tier, by time in the first clip"),
        Column(
            "similarity",
            pa.float32(),
            "1 for identical; for pictures 1 less the share of bits in which hashes differ; for meaning the cosine",
        ),
        Column(
            "start_a_ns", pa.int64(), "where the span begins in the first clip, in time of its video; null: no span"
        ),
        Column("end_a_ns", pa.int64(), "where it ends"),
        Column("start_b_ns", pa.int64(), "where it begins in the other clip, in time of its video"),
        Column("end_b_ns", pa.int64(), "where it ends there"),
        Column("speed", pa.float32(), "seconds of the other clip that pass in one of the first"),
        Column("view", pa.string(), "which part of each picture is alike: a, then b, as shares of their sides"),
        Column("mirrored", pa.bool_(), "whether one shows the mirror image of the other"),
        Column(
            "window",
            pa.string(),
            "which clip shows what is alike in a window before what stands still: `a`, `b` or `both`; null: neither",
        ),
        Column("motion_correlation", pa.float32(), "correlation of what moves, -1 to 1; null where nothing does"),
        Column(
            "verdict",
            pa.string(),
            "`copy`; `same_static_picture`: different moments of one scene; `undecidable`: nothing moves; null for "
            "meaning",
        ),
        Column("share_a", pa.float32(), "share of the first clip that all spans of this pair, tier and verdict cover"),
        Column("share_b", pa.float32(), "the same of the other clip"),
        Column(
            "measured_a",
            pa.string(),
            "fingerprint of what was measured of the first clip (or its id, which names its content): a pair counts "
            "only while this holds",
        ),
        Column("measured_b", pa.string(), "the same of the other clip"),
    ),
    description=(
        "Pairs of selected clips, at least one of this shard, that have the same content, the same pictures over some "
        "span, or near vectors: a row for every tier and span, with the evidence. Measurements: what is removed is "
        "decided by duplicate_groups."
    ),
)


def measure_pairs(
    tables: Tables, shard: str, config: DuplicatePairsConfig, segment_clips: int = LEAST_CLIPS
) -> pa.Table:
    """All pairs with a clip of `shard`, among the selected clips of all shards that are there. That it was compared
    with them is noted.

    Args:
        segment_clips: of so many clips that no segment of an index covers one is made, for whoever comes next.

    Raises:
        MixedModels: shards were embedded by different models.
    """
    compared = ComparedShards(tables.storage)
    entry = compared.begin(shard, _states(tables, SelectedClips.of(tables, [shard]), config, [shard])[shard])
    others = compared.all()
    versions, clips = _versions(tables), SelectedClips.of(tables)
    states = _states(tables, clips, config)
    compared.remove_others(others, states, entry)
    rows = _pairs(tables, clips, shard, config, ShardIndex(clips, segment_clips))
    # What changed meanwhile was left out.
    if _versions(tables) == versions or _states(tables, SelectedClips.of(tables), config) == states:
        compared.done(shard, entry, rows)
    return rows


def measured_pairs(tables: Tables, shard: str, config: DuplicatePairsConfig) -> pa.Table | None:
    """The stored pairs of a shard, if nothing is to be measured: it is as it was when it was compared, and those that
    came later were compared with it."""
    rows = tables.read(DUPLICATE_PAIRS, shard).drop_columns(["slot"])
    state = _states(tables, SelectedClips.of(tables, [shard]), config, [shard])[shard]
    return rows if ComparedShards(tables.storage).known(shard, state, rows) else None


def _states(
    tables: Tables, clips: SelectedClips, config: DuplicatePairsConfig, shards: Sequence[str] | None = None
) -> ClipStates:
    recipe = [DUPLICATE_PAIRS.name, DUPLICATE_PAIRS.version, config.settings()]
    return ClipStates.of(tables, clips, (PICTURE_HASHES, CLIP_EMBEDDINGS), recipe, shards)


def _versions(tables: Tables) -> list[int]:
    return [tables.version(table.name) for table in (CLIP_SELECTION, CLIPS, PICTURE_HASHES, CLIP_EMBEDDINGS)]


def _pairs(
    tables: Tables, clips: SelectedClips, shard: str, config: DuplicatePairsConfig, index: ShardIndex
) -> pa.Table:
    if shard not in clips.shards:
        return DUPLICATE_PAIRS.empty()
    found: list[Row] = []
    if config.identical:
        found += identical_pairs(tables, clips, shard, index)
    if config.picture:
        found += picture_pairs(tables, clips, shard, config, index)
    if config.meaning:
        found += meaning_pairs(tables, clips, shard, config, index)
    common = {"shard": shard, "status": "ok"}
    recipe = [DUPLICATE_PAIRS.name, DUPLICATE_PAIRS.version, config.settings()]
    rows = [row | common | {"fingerprint": digest([recipe, row["measured_a"], row["measured_b"]])} for row in found]
    return in_order(DUPLICATE_PAIRS, [pa.Table.from_pylist(rows, schema=DUPLICATE_PAIRS.rows_schema)])


def _similarities(shard: Shard) -> Problems:
    return [
        f"{row['clip_a']} and {row['clip_b']}, {row['tier']}: similarity {row['similarity']}"
        for row in shard.good(DUPLICATE_PAIRS)
        if not -1.001 <= row["similarity"] <= 1.001
    ]


def _spans(shard: Shard) -> Problems:
    return [
        f"{row['clip_a']} and {row['clip_b']}, span {row['span']}: {row[f'start_{side}_ns']} to {row[f'end_{side}_ns']}"
        for row in shard.good(DUPLICATE_PAIRS)
        if row["tier"] == "picture"
        for side in "ab"
        if not row[f"start_{side}_ns"] < row[f"end_{side}_ns"]
    ]


CHECKS = (
    Check(
        DUPLICATE_PAIRS,
        "similarities_in_range",
        "Similarities are within -1 and 1.",
        nothing_wrong(_similarities),
        "select clip_a, clip_b, tier, similarity from duplicate_pairs where shard = $shard and status = 'ok' "
        "and not abs(similarity) < 1.001",
    ),
    Check(
        DUPLICATE_PAIRS,
        "spans_have_length",
        "Spans with the same pictures begin before they end.",
        nothing_wrong(_spans),
        "select clip_a, clip_b, span, start_a_ns, end_a_ns, start_b_ns, end_b_ns from duplicate_pairs "
        "where shard = $shard and tier = 'picture' and not (start_a_ns < end_a_ns and start_b_ns < end_b_ns)",
    ),
)


def _made(tables: Tables, config: PlatformConfig, shard: str) -> Made:
    own = config.section(DUPLICATE_PAIRS.name, DuplicatePairsConfig)
    _require(tables, shard, own)
    return Made({shard: measure_pairs(tables, shard, own)})


def _kept(tables: Tables, config: PlatformConfig, shard: str) -> Made | None:
    own = config.section(DUPLICATE_PAIRS.name, DuplicatePairsConfig)
    _require(tables, shard, own)
    rows = measured_pairs(tables, shard, own)
    return None if rows is None else Made({shard: rows})


def _require(tables: Tables, shard: str, config: DuplicatePairsConfig) -> None:
    """See that a shard was selected from, and measured where it has selected clips: else all would pass for unique.

    Raises:
        MissingInput: a table that is read has no rows of the shard, also none that say why there is no result.
    """
    if not _there(tables, CLIP_SELECTION, shard):
        sources = tables.read(SOURCE_VIDEOS, shard, ["status"])["status"].to_pylist()
        # Without any, its files were forgotten, or nothing was made of them yet; without a good one there are no clips.
        if "ok" in sources or (not sources and Manifests(tables.storage).load(shard).entries):
            raise _missing(shard, CLIP_SELECTION.name)
    if not len(SelectedClips.of(tables, [shard])):
        return
    for table, is_read in ((PICTURE_HASHES, config.identical or config.picture), (CLIP_EMBEDDINGS, config.meaning)):
        if is_read and not _there(tables, table, shard):
            raise _missing(shard, tables.named(table.name))


def _there(tables: Tables, table: Table, shard: str) -> bool:
    return tables.read(table, shard, ["shard"]).num_rows > 0


def _missing(shard: str, name: str) -> MissingInput:
    return MissingInput(
        f"{DUPLICATE_PAIRS.name} of shard {shard} needs {name}, which is not there: "
        f"`curate materialize --select '+{name}' --shard {shard}` first"
    )


GATHER = Gathered(DUPLICATE_PAIRS, _made, (CLIP_SELECTION, PICTURE_HASHES, CLIP_EMBEDDINGS), per_shard=True, kept=_kept)

ASSET = Asset(
    DUPLICATE_PAIRS,
    GATHER,
    "duplicates",
    CHECKS,
    section=DuplicatePairsConfig,
    same_for_all="clips of all shards are compared",
    unneeded=lambda tables, config: unneeded_segments(
        tables, config.section(DUPLICATE_PAIRS.name, DuplicatePairsConfig)
    ),
)
