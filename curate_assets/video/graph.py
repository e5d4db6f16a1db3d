"""The video graph as Dagster sees it, from files to the training set and its report."""

# Dagster knows the annotation MaterializeResult without a type argument only.
# pyright: reportMissingTypeArgument=false

import base64
from collections.abc import Iterator
from typing import Any

import dagster as dg

from curate_assets.check_results import check_specs, verdict_metadata
from curate_assets.resource import Curation
from curate_assets.run_pools import DECODE, GPU, STORAGE
from curate_assets.step_errors import told_errors
from curate_assets.streamed import OWNERS, SHARDS_PER_RUN, asset_spec, group_of, reported, streamed_assets
from curate_assets.video.clip_files import CLIP_FILES
from curate_assets.video.duplicates import DUPLICATE_GROUPS, DUPLICATE_PAIRS, group_duplicates, measure_pairs
from curate_assets.video.gathered import DATASET, GROUPS, PAIRS, REPORT
from curate_assets.video.previews import funnel_markdown, preview
from curate_assets.video.report_file import DATASET_REPORT, write_report
from curate_assets.video.shard_checks import Finding
from curate_assets.video.stages import CURATION_STAGES, DELIVERY_STAGES
from curate_assets.video.training_dataset import TRAINING_DATASET, write_dataset
from curate_resources.plan import Materialized

_ALL_SHARDS = dg.AllPartitionMapping()
_SHOWN_SHARDS = 4

curation_assets = streamed_assets(
    "curate_videos",
    CURATION_STAGES,
    "One streaming plan from files to selected clips; every source video is decoded once.",
    pool=DECODE,
)


@dg.multi_asset(
    name="duplicate_pairs",
    description=DUPLICATE_PAIRS.description,
    specs=[
        asset_spec(
            DUPLICATE_PAIRS,
            [
                dg.AssetDep("clip_embeddings", partition_mapping=_ALL_SHARDS),
                dg.AssetDep("clip_selection", partition_mapping=_ALL_SHARDS),
                dg.AssetDep("motion_signals", partition_mapping=_ALL_SHARDS),
            ],
            {"lance", "python"},
        )
    ],
    check_specs=check_specs([DUPLICATE_PAIRS]),
    can_subset=True,  # else a step of several shards would have to give verdicts for all of them at once
    backfill_policy=dg.BackfillPolicy.multi_run(SHARDS_PER_RUN),
    required_resource_keys={"curation"},
    pool=STORAGE,
)
def duplicate_pairs(context: dg.AssetExecutionContext) -> Iterator[Any]:
    """Exact cosine search of a shard's selected clips among those of all shards; and their brightness over time."""
    curation: Curation = context.resources.curation

    def done() -> Iterator[Materialized]:
        for shard in context.partition_keys:
            making = PAIRS.begin(curation.tables, shard)
            rows = measure_pairs(curation.tables, shard, curation.config.duplicate_pairs)
            version = curation.tables.swap(DUPLICATE_PAIRS, shard, rows)
            yield making.done(curation.config, version, rows)

    with told_errors(context):
        yield from reported(context, curation, done())


