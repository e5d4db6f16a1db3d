"""Metrics are counted from events, declared once, and exposed as Prometheus takes them."""

import urllib.request

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from curate_resources.pipeline.commit import Materialized
from curate_resources.pipeline.events import Announced, Committed, PoolState, StageTally, UnitDone, emit
from curate_resources.telemetry import exposure
from curate_resources.telemetry.exposure import exposed_metrics
from curate_resources.telemetry.extras import MissingPackage, needed
from curate_resources.telemetry.metrics import RUN_METRICS, RunMetrics, families, registry_of
from gpu_kernels.errors import UserError

PLAN = "probe > caption"
CAPTION = StageTally("caption", 4.0, 1.0, 2.0, 3, 1, 1, 500, {"output_tokens": 90}, {"MediaError": 1})


class Source:
    def __init__(self, metrics):
        self._metrics = metrics

    def collect(self):
        return families(RUN_METRICS, self._metrics.samples)


def exposed(text: str) -> dict[tuple[str, ...], float]:
    labels = {metric.name: metric.labels for metric in RUN_METRICS}
    return {
        (sample.name, *(sample.labels[name] for name in labels[sample.name])): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_events_say_is_counted_by_stage_pool_and_asset():
    metrics = RunMetrics()
    for event in (
        Announced(PLAN, "a", 2, "videos"),
        UnitDone(PLAN, "a", "1.mp4", 1, 2, "videos", 4, 1, 60.0, (StageTally("probe", computed=1), CAPTION)),
        UnitDone(PLAN, "a", "2.mp4", 2, 2, "videos", 1, 0, 30.0, (CAPTION,)),
        Announced(PLAN, "b", 7, "videos"),
        PoolState("caption", waiting=5, starting=1, idle=0, busy=2, died=1),
        PoolState("caption", died=1),
        PoolState("caption", waiting=2, busy=1, died=1),  # the next run's first death
        PoolState("caption", waiting=1, busy=1, died=2),
        Committed(Materialized("captions", "a", 1, 8, {"ok": 7, "failed": 1}, 8, 0, 1.0, 0, ""), 0, 500_000_000),
    ):
        metrics(event)
    found = exposed(generate_latest(registry_of(Source(metrics))).decode())
    expected = {
        ("curate_units_total", PLAN): 2,
        ("curate_parts_total", PLAN): 5,
        ("curate_media_seconds_total", PLAN): 90,
        ("curate_units_pending", PLAN): 7,
        ("curate_stage_items_total", "caption", "computed"): 4,
        ("curate_stage_items_total", "caption", "reused"): 2,
        ("curate_stage_items_total", "caption", "failed"): 2,
        ("curate_stage_gpu_seconds_total", "caption"): 4,
        ("curate_stage_bytes_total", "caption"): 1000,
        ("curate_stage_tokens_total", "caption", "output_tokens"): 180,
        ("curate_stage_failures_total", "caption", "MediaError"): 2,
        ("curate_pool_workers", "caption", "busy"): 1,
        ("curate_pool_waiting_tasks", "caption"): 1,
        ("curate_pool_worker_deaths_total", "caption"): 2,
        ("curate_committed_rows_total", "captions", "failed"): 1,
        ("curate_commits_total", "captions"): 1,
        ("curate_commit_seconds_total", "captions"): 0.5,
    }
    assert expected.items() <= found.items()
    assert {name for name, *_ in found} == {metric.name for metric in RUN_METRICS}


def test_counters_are_named_and_labelled_as_prometheus_advises():
    for metric in RUN_METRICS:
        assert metric.name.startswith("curate_") and metric.meaning.endswith(".")
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert not {"run", "shard", "source"} & set(metric.labels), "these have as many values as there are"


def test_a_run_serves_and_writes_what_it_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(exposure, "_exposed", None)
    with exposed_metrics():
        assert exposure._exposed is None, "nothing is counted where nothing is asked for"
    monkeypatch.setenv("CURATE_METRICS_TEXTFILE", str(tmp_path))
    monkeypatch.setenv("CURATE_METRICS_PORT", "19464")
    with exposed_metrics():
        emit(UnitDone(PLAN, "a", "1.mp4", 1, 1, "videos", stages=(CAPTION,)))
        served = urllib.request.urlopen("http://127.0.0.1:19464/metrics", timeout=5).read().decode()
    (file,) = tmp_path.iterdir()
    key = ("curate_stage_tokens_total", "caption", "output_tokens")
    assert exposed(served)[key] == exposed(file.read_text())[key] == 90


def test_what_cannot_be_exposed_is_an_error_with_its_remedy(monkeypatch):
    monkeypatch.setattr(exposure, "_exposed", None)
    monkeypatch.setenv("CURATE_METRICS_PORT", "all")
    with pytest.raises(UserError, match="CURATE_METRICS_PORT is 'all': set it to a port"), exposed_metrics():
        pass
    with pytest.raises(MissingPackage, match="metrics needs no_such_module, which is not installed: pip install it"):
        needed("no_such_module", "metrics", "pip install it")
