"""The tables of metrics in `docs/observability.md`, between two comments."""

import re
from collections.abc import Iterable

from curate_assets.operations.platform_metrics import PLATFORM_METRICS
from curate_resources.telemetry.metrics import RUN_METRICS, Metric

_PLACE = "(<!-- {name} metrics -->\n).*?(<!-- end -->)"


def with_metrics(page: str) -> str:
    """The page with the tables as the code declares the metrics."""
    for name, metrics in (("run", RUN_METRICS), ("root", PLATFORM_METRICS)):
        place = re.compile(_PLACE.format(name=name), re.DOTALL)
        table = _table(metrics)
        page = place.sub(lambda match, table=table: f"{match[1]}{table}\n{match[2]}", page, count=1)
    return page


def _table(metrics: Iterable[Metric]) -> str:
    lines = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for each in metrics:
        labels = ", ".join(f"`{label}`" for label in each.labels)
        lines.append(f"| `{each.name}` | {each.kind} | {labels} | {each.meaning} |")
    return "\n".join(lines)
