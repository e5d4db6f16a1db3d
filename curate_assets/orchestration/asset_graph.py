"""All assets, each with the condition on which the automation makes it. The command line needs no more than this."""

import dagster as dg

from curate_assets.graph.graph import Asset, Graph, Phase
from curate_assets.graph.whole_table import Gathered
from curate_assets.graphs import GRAPH
from curate_assets.orchestration.automation import conditions
from curate_assets.orchestration.multi_assets import streamed_assets
from curate_assets.orchestration.resource import curation
from curate_assets.orchestration.run_executor import run_executor
from curate_assets.orchestration.whole_table_assets import gathered_asset


def dagster_definitions(graph: Graph) -> dg.Definitions:
    """A graph as Dagster has it: one op for each of its steps."""
    conditioned = conditions(graph)

    def automated(step: Phase | Asset) -> dg.AssetsDefinition:
        return _op(graph, step).map_asset_specs(
            lambda spec: spec.replace_attributes(automation_condition=conditioned.get(spec.key.to_user_string()))
        )

    return dg.Definitions(
        assets=[automated(step) for step in graph.steps], resources={"curation": curation}, executor=run_executor
    )


def _op(graph: Graph, step: Phase | Asset) -> dg.AssetsDefinition:
    if isinstance(step, Phase):
        return streamed_assets(graph, step)
    assert isinstance(step.made_by, Gathered)
    return gathered_asset(graph, step, step.made_by)


defs = dagster_definitions(GRAPH)
