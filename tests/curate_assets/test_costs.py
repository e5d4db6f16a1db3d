"""Estimated costs."""

from curate_assets.graph.platform import PricesConfig
from curate_assets.orchestration.costs import estimated_costs
from curate_resources.pipeline.commit import Materialized


def test_costs_are_whole_or_not_said() -> None:
    done = Materialized("clips", "a", 1, 1, {}, 1, 0, 60.0, 1 << 30, "", "clip", cpu_seconds=1800, gpu_seconds=3600)
    assert estimated_costs(PricesConfig(), done) == {}
    assert estimated_costs(PricesConfig(cpu_hour=2.0), done) == {}  # the dearest part has no price
    assert estimated_costs(PricesConfig(cpu_hour=2.0, gpu_hour=3.0, gib_month=0.5, currency="EUR"), done) == {
        "compute_cost": 4.0,
        "storage_cost_per_month": 0.5,
        "currency": "EUR",
    }
