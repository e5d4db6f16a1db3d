"""What a materialization cost, estimated from a list of prices."""

from curate_assets.graph.platform import PricesConfig
from curate_resources.pipeline.commit import Materialized

_HOUR, _GIB = 3600, 1 << 30


def estimated_costs(prices: PricesConfig, done: Materialized) -> dict[str, float | str]:
    """Costs by name, with their currency; none that would need a price which is not given.

    Returns:
        `compute_cost` of the stage that filled the table, and `storage_cost_per_month` of the media files that its rows
        point at.
    """
    found: dict[str, float | str] = {}
    used = [(done.cpu_seconds / _HOUR, prices.cpu_hour), (done.gpu_seconds / _HOUR, prices.gpu_hour)]
    parts = [(hours, price) for hours, price in used if hours]
    known = [hours * price for hours, price in parts if price is not None]
    if parts and len(known) == len(parts):  # a part of the costs would look like all of them
        found["compute_cost"] = sum(known)
    if prices.gib_month is not None and done.bytes:
        found["storage_cost_per_month"] = done.bytes / _GIB * prices.gib_month
    return {**found, "currency": prices.currency} if found else {}
