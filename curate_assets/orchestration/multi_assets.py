"""Stages as Dagster assets: one subsettable multi-asset per plan, and what each materialization says of itself."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
from dagster._core.execution.plan.outputs import StepOutputData, StepOutputHandle  # Dagster exports neither

from curate_assets.graph.graph import Asset, Graph, Phase
from curate_assets.graph.platform import ConfigError
from curate_assets.graph.shard_checks import Shard
from curate_assets.graph.whole_table import Gathered, Markdown
from curate_assets.orchestration.check_results import check_evaluation, check_result, check_specs, judged
from curate_assets.orchestration.costs import estimated_costs
from curate_assets.orchestration.engines import materialized
from curate_assets.orchestration.metadata import readable
from curate_assets.orchestration.observed_steps import observed_step
from curate_assets.orchestration.partitions import SHARDS
from curate_assets.orchestration.resource import Curation
from curate_assets.orchestration.run_logs import relayed_logs
from curate_assets.orchestration.step_errors import told_errors
from curate_resources.declarations.stage import Stage
from curate_resources.pipeline.commit import Materialized
from curate_resources.pipeline.run import announce
from curate_resources.pipeline.run_context import RunContext, about
from curate_resources.sources.manifests import MANIFEST, Manifest, Manifests
from curate_resources.tables.lance_tables import Tables

OWNERS = ["team:curation"]
SHARDS_PER_RUN = 32
"""Of a backfill. A run costs some seconds of CPU, and more if it starts Ray."""
SHARDS_AT_ONCE = 8
"""How many of a run go through a plan together."""

_NEVER = "NULL"
"""Dagster's word for an input that was never materialized."""
_LOGGER = logging.getLogger("curate")


def asset_spec(graph: Graph, asset: Asset) -> dg.AssetSpec:
    """How an asset is shown and selected."""
    table, made_by = asset.table, asset.made_by
    columns = [dg.TableColumn(each.name, str(each.type), each.meaning or None) for each in table.all_columns]
    return dg.AssetSpec(
        table.name,
        deps=[_dep(asset, graph.asset(name)) for name in asset.reads],
        description=table.description,
        group_name=asset.group,
        owners=OWNERS,
        kinds=set(made_by.kinds) if isinstance(made_by, Gathered) else {"lance", "ray" if made_by.heavy else "python"},
        code_version=table.version,
        partitions_def=SHARDS if asset.partitioned else None,
        skippable=asset.partitioned,
        metadata={"grain": table.grain, "dagster/column_schema": dg.TableSchema(columns=columns)},
    )


def _dep(asset: Asset, made_from: Asset) -> dg.AssetDep:
    """What is made at once reads all shards, its own or not."""
    gathered = isinstance(asset.made_by, Gathered) and made_from.partitioned
    return dg.AssetDep(made_from.name, partition_mapping=dg.AllPartitionMapping() if gathered else None)


def streamed_assets(graph: Graph, phase: Phase) -> dg.AssetsDefinition:
    """A phase as one subsettable multi-asset: selected together its assets stream, alone they read tables."""

    @dg.multi_asset(
        name=phase.name,
        description=phase.description,
        specs=[asset_spec(graph, asset) for asset in phase.assets],
        check_specs=check_specs(graph, phase.assets),
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.multi_run(SHARDS_PER_RUN),
        required_resource_keys={"curation"},
        pool=phase.pool,
    )
    def streamed(context: dg.AssetExecutionContext) -> Iterator[Any]:
        curation: Curation = context.resources.curation
        wanted = frozenset(key.to_user_string() for key in context.selected_asset_keys)
        with told_errors(context), relayed_logs(context), observed_step(context) as observed:
            done = _by_settings(graph, curation, wanted, phase.stages, context.partition_keys, observed)
            yield from reported(context, graph, curation, ((each, {}) for each in done))

    return streamed


