"""Assets that are made at once, as Dagster has them."""

# Dagster knows the annotation MaterializeResult without a type argument only.
# pyright: reportMissingTypeArgument=false

from collections.abc import Iterator
from typing import Any

import dagster as dg

from curate_assets.graph.graph import Asset, Graph
from curate_assets.graph.run_pools import STORAGE
from curate_assets.graph.shard_checks import Shard
from curate_assets.graph.whole_table import Gathered
from curate_assets.orchestration.check_results import check_result, check_specs, judged
from curate_assets.orchestration.metadata import readable
from curate_assets.orchestration.multi_assets import SHARDS_PER_RUN, asset_spec, reported
from curate_assets.orchestration.observed_steps import observed_step
from curate_assets.orchestration.resource import Curation
from curate_assets.orchestration.step_errors import told_errors
from curate_resources.tables.history import ALL_SHARDS


def gathered_asset(graph: Graph, asset: Asset, gathered: Gathered) -> dg.AssetsDefinition:
    """An asset that is made at once, of each shard or of all."""
    return _per_shard(graph, asset, gathered) if gathered.per_shard else _of_all_shards(graph, asset, gathered)


def _per_shard(graph: Graph, asset: Asset, gathered: Gathered) -> dg.AssetsDefinition:
    @dg.multi_asset(
        name=asset.name,
        description=asset.table.description,
        specs=[asset_spec(graph, asset)],
        check_specs=check_specs(graph, [asset]),
        can_subset=True,  # else a step of several shards would have to give verdicts for all of them at once
        backfill_policy=dg.BackfillPolicy.multi_run(SHARDS_PER_RUN),
        required_resource_keys={"curation"},
        pool=STORAGE,
    )
    def made(context: dg.AssetExecutionContext) -> Iterator[Any]:
        curation: Curation = context.resources.curation
        done = (
            gathered.materialize(curation.tables, curation.config, shard, curation.force)
            for shard in context.partition_keys
        )
        with told_errors(context), observed_step(context):
            yield from reported(context, graph, curation, done)

    return made


def _of_all_shards(graph: Graph, asset: Asset, gathered: Gathered) -> dg.AssetsDefinition:
    @dg.multi_asset(
        name=asset.name,
        description=asset.table.description,
        specs=[asset_spec(graph, asset)],
        check_specs=check_specs(graph, [asset]),
        required_resource_keys={"curation"},
        pool=STORAGE,
    )
    def made(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        curation: Curation = context.resources.curation
        with told_errors(context), observed_step(context):
            done, said = gathered.materialize(curation.tables, curation.config)
            shard = Shard(ALL_SHARDS, curation.tables, curation.config, graph.units)
            verdicts = judged(graph, asset.name, shard, context.selected_asset_check_keys)
            check_results = [check_result(check, found, shard) for check, found in verdicts]
        stored = {
            "dagster/row_count": done.rows,
            "table_version": done.version,
            "dagster/uri": curation.tables.uri(asset.name),
        }
        return dg.MaterializeResult(
            metadata=readable({**(stored if gathered.stored else {}), **said}),
            data_version=dg.DataVersion(done.identity) if gathered.stored else None,
            check_results=check_results,
        )

    return made
