"""The funnel for a page of Dagster's UI."""

import base64
from collections.abc import Sequence

from curate_assets.graph.graph import FunnelStep
from curate_assets.video.report.charts import labelled_funnel, standalone
from curate_assets.video.report.funnel import funnel
from curate_resources.tables.lance_tables import Tables

_FUNNEL_WIDTH = 640


def selection_preview(tables: Tables, shard: str) -> str:
    """The funnel of a shard, down to its selected clips."""
    steps = funnel(tables, shard=shard)
    return funnel_markdown(steps[: 1 + [step.name for step in steps].index("selected")])


def funnel_markdown(steps: Sequence[FunnelStep]) -> str:
    """The funnel as a chart and a table."""
    svg = base64.b64encode(standalone(labelled_funnel(steps), _FUNNEL_WIDTH).encode()).decode()
    lines = [
        f"| {step.name} | {step.count} | {', '.join(f'{n} {why}' for why, n in step.lost.items() if n)} |"
        for step in steps
    ]
    head = [f"![Funnel](data:image/svg+xml;base64,{svg})", "", "| step | count | lost |", "|---|---:|---|"]
    return "\n".join([*head, *lines])
