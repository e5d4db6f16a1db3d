"""Stages as Dagster assets: one subsettable multi-asset per plan, and what each materialization says of itself."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
from dagster._core.execution.plan.outputs import StepOutputData, StepOutputHandle  # Dagster exports neither

from curate_assets.check_results import check_evaluation, check_result, check_specs, judged
from curate_assets.config import ConfigError
from curate_assets.costs import estimated_costs
from curate_assets.engines import materialized
from curate_assets.metadata import readable
from curate_assets.partitions import SHARDS
from curate_assets.resource import Curation
from curate_assets.run_logs import relayed_logs
from curate_assets.step_errors import told_errors
from curate_assets.video.checks import CHECKS
from curate_assets.video.gathered import GATHERED
from curate_assets.video.previews import preview
from curate_assets.video.shard_checks import Shard
from curate_assets.video.stages import plan_for
from curate_resources.manifests import MANIFEST, Manifest, Manifests
from curate_resources.plan import Materialized, announce
from curate_resources.stage import Stage, Table
from curate_resources.tables import Tables

OWNERS = ["team:curation"]
SHARDS_PER_RUN = 32
"""Of a backfill. A run costs some seconds of CPU, and more if it starts Ray."""
SHARDS_AT_ONCE = 8
"""So many of a run go through a plan together."""

_GROUPS = {
    "sources": ("source_videos",),
    "signals": ("shot_signals", "motion_signals", "storyboards"),
    "clips": ("clips", "motion_scores", "clip_embeddings", "clip_selection"),
    "duplicates": ("duplicate_pairs", "duplicate_groups"),
    "delivery": ("captions", "clip_files", "training_dataset", "dataset_report"),
}
"""What the lineage page shows together, in the order of the graph."""
_NEVER = "NULL"
"""Dagster's word for an input that was never materialized."""
_RATES = {"file": "videos_per_second"}
"""Names of throughputs, by what is counted; of the others: `clips_per_second`."""
_LOGGER = logging.getLogger("curate")


def group_of(table: Table) -> str | None:
    """The group of an asset; None, which is Dagster's default group, for those that others bring."""
    return next((group for group, names in _GROUPS.items() if table.name in names), None)


def asset_spec(
    table: Table, deps: Sequence[dg.AssetDep | str], kinds: set[str], partitioned: bool = True
) -> dg.AssetSpec:
    """How an asset is shown and selected."""
    columns = [dg.TableColumn(each.name, str(each.type), each.meaning or None) for each in table.all_columns]
    return dg.AssetSpec(
        table.name,
        deps=deps,
        description=table.description,
        group_name=group_of(table),
        owners=OWNERS,
        kinds=kinds,
        code_version=table.version,
        partitions_def=SHARDS if partitioned else None,
        skippable=True,
        metadata={"grain": table.grain, "dagster/column_schema": dg.TableSchema(columns=columns)},
    )


def _stage_specs(stages: Sequence[Stage]) -> list[dg.AssetSpec]:
    specs: list[dg.AssetSpec] = []
    for stage in stages:
        deps: list[dg.AssetDep | str] = [name for name in stage.inputs if name != MANIFEST.name]
        kinds = {"ray", "lance"} if stage.heavy else {"lance", "python"}
        specs += [asset_spec(table, deps, kinds) for table in stage.writes]
    return specs


def tables_of(stages: Sequence[Stage]) -> list[Table]:
    """All tables that stages fill."""
    return [table for stage in stages for table in stage.writes]


def streamed_assets(
    name: str, stages: Sequence[Stage], description: str, pool: str | None = None
) -> dg.AssetsDefinition:
    """Some stages' assets as one subsettable multi-asset: selected together they stream, alone they read tables.

    Args:
        pool: Dagster's pool, whose limit bounds how many of its runs there are at a time.
    """

    @dg.multi_asset(
        name=name,
        description=description,
        specs=_stage_specs(stages),
        check_specs=check_specs(tables_of(stages)),
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.multi_run(SHARDS_PER_RUN),
        required_resource_keys={"curation"},
        pool=pool,
    )
    def streamed(context: dg.AssetExecutionContext) -> Iterator[Any]:
        curation: Curation = context.resources.curation
        wanted = frozenset(key.to_user_string() for key in context.selected_asset_keys)
        with told_errors(context), relayed_logs(context):
            yield from reported(context, curation, _by_settings(curation, wanted, stages, context.partition_keys))

    return streamed


