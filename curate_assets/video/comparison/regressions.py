"""The check of a table of captions against another one, by the judge: whether they have become worse."""

from dataclasses import replace
from functools import partial
from typing import Any

from pydantic import Field

from curate_assets.graph.platform import CheckLimits
from curate_assets.graph.shard_checks import Check, Finding, Shard
from curate_resources.declarations.table import Table
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.captioners.judge import JudgeConfig
from gpu_kernels.captioners.types import AskedConfig

JUDGE = "caption_judge"
"""The section of the judge."""


class RegressionLimits(CheckLimits):
    """What the checks of captions against others accept."""

    max_caption_regressions: float = Field(default=0.1, ge=0, le=1)
    """Greatest share of a shard's judged windows whose caption is worse than that of the baseline in
    `caption_judge.baselines`; the check fails where it is surely greater."""


def baselines_are_captions(config: Any) -> None:
    """Sees that what is compared are tables of captions, and that there is a judge.

    Raises:
        ValueError: they are not, or there is none.
    """
    settings: JudgeConfig = config.caption_judge
    for name, baseline in settings.baselines.items():
        for each in (name, baseline):
            if not isinstance(getattr(config, each, None), AskedConfig) or each == JUDGE:
                raise ValueError(f"{JUDGE}.baselines: there is no table of captions {each!r}")
        if name == baseline:
            raise ValueError(f"{JUDGE}.baselines: {name} would be compared with itself")
    if settings.baselines and config.caption_judge.backend == "none":
        raise ValueError(f"{JUDGE}.baselines names tables, but {JUDGE} has no backend that could be asked")


def regressions_few(table: Table) -> Check:
    """The check of a table."""
    return Check(
        table,
        "regressions_few",
        "Captions that the judge finds worse than those of caption_judge.baselines are within "
        "checks.max_caption_regressions.",
        partial(_judged, table),
        f"select video_id, clip_id, start_frame, text from {table.name} where shard = $shard and text is not null "
        "order by clip_id, start_frame",
    )


def _judged(table: Table, shard: Shard) -> Finding:
    from curate_assets.video.comparison.comparison import compare_captions  # it reads tables of captions

    settings: JudgeConfig = getattr(shard.config, JUDGE)
    name = shard.seen.get(table.name, table.name)
    if (baseline := settings.baselines.get(name)) is None:
        return Finding([], note=f"not judged: {JUDGE}.baselines has nothing to compare {name} with")
    tables = Tables(shard.tables.storage)
    if not tables.exists(baseline):
        return Finding([], note=f"not judged: there are no {baseline} yet")
    sides = (tables, replace(table, name=baseline)), (tables, replace(table, name=name))
    found = compare_captions(*sides, shard.config, settings.baseline_windows, shard.key)
    limit = shard.limits(RegressionLimits).max_caption_regressions
    numbers = {"judged": float(len(found.decided))}
    if found.regressions is None:
        said = next((each.failure for each in found.judged if each.failure), None)
        return Finding([f"the judge decided nothing: {said}"] if said else [], numbers)
    lower, upper = found.bounds
    said = (
        f"{found.results['a']} of {len(found.decided)} judged windows are worse than in {baseline}: surely more than "
        f"{limit:.1%} ({lower:.1%} to {upper:.1%})"
    )
    return Finding([said] if found.exceeds(limit) else [], numbers | {"regressions_share": found.regressions})
