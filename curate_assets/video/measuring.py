"""Which measurements are made, and of which clips."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import pyarrow as pa

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


SO_FAR = "selected_so_far"
"""The table that stages of costly measurements have among their gates, and the value of `when` that asks for it."""


def unless_rejected(section: str) -> "partial[list[bool]]":
    """The `eligible` of a stage whose section is a `CostlyConfig` and whose gate is `SO_FAR`."""
    return partial(_not_rejected, section)


def _not_rejected(section: str, config: Any, clips: pa.Table, inputs: Mapping[str, pa.Table]) -> list[bool]:
    if getattr(config, section).when != SO_FAR:
        return [True] * clips.num_rows
    verdicts = inputs[SO_FAR].select(["clip_id", "selected"]).to_pylist()
    rejected = {row["clip_id"] for row in verdicts if row["selected"] is False}  # none where the verdict failed
    return [clip not in rejected for clip in clips["clip_id"].to_pylist()]


def is_costly(asset: Asset) -> bool:
    """Whether an asset with scores can be left out for clips that cheaper scores reject."""
    return isinstance(asset.made_by, Stage) and SO_FAR in asset.made_by.gates


def comes_last(asset: Asset, config: Any) -> bool:
    """Whether a configuration has it left out for such clips."""
    eligible = asset.made_by.eligible if isinstance(asset.made_by, Stage) else None
    if not (isinstance(eligible, partial) and eligible.func is _not_rejected):
        return False
    return is_measured(asset, config) and getattr(config, eligible.args[0]).when == SO_FAR


def is_measured(asset: Asset, config: Any) -> bool:
    """Whether an asset with scores is made at all with a configuration."""
    return not (isinstance(asset.made_by, Stage) and asset.made_by.is_idle(config))
