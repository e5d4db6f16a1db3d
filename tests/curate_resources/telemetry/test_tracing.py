"""Spans as a receiver gets them: each below what it belongs to, whichever process made it."""

from contextlib import ExitStack
from dataclasses import replace

import pytest

from curate_resources.engines.in_process import InProcessEngine
from curate_resources.pipeline.run import materialize
from curate_resources.pipeline.run_context import RunContext
from curate_resources.telemetry import tracing
from curate_resources.telemetry.processes import observed

RUN = "6f1e0a52-1d0b-4c0f-9d1f-3a7f6b1c2d3e"


@pytest.fixture
def traced(otlp, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", otlp.url)
    tracing._provider.cache_clear()
    tracing._installed.cache_clear()
    yield otlp
    if tracing._provider.cache_info().currsize:
        tracing._provider().shutdown()
    tracing._provider.cache_clear()


def run(plan) -> None:
    """As the process of a Dagster run, and in it as that of a job."""
    trace = tracing.run_traceparent(RUN)
    own = tracing.below(trace, "run")
    step = tracing.below(own, "step", "curate", "0")
    with ExitStack() as stack:
        stack.callback(tracing.flush)
        stack.enter_context(tracing.traced("run", own, trace, {"dagster.run_id": RUN}))
        stack.enter_context(tracing.traced("step curate", step, own, {}))
        context = RunContext(RUN, step)
        with observed(context):
            list(materialize(replace(plan, context=context), ["a-000000"], InProcessEngine()))


def test_a_trace_has_the_id_of_its_run_and_leads_to_every_call_and_commit(plan, traced, monkeypatch):
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=mine,deployment=test")
    run(plan)
    assert {span.trace for span in traced.spans} == {RUN.replace("-", "")}
    (root,), (step,), (shard,) = (traced.named(name) for name in ("run", "step curate", "shard a-000000"))
    assert (root.parent, step.parent, shard.parent) == ("", root.id, step.id)
    assert {span.name for span in traced.spans if span.parent == shard.id} == {
        "read",
        "tell",
        "commit files",
        "commit words",
    }
    assert len({span.id for span in traced.spans}) == len(traced.spans) == 3 + 4 + 2
    bad = [span for span in traced.named("tell") if span.about["curate.source"].endswith("bad.bin")]
    assert [span.about["curate.failed"] for span in bad] == [1]
    for span in traced.spans:
        assert root.began <= span.began <= span.ended <= root.ended, span.name
        assert (span.process["service.name"], span.process["deployment"]) == ("mine", "test")


def test_a_sampler_takes_whole_traces_or_nothing(plan, traced, monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.0")
    run(plan)
    assert traced.spans == []


def test_what_raises_is_seen_in_its_span_and_a_shard_without_commits_in_its_own(plan, traced, monkeypatch):
    monkeypatch.setattr(
        "curate_resources.pipeline.run.commit", lambda *_: (_ for _ in ()).throw(OSError("the disk is full"))
    )
    with pytest.raises(OSError):
        run(plan)
    assert traced.named("run")[0].error == "OSError: the disk is full"
    assert traced.named("shard a-000000")[0].error == "nothing of it was committed"


@pytest.mark.parametrize("variables", [{}, {"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}])
def test_nothing_is_traced_unless_the_environment_asks_for_it(monkeypatch, variables):
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
        monkeypatch.setenv(name, value)
    assert not tracing.asked()