def _by_settings(
    curation: Curation, wanted: frozenset[str], stages: Sequence[Stage], shards: Sequence[str]
) -> Iterator[Materialized]:
    """A few shards at a time, those of one preset by one plan. What stops some does not stop the others: the first
    error is raised in the end, the others are logged.

    Raises:
        ConfigError: a preset is not there or not valid.
    """
    alike, wrong = curation.settings.alike(shards)
    errors: list[Exception] = [ConfigError("\n".join(map(str, wrong)))] if wrong else []
    for config, chosen in alike:
        plan = plan_for(wanted, config, curation.storage.root, curation.force, stages, curation.failed_only)
        if len(chosen) > SHARDS_AT_ONCE:
            manifests = Manifests(curation.storage).load_all(chosen)
            announce(plan.name, {each.shard: len(each.entries) for each in manifests if isinstance(each, Manifest)})
        for start in range(0, len(chosen), SHARDS_AT_ONCE):
            try:
                yield from materialized(plan, chosen[start : start + SHARDS_AT_ONCE])
            except Exception as error:
                errors.append(error)
    for error in errors[1:]:
        _LOGGER.error("%s", error)
    if errors:
        raise errors[0]


def reported(context: dg.AssetExecutionContext, curation: Curation, done: Iterator[Materialized]) -> Iterator[Any]:
    """Turn every committed shard into its own materialization, at once, so that a run that dies keeps what it finished.

    With one partition these are results of the step; with several they are events, because a result of a step counts
    for all its partitions alike. A blocking check that fails ends the step as failed once it is through, so that no
    later step of the run begins.
    """
    one = len(context.partition_keys) == 1
    for each in done:
        context.log.info(
            f"{each.table} of {each.shard}: {each.rows} rows {dict(each.statuses)}, {each.computed} computed, "
            f"{each.reused} reused, {each.seconds:.1f} s"
        )
        shard = Shard(each.shard, curation.tables, curation.settings.of(each.shard))
        metadata = _metadata(curation, each, shard)
        verdicts = list(judged(each.table, shard, context.selected_asset_check_keys))
        if one:
            yield dg.MaterializeResult(
                asset_key=each.table,
                metadata=metadata,
                data_version=dg.DataVersion(each.identity),
                check_results=[check_result(check, found, shard) for check, found in verdicts],
            )
            continue
        context.log_event(
            dg.AssetMaterialization(
                each.table, partition=each.shard, metadata=metadata, tags=_provenance(context, each)
            )
        )
        recorded = dg.AssetRecordsFilter(asset_key=dg.AssetKey(each.table), asset_partitions=[each.shard])
        (latest,) = context.instance.fetch_materializations(recorded, limit=1).records
        for check, found in verdicts:
            yield check_evaluation(check, found, shard, latest)
    if not one:
        yield from _outputs(context)


def _outputs(context: dg.AssetExecutionContext) -> Iterator[dg.DagsterEvent]:
    """What a step of several partitions gave, without which Dagster skips the steps after it. Only said: as results of
    the step they would be materializations of every partition."""
    step = context.get_step_execution_context()
    for output in context.op_execution_context.selected_output_names:
        handle = StepOutputHandle(step.step.key, output)
        yield dg.DagsterEvent.step_output_event(step, StepOutputData(step_output_handle=handle))


def _provenance(context: dg.AssetExecutionContext, done: Materialized) -> dict[str, str]:
    """What Dagster adds to results of a step by itself, and needs to tell whether a shard is stale."""
    key = dg.AssetKey(done.table)
    tags = {"dagster/data_version": done.identity}
    if version := context.assets_def.code_versions_by_key.get(key):
        tags["dagster/code_version"] = version
    for dep in context.assets_def.asset_deps[key]:
        name = dep.to_user_string()
        whole = name in GATHERED and not GATHERED[name].per_shard
        record = context.instance.get_latest_data_version_record(dep, partition_key=None if whole else done.shard)
        event = record.asset_materialization if record is not None else None
        tags[f"dagster/input_data_version/{name}"] = ((event and event.tags) or {}).get("dagster/data_version", _NEVER)
        tags[f"dagster/input_event_pointer/{name}"] = str(record.storage_id) if record is not None else _NEVER
    return tags


def _rows(tables: Tables, name: str) -> int:
    """Of a whole table."""
    return tables.dataset(name).count_rows() if tables.exists(name) else 0


def _metadata(curation: Curation, done: Materialized, shard: Shard) -> dict[str, Any]:
    table = next((check.table for check in CHECKS if check.table.name == done.table), None)
    measures = shard.measures(table) if table is not None else {}
    metadata: dict[str, Any] = {
        **{name: values[0] for name, values in measures.items() if len(values) == 1},
        "dagster/partition_row_count": done.rows,
        "dagster/row_count": _rows(curation.tables, done.table),
        "failures": done.statuses.get("failed", 0),
        "empty": done.statuses.get("empty", 0),
        "computed": done.computed,
        "reused": done.reused,
        "seconds": done.seconds,
        "cpu_seconds": done.cpu_seconds,
        "gpu_seconds": done.gpu_seconds,
        "bytes": done.bytes,
        "table_version": done.version,
        "dagster/uri": curation.tables.uri(done.table),
        **estimated_costs(curation.config.prices, done),
    }
    if done.computed and done.seconds:
        metadata[_RATES.get(done.item, f"{done.item}s_per_second")] = done.computed / done.seconds
    picture = preview(done.table, done.shard, curation.tables)
    return ({"preview": dg.MetadataValue.md(picture)} if picture else {}) | readable(metadata)
