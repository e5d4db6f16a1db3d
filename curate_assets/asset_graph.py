"""All assets, each with the condition on which the automation makes it. The command line needs no more than this."""

import dagster as dg

from curate_assets.automation import conditions
from curate_assets.resource import curation
from curate_assets.run_executor import run_executor
from curate_assets.streamed import tables_of
from curate_assets.video.graph import (
    curation_assets,
    dataset_report,
    delivery_assets,
    duplicate_groups,
    duplicate_pairs,
    training_dataset,
)
from curate_assets.video.stages import CURATION_STAGES, DELIVERY_STAGES

CURATED = [table.name for table in tables_of(CURATION_STAGES)]
_DELIVERED = [table.name for table in tables_of(DELIVERY_STAGES)]
CONDITIONS = conditions(CURATED, ["duplicate_pairs"], _DELIVERED)


def _automated(assets: dg.AssetsDefinition) -> dg.AssetsDefinition:
    return assets.map_asset_specs(
        lambda spec: spec.replace_attributes(automation_condition=CONDITIONS.get(spec.key.to_user_string()))
    )


defs = dg.Definitions(
    assets=[
        _automated(curation_assets),
        _automated(duplicate_pairs),
        duplicate_groups,
        _automated(delivery_assets),
        training_dataset,
        dataset_report,
    ],
    resources={"curation": curation},
    executor=run_executor,
)
