"""The funnel from files to samples, as a table."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from curate_cli.printing import escaped

if TYPE_CHECKING:
    from curate_assets.graph.graph import FunnelStep


def print_funnel(steps: Sequence["FunnelStep"], console: Console) -> None:
    """The funnel as a table; nothing where the graph has none."""
    if not steps:
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("step")
    table.add_column("count", justify="right")
    table.add_column("lost")
    for step in steps:
        count = "not materialized" if step.count is None else str(step.count)
        lost = ", ".join(f"{number} {reason}" for reason, number in step.lost.items() if number)
        table.add_row(step.name, count, escaped(lost))
    console.print(table)
