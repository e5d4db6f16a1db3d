"""The code location. Importing it is quick and needs neither Ray, torch nor ffmpeg.

Sources are read from the root that `CURATE_ROOT` names (or where `CURATE_SOURCES` says), and get a sensor each: reload
the location when they change. A preset that is no good is told, and fails the sensor and the shards that it is for.
"""

import logging

import dagster as dg

from curate_assets.graphs import GRAPH
from curate_assets.orchestration import asset_graph  # Dagster wants one Definitions in a module
from curate_assets.orchestration.automation import kept_fresh, schedules, sensors
from curate_assets.settings.presets import preset_errors
from curate_resources.sources.declared import declared_sources
from curate_resources.storage.root import Storage, root_uri

_STORAGE = Storage(root_uri())
_DECLARED = declared_sources(_STORAGE)

if _presets := [source.preset for source in _DECLARED.sources.values() if source.preset is not None]:
    for _error in preset_errors(_STORAGE, _presets):
        logging.getLogger("curate.sources").error("%s", _error)

defs = dg.Definitions.merge(
    kept_fresh(GRAPH, asset_graph.defs, _DECLARED.automation.fresh_hours),
    dg.Definitions(
        sensors=sensors(GRAPH, _STORAGE, _DECLARED),
        schedules=schedules(GRAPH, _DECLARED),
    ),
)
