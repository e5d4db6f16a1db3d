"""Profiles of stages, as their files say."""

import gzip
import json
from dataclasses import replace

import pytest

from curate_resources.engines.in_process import InProcessEngine
from curate_resources.pipeline.run import materialize
from curate_resources.pipeline.run_context import RunContext
from curate_resources.telemetry.extras import MissingPackage
from curate_resources.telemetry.profiling import check_profile, parsed


def profiled(plan, asked: str) -> dict[str, bytes]:
    """Contents by the name of the stage and the kind."""
    context = RunContext("a-run", profile=asked)
    list(materialize(replace(plan, context=context, force=True), ["a-000000"], InProcessEngine()))
    names = plan.storage.files("profiles/a-run")
    return {
        f"{name.split('-')[0]}.{name.split('.', 1)[1]}": plan.storage.read(f"profiles/a-run/{name}") for name in names
    }


def busy() -> int:
    return sum(number * number for number in range(400_000))


def _open_busy(config, storage):
    def work(work):
        busy()
        return {"files": [{"uri": uri, "bytes": busy()} for uri in work.items["uri"].to_pylist()]}

    return work


def test_cpu_memory_and_events_of_the_stages_that_were_asked_for(plan):
    read, tell = plan.stages
    plan = replace(plan, stages=(replace(read, open=_open_busy), tell))
    found = profiled(plan, "cpu:read,memory,events")
    assert set(found) == {"read.html", "stages.memray", "read.trace.json", "tell.trace.json"}
    assert b"busy" in found["read.html"] and found["read.html"].lstrip().startswith(b"<!DOCTYPE html>")
    assert len(found["stages.memray"]) > 100
    calls = [each for each in json.loads(found["tell.trace.json"])["traceEvents"] if each["ph"] == "X"]
    assert sorted((call["name"], call["args"]["failed"]) for call in calls) == [("tell", 0), ("tell", 1)]
    assert all(call["dur"] >= 0 and call["args"]["shard"] == "a-000000" for call in calls)


def test_a_run_without_profiles_writes_none(plan):
    assert profiled(plan, "") == {}


def test_what_cannot_be_profiled_is_an_error_before_anything_runs(monkeypatch):
    with pytest.raises(ValueError, match="there is no profile 'gpus': cpu, memory, gpu, events"):
        parsed("cpu,gpus:embed")
    monkeypatch.setattr("curate_resources.telemetry.extras.find_spec", lambda _: None)
    with pytest.raises(MissingPackage, match=r"engine.profile: memory needs memray.*curate-graph\[profiling\]"):
        check_profile("memory:embed")
    check_profile("events")


def _open_torch(config, storage):
    import torch

    def work(work):
        made = torch.ones(64, 64) @ torch.ones(64, 64)
        return {"files": [{"uri": uri, "bytes": int(made.sum())} for uri in work.items["uri"].to_pylist()]}

    return work


@pytest.mark.deep  # torch takes seconds to load
def test_operators_of_torch_are_in_the_gpu_profile(plan):
    read, tell = plan.stages
    found = profiled(replace(plan, stages=(replace(read, open=_open_torch), tell)), "gpu:read,cpu")
    trace = json.loads(gzip.decompress(found["read.trace.json.gz"]))
    assert any(event.get("name") == "aten::mm" for event in trace["traceEvents"])
    assert set(found) == {"read.trace.json.gz", "read.html", "tell.html"}
