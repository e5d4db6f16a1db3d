"""What can be seen of real runs: traces, JSON logs, metrics, profiles."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from curate_assets.video.graph import VIDEO

CURATION = frozenset(table.name for stage in VIDEO.phases[0].stages for table in stage.writes)


def curate(root: Any, *arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "DAGSTER_HOME": "", "XDG_STATE_HOME": str(root.path.parent / "state"), **environment}
    command = [sys.executable, "-m", "curate_cli.main", *arguments, "--root", root.storage.root]
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=500)


def logged(files: Iterable[Path]) -> list[dict[str, Any]]:
    lines = "\n".join(path.read_text() for path in files).splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


@pytest.mark.deep
def test_a_trace_leads_from_the_dagster_run_to_every_stage_call_in_jobs_and_actors(
    new_root, traced_cluster, otlp, tmp_path
):
    root = new_root()
    job_server = {
        "mode": "cluster",
        "address": traced_cluster.dashboard,
        "token_path": str(traced_cluster.token_path),
        "python": sys.executable,
    }
    settings = {
        "clips": {"min_seconds": 0.6, "min_frames": 15, "crop_seconds": 0.2},
        "cluster": job_server,
        "engine": {"kind": "ray", "profile": "events,cpu:embed"},
    }
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(settings))
    arguments = ("materialize", "--select", ",".join(sorted(CURATION)), "--config", str(config), "--json")
    done = curate(root, *arguments, environment={"CURATE_LOG_FORMAT": "json"})
    assert done.returncode == 0, done.stdout + done.stderr
    (outcome,) = json.loads(done.stdout)

    (run,) = otlp.named("run")
    assert run.trace == outcome["run_id"].replace("-", "") and {span.trace for span in otlp.spans} == {run.trace}
    (step,) = [span for span in otlp.spans if span.name.startswith("step ")]
    shards = {span.name: span for span in otlp.spans if span.name.startswith("shard ")}
    assert set(shards) == {"shard a-000000", "shard b-000000"}
    assert step.parent == run.id and {shard.parent for shard in shards.values()} == {step.id}
    for name in ("probe", "scan", "split", "embed", "select", "commit clips"):
        assert {otlp.parent_of(span).name for span in otlp.named(name)} == set(shards), name
    of_run, of_job, of_actors = (
        {span.process["process.pid"] for span in spans} for spans in ([run, step], shards.values(), otlp.named("embed"))
    )
    assert len(of_run) == len(of_job) == 1 and not (of_run & of_job or of_actors & (of_run | of_job))

    of_job = [line for line in logged(root.path.parent.rglob("curate.log")) if line["logger"] == "curate.engine"]
    assert of_job and {line["run"] for line in of_job} == {outcome["run_id"]}
    (failed,) = [line for line in logged(traced_cluster.logs.glob("worker-*.err")) if "failed on" in line["message"]]
    assert (failed["run"], failed["stage"], failed["shard"]) == (outcome["run_id"], "probe", "a-000000")
    assert failed["source"].endswith("notes.mp4")

    profiles = root.storage.files(f"profiles/{outcome['run_id']}")
    assert {name.split("-")[0] for name in profiles if name.endswith("trace.json")} >= {"probe", "scan", "embed"}
    assert {name.split("-")[0] for name in profiles if name.endswith("html")} == {"embed"}


RUN = """
import dagster as dg
from curate_assets.definitions import defs
from curate_assets.orchestration.runs import dagster_instance, register_shards
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run

with dagster_instance({root!r}) as instance:
    register_shards(instance, ["a-000000"])
    job = defs.resolve_implicit_global_asset_job_def()
    settings = {{"root": {root!r}, "engine": {{"kind": "in_process"}}}}
    run = instance.create_run_for_job(
        job,
        run_config={{"resources": {{"curation": {{"config": settings}}}}}},
        tags={{"dagster/partition": "a-000000"}},
        asset_selection=frozenset([dg.AssetKey("source_videos")]),
    )
    execute_run(InMemoryJob(job), run, instance)
    print(run.run_id)
"""


@pytest.mark.deep
def test_the_console_of_a_launched_run_is_json_with_the_ids_of_run_and_shard(new_root, tmp_path):
    root = new_root()
    (tmp_path / "dagster.yaml").write_text("python_logs: {python_log_level: INFO}")
    variables = {**os.environ, "DAGSTER_HOME": str(tmp_path), "CURATE_LOG_FORMAT": "json"}
    code = RUN.format(root=root.storage.root)
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, timeout=300)
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert {line["run"] for line in lines} == {done.stdout.strip()}
    (failed,) = [line for line in lines if "failed on" in line["message"]]
    assert (failed["shard"], failed["stage"], failed["level"]) == ("a-000000", "probe", "WARNING")
    assert any(line["shard"] == "a-000000" and "1 of 3 videos" in line["message"] for line in lines)
    assert not [line for line in done.stderr.splitlines() if " - dagster - " in line], "of the text console"
