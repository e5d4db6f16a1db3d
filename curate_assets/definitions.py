"""The code location. Importing it is quick and needs neither Ray, torch nor ffmpeg.

Sources are read from `CURATE_ROOT` (or where `CURATE_SOURCES` says): one sensor each. Reload after a change.
"""

import dagster as dg

from curate_assets.automation import conditions, schedules, sensors
from curate_assets.resource import curation
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
from curate_resources.sources import declared_sources
from curate_resources.storage import Storage, root_uri

_CURATED = [table.name for table in tables_of(CURATION_STAGES)]
_DELIVERED = [table.name for table in tables_of(DELIVERY_STAGES)]
_CONDITIONS = conditions(_CURATED, ["duplicate_pairs"], _DELIVERED)
_STORAGE = Storage(root_uri())
_SOURCES = declared_sources(_STORAGE)


def _automated(assets: dg.AssetsDefinition) -> dg.AssetsDefinition:
    return assets.map_asset_specs(
        lambda spec: spec.replace_attributes(automation_condition=_CONDITIONS.get(spec.key.to_user_string()))
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
    executor=dg.in_process_executor,
    sensors=sensors(_STORAGE, _SOURCES, list(_CONDITIONS), _CURATED),
    schedules=schedules(_STORAGE, _SOURCES),
)