@dg.asset(
    name=DUPLICATE_GROUPS.name,
    description=DUPLICATE_GROUPS.description,
    deps=[
        dg.AssetDep(name, partition_mapping=_ALL_SHARDS)
        for name in ("duplicate_pairs", "clip_selection", "source_videos")
    ],
    group_name=group_of(DUPLICATE_GROUPS),
    owners=OWNERS,
    kinds={"lance", "python"},
    code_version=DUPLICATE_GROUPS.version,
    check_specs=[
        dg.AssetCheckSpec(
            "one_keeper_per_group",
            asset=DUPLICATE_GROUPS.name,
            description="Every group keeps exactly one clip.",
            blocking=True,
        ),
        dg.AssetCheckSpec(
            "duplicates_few",
            asset=DUPLICATE_GROUPS.name,
            description="Duplicates are within checks.max_duplicate_share of the selected clips.",
        ),
    ],
    required_resource_keys={"curation"},
    pool=STORAGE,
)
def duplicate_groups(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Connected components of the pairs of all shards, and their keepers."""
    curation: Curation = context.resources.curation
    with told_errors(context):
        making = GROUPS.begin(curation.tables)
        rows = group_duplicates(curation.tables, curation.config.duplicate_groups)
        version = curation.tables.replace(DUPLICATE_GROUPS, rows)
        done = making.done(curation.config, version, DUPLICATE_GROUPS.joined(rows))
    clips = [row for part in rows.values() for row in part.select(["group_id", "group_size", "keeper"]).to_pylist()]
    keepers: dict[str, int] = {}
    for row in clips:
        keepers[row["group_id"]] = keepers.get(row["group_id"], 0) + row["keeper"]
    duplicates = sum(not row["keeper"] for row in clips)
    wrong = [f"group {group} has {count} keepers" for group, count in keepers.items() if count != 1]
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(clips),
            "groups": len(keepers),
            "groups_of_several": len({row["group_id"] for row in clips if row["group_size"] > 1}),
            "duplicates": duplicates,
            "shards": sorted(rows),
            "table_version": version,
            "dagster/uri": curation.tables.uri(DUPLICATE_GROUPS.name),
        },
        data_version=dg.DataVersion(done.identity),
        check_results=[
            dg.AssetCheckResult(
                passed=not found.problems,
                check_name=name,
                metadata=verdict_metadata(found, curation.storage, sql),
            )
            for name, found, sql in (
                ("one_keeper_per_group", Finding(wrong), _WITHOUT_ONE_KEEPER),
                ("duplicates_few", _duplicates_few(curation, len(clips), duplicates), _DUPLICATES),
            )
        ],
    )


def _duplicates_few(curation: Curation, clips: int, duplicates: int) -> Finding:
    checks = curation.config.checks
    if clips < checks.min_rows:
        return Finding([], note=f"not judged: {clips} clips, fewer than {checks.min_rows} (checks.min_rows)")
    share, limit = duplicates / clips, checks.max_duplicate_share
    said = f"{duplicates} of {clips} clips are duplicates: {share:.1%}, more than {limit:.1%}"
    return Finding([said] if share > limit else [], {"duplicate_share": share})


_WITHOUT_ONE_KEEPER = (
    "select group_id, count(*) as clips, count(*) filter (keeper) as keepers from duplicate_groups "
    "group by group_id having keepers <> 1"
)
_DUPLICATES = (
    "select group_id, group_size, shard, clip_id, keeper from duplicate_groups "
    "where group_size > 1 order by group_size desc, group_id, keeper desc"
)

delivery_assets = streamed_assets(
    "deliver_clips",
    DELIVERY_STAGES,
    "Captions and files of the clips that are selected and no duplicates.",
    pool=GPU,
)


@dg.asset(
    name=TRAINING_DATASET.name,
    description=TRAINING_DATASET.description,
    deps=[dg.AssetDep(name, partition_mapping=_ALL_SHARDS) for name in ("clip_files", "captions")],
    group_name=group_of(TRAINING_DATASET),
    owners=OWNERS,
    kinds={"webdataset", "lance"},
    code_version=TRAINING_DATASET.version,
    check_specs=[
        dg.AssetCheckSpec(
            "no_clip_lost",
            asset=TRAINING_DATASET.name,
            description="The file of every clip that belongs into the set is there, as it was cut.",
        ),
    ],
    required_resource_keys={"curation"},
    pool=STORAGE,
)
def training_dataset(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """WebDataset tars of the kept clips, and a table that says which clip is where."""
    curation: Curation = context.resources.curation
    with told_errors(context):
        making = DATASET.begin(curation.tables)
        written = write_dataset(curation.tables, curation.config.training_dataset)
        version = curation.tables.replace(TRAINING_DATASET, written.rows)
        making.done(curation.config, version, TRAINING_DATASET.joined(written.rows))
    left_out = sum(part["status"].to_pylist().count("empty") for part in written.rows.values())
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": written.samples,
            "left_out": left_out,
            "failures": len(written.lost),
            "tars": written.tars,
            "tars_already_there": written.resumed,
            "bytes": written.bytes,
            "manifest": written.manifest,
            "table_version": version,
            "dagster/uri": curation.tables.uri(TRAINING_DATASET.name),
        },
        check_results=[
            dg.AssetCheckResult(
                passed=not written.lost,
                check_name="no_clip_lost",
                metadata=verdict_metadata(Finding(written.lost), curation.storage, _LOST),
            )
        ],
    )


_LOST = "select clip_id, error.message as message from training_dataset where status = 'failed'"


@dg.asset(
    name=DATASET_REPORT.name,
    description=DATASET_REPORT.description,
    deps=["training_dataset"],
    group_name=group_of(DATASET_REPORT),
    owners=OWNERS,
    kinds={"html"},
    code_version=DATASET_REPORT.version,
    required_resource_keys={"curation"},
    pool=STORAGE,
)
def dataset_report(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """The report, and its main pictures for this page."""
    curation: Curation = context.resources.curation
    with told_errors(context):
        making = REPORT.begin(curation.tables)
        report = write_report(curation.tables, curation.config)
        making.done(curation.config)
    steps = report.contents.funnel
    charts = {title: f"![{title}](data:image/svg+xml;base64,{_base64(svg)})" for title, svg in report.charts.items()}
    return dg.MaterializeResult(
        metadata={
            "report": dg.MetadataValue.path(report.uri),  # no link: browsers open neither `file:` nor `s3:`
            "funnel": dg.MetadataValue.md(funnel_markdown(steps)),
            "distributions": dg.MetadataValue.md(
                "\n\n".join(f"**{title}**\n\n{image}" for title, image in charts.items())
            ),
            "kept_clips": dg.MetadataValue.md(_kept_clips(curation)),
            **{step.name.replace(" ", "_"): step.count for step in steps if step.count is not None},
        }
    )


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _kept_clips(curation: Curation) -> str:
    """One contact sheet per shard, of the first few."""
    shards = curation.tables.shards(CLIP_FILES) if curation.tables.exists(CLIP_FILES.name) else []
    sheets = [preview(CLIP_FILES.name, shard, curation.tables) for shard in shards[:_SHOWN_SHARDS]]
    return "\n\n".join(sheet for sheet in sheets if sheet) or "no clip files yet"
