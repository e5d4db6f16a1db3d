"""Which measurements are made."""

from functools import partial
from typing import Any

from curate_assets.graph.graph import Asset
from curate_resources.declarations.stage import Stage


def unless_enabled(section: str) -> "partial[bool]":
    """The `idle` of a stage whose section is a `MeasurementConfig`."""
    return partial(_off, section)


def _off(section: str, config: Any) -> bool:
    return not getattr(config, section).enabled


def is_measured(asset: Asset, config: Any) -> bool:
    """Whether an asset with scores is made at all with a configuration."""
    return not (isinstance(asset.made_by, Stage) and asset.made_by.is_idle(config))
