"""The code location. Importing it is quick and needs neither Ray, torch nor ffmpeg."""

import dagster as dg

from curate_assets.resource import curation
from curate_assets.video.graph import (
    curation_assets,
    dataset_report,
    delivery_assets,
    duplicate_groups,
    duplicate_pairs,
    training_dataset,
)

defs = dg.Definitions(
    assets=[curation_assets, duplicate_pairs, duplicate_groups, delivery_assets, training_dataset, dataset_report],
    resources={"curation": curation},
    executor=dg.in_process_executor,
)
