"""Curate Graph from Python: a library of footage and its tables, and what graphs are declared with.

Names are loaded when they are used: importing this package loads nothing else.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curate_assets.graph.graph import Asset as Asset
    from curate_assets.graph.graph import FunnelStep as FunnelStep
    from curate_assets.graph.graph import Graph as Graph
    from curate_assets.graph.graph import Job as Job
    from curate_assets.graph.graph import Phase as Phase
    from curate_assets.graph.graph import Record as Record
    from curate_assets.graph.graph import View as View
    from curate_assets.graph.platform import CheckLimits as CheckLimits
    from curate_assets.graph.platform import ConfigError as ConfigError
    from curate_assets.graph.platform import PlatformConfig as PlatformConfig
    from curate_assets.graph.score import Score as Score
    from curate_assets.graph.score import at_least as at_least
    from curate_assets.graph.score import at_most as at_most
    from curate_assets.graph.shard_checks import Check as Check
    from curate_assets.graph.shard_checks import Finding as Finding
    from curate_assets.graph.shard_checks import Shard as Shard
    from curate_assets.graph.shard_checks import nothing_wrong as nothing_wrong
    from curate_assets.graph.stage_resources import model_needs as model_needs
    from curate_assets.graph.whole_table import Gathered as Gathered
    from curate_assets.graph.whole_table import Made as Made
    from curate_assets.graph.whole_table import Markdown as Markdown
    from curate_assets.graph.whole_table import StoredPath as StoredPath
    from curate_assets.library import Library as Library
    from curate_assets.library import RunFailed as RunFailed
    from curate_assets.library import StoredTable as StoredTable
    from curate_assets.orchestration.asset_graph import dagster_definitions as dagster_definitions
    from curate_resources.declarations.stage import LiveWorker as LiveWorker
    from curate_resources.declarations.stage import Needs as Needs
    from curate_resources.declarations.stage import Segments as Segments
    from curate_resources.declarations.stage import Stage as Stage
    from curate_resources.declarations.stage import Work as Work
    from curate_resources.declarations.stage import Worker as Worker
    from curate_resources.declarations.table import Column as Column
    from curate_resources.declarations.table import Row as Row
    from curate_resources.declarations.table import Table as Table
    from curate_resources.declarations.units import Role as Role
    from curate_resources.declarations.units import UnitFiles as UnitFiles
    from curate_resources.declarations.units import UnitTable as UnitTable
    from curate_resources.sources.manifests import MANIFEST as MANIFEST
    from curate_resources.storage.root import Storage as Storage
    from curate_resources.tables.lance_tables import Tables as Tables
    from gpu_kernels.errors import CurateError as CurateError
    from gpu_kernels.errors import UserError as UserError
    from gpu_kernels.strict import StrictModel as StrictModel

_EXPORTED = {
    "curate_assets.graph.graph": ("Asset", "FunnelStep", "Graph", "Job", "Phase", "Record", "View"),
    "curate_assets.graph.platform": ("CheckLimits", "ConfigError", "PlatformConfig"),
    "curate_assets.graph.score": ("Score", "at_least", "at_most"),
    "curate_assets.graph.shard_checks": ("Check", "Finding", "Shard", "nothing_wrong"),
    "curate_assets.graph.stage_resources": ("model_needs",),
    "curate_assets.graph.whole_table": ("Gathered", "Made", "Markdown", "StoredPath"),
    "curate_assets.library": ("Library", "RunFailed", "StoredTable"),
    "curate_assets.orchestration.asset_graph": ("dagster_definitions",),
    "curate_resources.declarations.stage": ("LiveWorker", "Needs", "Segments", "Stage", "Work", "Worker"),
    "curate_resources.declarations.table": ("Column", "Row", "Table"),
    "curate_resources.declarations.units": ("Role", "UnitFiles", "UnitTable"),
    "curate_resources.sources.manifests": ("MANIFEST",),
    "curate_resources.storage.root": ("Storage",),
    "curate_resources.tables.lance_tables": ("Tables",),
    "gpu_kernels.errors": ("CurateError", "UserError"),
    "gpu_kernels.strict": ("StrictModel",),
}
_MODULE_OF = {name: module for module, names in _EXPORTED.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(_MODULE_OF)