def _by_settings(
    graph: Graph,
    curation: Curation,
    wanted: frozenset[str],
    stages: Sequence[Stage],
    shards: Sequence[str],
    context: RunContext,
) -> Iterator[Materialized]:
    """A few shards at a time, those of one preset by one plan. What stops some does not stop the others: the first
    error is raised in the end, the others are logged.

    Raises:
        ConfigError: a preset is not there or not valid.
    """
    alike, wrong = curation.settings.alike(shards)
    errors: list[Exception] = [ConfigError("\n".join(map(str, wrong)))] if wrong else []
    for config, chosen in alike:
        plan = graph.plan(wanted, config, curation.storage.root, curation.force, curation.failed_only, stages, context)
        if len(chosen) > SHARDS_AT_ONCE:
            manifests = Manifests(curation.storage).load_all(chosen)
            totals = {each.shard: len(each.entries) for each in manifests if isinstance(each, Manifest)}
            announce(plan.name, totals, graph.units.files.nouns)
        for start in range(0, len(chosen), SHARDS_AT_ONCE):
            try:
                yield from materialized(plan, chosen[start : start + SHARDS_AT_ONCE])
            except Exception as error:
                errors.append(error)
    for error in errors[1:]:
        _LOGGER.error("%s", error)
    if errors:
        raise errors[0]


def reported(
    context: dg.AssetExecutionContext,
    graph: Graph,
    curation: Curation,
    done: Iterator[tuple[Materialized, Mapping[str, Any]]],
) -> Iterator[Any]:
    """Turn every committed shard into its own materialization, at once, so that a run that dies keeps what it finished.

    With one partition these are results of the step; with several they are events, because a result of a step counts
    for all its partitions alike. A blocking check that fails ends the step as failed once it is through, so that no
    later step of the run begins.
    """
    one = len(context.partition_keys) == 1
    for each, said in done:
        with about(shard=each.shard):
            context.log.info(
                f"{each.table} of {each.shard}: {each.rows} rows {dict(each.statuses)}, {each.computed} computed, "
                f"{each.reused} reused, {each.seconds:.1f} s"
            )
        shard = Shard(each.shard, curation.tables, curation.settings.of(each.shard), graph.units)
        metadata = readable({**_metadata(graph, curation, each, shard), **said})
        verdicts = list(judged(graph, each.table, shard, context.selected_asset_check_keys))
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
                each.table, partition=each.shard, metadata=metadata, tags=_provenance(context, graph, each)
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


def _provenance(context: dg.AssetExecutionContext, graph: Graph, done: Materialized) -> dict[str, str]:
    """What Dagster adds to results of a step by itself, and needs to tell whether a shard is stale."""
    key = dg.AssetKey(done.table)
    tags = {"dagster/data_version": done.identity}
    if version := context.assets_def.code_versions_by_key.get(key):
        tags["dagster/code_version"] = version
    for dep in context.assets_def.asset_deps[key]:
        name = dep.to_user_string()
        partition = done.shard if graph.asset(name).partitioned else None
        record = context.instance.get_latest_data_version_record(dep, partition_key=partition)
        event = record.asset_materialization if record is not None else None
        tags[f"dagster/input_data_version/{name}"] = ((event and event.tags) or {}).get("dagster/data_version", _NEVER)
        tags[f"dagster/input_event_pointer/{name}"] = str(record.storage_id) if record is not None else _NEVER
    return tags


def _rows(tables: Tables, name: str) -> int:
    """Of a whole table."""
    return tables.dataset(name).count_rows() if tables.exists(name) else 0


def _metadata(graph: Graph, curation: Curation, done: Materialized, shard: Shard) -> dict[str, Any]:
    asset = graph.asset(done.table)
    metadata: dict[str, Any] = {
        **{name: values[0] for name, values in shard.measures(asset.table).items() if len(values) == 1},
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
        item = graph.units.noun if done.item == MANIFEST.grain else done.item
        metadata[f"{item}s_per_second"] = done.computed / done.seconds
    preview = graph.preview(asset)
    picture = preview(curation.tables, done.shard) if preview is not None else None
    return ({"preview": Markdown(picture)} if picture else {}) | metadata
