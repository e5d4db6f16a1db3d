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


def switch_of(asset: Asset) -> str | None:
    """The setting that switches an asset with scores on, if it is one."""
    idle = asset.made_by.idle if isinstance(asset.made_by, Stage) else None
    return f"{idle.args[0]}.enabled" if isinstance(idle, partial) and idle.func is _off else None


def is_measured(asset: Asset, config: Any) -> bool:
    """Whether an asset with scores is made at all with a configuration."""
    return not (isinstance(asset.made_by, Stage) and asset.made_by.is_idle(config))
