"""How a shard is compared with those before it: the ones that were made alike, and are not too small."""

from collections.abc import Mapping

from curate_assets.graph.shard_checks import Shard
from curate_resources.declarations.table import Table

Measures = Mapping[str, list[float]]


def measures_of_others(shard: Shard, table: Table, counted: str) -> list[Measures]:
    """The measures of other shards that are not too small for it; `counted` is the measure of their size."""
    least = shard.config.checks.min_rows
    return [each.measures for each in shard.others(table) if each.measures.get(counted, [0.0])[0] >= least]


def too_few(shard: Shard, count: float, what: str) -> str:
    """Why a shard of `count` rows is not judged; nothing where it can be."""
    least = shard.config.checks.min_rows
    return f"not judged: {count:.0f} {what}, fewer than {least} (checks.min_rows)" if count < least else ""


def too_short_history(shard: Shard, others: int) -> str:
    """Why a shard is not compared with so few others; nothing where it can be."""
    least = shard.config.checks.min_history
    said = f"not judged: {others} other shards were made with the same settings, fewer than {least}"
    return f"{said} (checks.min_history)" if others < least else ""
