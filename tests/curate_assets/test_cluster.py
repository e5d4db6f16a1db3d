"""Runs that are submitted to a real cluster as jobs: a head and two worker nodes on loopback, with a token."""

import json
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from typing import Any

import dagster as dg
import pytest
from chaos_runs import processes

from curate_assets.definitions import defs
from curate_assets.orchestration.engines import materialized
from curate_assets.orchestration.partitions import SHARDS
from curate_assets.settings.resolve import validated
from curate_assets.video.graph import VIDEO
from curate_resources.launchers.jobs import JobFailed, JobLost, Ledger
from curate_resources.launchers.ray_jobs import ClusterUnreachable, RayJobServer

CURATION = frozenset(table.name for stage in VIDEO.phases[0].stages for table in stage.writes)
SHORT_CLIPS = {"min_seconds": 0.6, "min_frames": 15, "crop_seconds": 0.2}


def settings(cluster: Any, **engine: Any) -> dict[str, Any]:
    job_server = {
        "mode": "cluster",
        "address": cluster.dashboard,
        "token_path": str(cluster.token_path),
        "python": sys.executable,
    }
    return {"clips": SHORT_CLIPS, "cluster": job_server, "engine": {"kind": "ray", **engine}}


def a_plan(root: Any, cluster: Any, **engine: Any):
    return VIDEO.plan(
        CURATION, validated(settings(cluster, **engine)), root.storage.root, stages=VIDEO.phases[0].stages
    )


def assert_same(root: Any, finished: Any) -> None:
    for name in CURATION:
        assert root.tables.read(VIDEO.tables[name]).equals(finished.tables.read(VIDEO.tables[name])), name


def jobs_of(root: Any) -> list[str]:
    return root.storage.folders("jobs")


@pytest.mark.deep
def test_dagster_follows_a_job_and_reports_every_shard_with_its_own_metadata(finished, new_root, cluster):
    root = new_root()
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(SHARDS.name or "", root.shards)
        result = dg.materialize(
            [asset for asset in defs.assets or [] if isinstance(asset, dg.AssetsDefinition)],
            selection=sorted(CURATION),
            instance=instance,
            resources=defs.resources,
            tags={
                "dagster/asset_partition_range_start": root.shards[0],
                "dagster/asset_partition_range_end": root.shards[-1],
            },
            run_config={"resources": {"curation": {"config": {"root": root.storage.root, **settings(cluster)}}}},
        )
        assert result.success
        for name in CURATION:
            events = instance.fetch_materializations(dg.AssetKey(name), limit=10).records
            count = "dagster/partition_row_count"
            rows = {event.partition_key: event.asset_materialization.metadata[count] for event in events}
            stored = Counter(root.tables.read(VIDEO.tables[name], columns=["shard"])["shard"].to_pylist())
            assert {shard: value.value for shard, value in rows.items()} == {
                shard: stored[shard] for shard in root.shards
            }
        said = [record.user_message for record in instance.all_logs(result.run_id)]
    assert any("of 3 videos" in message for message in said)  # the driver's progress, relayed
    assert_same(root, finished)
    assert len(jobs_of(root)) == 1


_FOLLOW = """
import json, sys
from curate_assets.settings.resolve import validated
from curate_assets.orchestration.engines import materialized
from curate_assets.video.graph import VIDEO
settings, root, shards = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3].split(",")
wanted = frozenset(table.name for stage in VIDEO.phases[0].stages for table in stage.writes)
plan = VIDEO.plan(wanted, validated(settings), root, stages=VIDEO.phases[0].stages)
for done in materialized(plan, shards):
    print(done.table, flush=True)
"""


def follow(root: Any, cluster: Any, server: RayJobServer) -> subprocess.Popen[str]:
    """A process that follows a job which it has submitted just now."""
    arguments = [json.dumps(settings(cluster)), root.storage.root, ",".join(root.shards)]
    follower = subprocess.Popen([sys.executable, "-c", _FOLLOW, *arguments], stdout=subprocess.PIPE, text=True)
    while not (root.path / "jobs").is_dir() or not jobs_of(root) or server.state(jobs_of(root)[0]) is None:
        assert follower.poll() is None
    return follower


@pytest.mark.deep
def test_who_follows_may_be_killed_and_the_next_one_takes_the_running_job_over(finished, new_root, cluster):
    root = new_root()
    follower = follow(root, cluster, RayJobServer(cluster.dashboard, str(cluster.token_path)))
    follower.send_signal(signal.SIGKILL)
    follower.wait()
    done = list(materialized(a_plan(root, cluster), root.shards))
    assert sorted((each.table, each.shard) for each in done) == sorted((t, s) for t in CURATION for s in root.shards)
    assert len(jobs_of(root)) == 1
    assert_same(root, finished)


@pytest.mark.deep
def test_who_is_interrupted_stops_the_job_and_a_new_one_goes_on(finished, new_root, cluster):
    root = new_root()
    server = RayJobServer(cluster.dashboard, str(cluster.token_path))
    follower = follow(root, cluster, server)
    follower.send_signal(signal.SIGINT)
    follower.wait()
    (job,) = jobs_of(root)
    state = server.state(job)
    while state is not None and state.phase == "running":
        state = server.state(job)
    assert state is not None and state.phase == "stopped"
    assert Ledger(root.storage, job).end() is None
    list(materialized(a_plan(root, cluster), root.shards))
    assert len(jobs_of(root)) == 2
    assert_same(root, finished)


@pytest.mark.deep
def test_three_runs_share_the_cluster_and_none_starves(finished, new_root, cluster):
    """Each needs three pools and there are four CPUs: two of them must not hold half of what they need each."""
    roots = [new_root() for _ in range(3)]
    errors: list[BaseException] = []

    def run(root: Any) -> None:
        try:
            list(materialized(a_plan(root, cluster, layout="pooled"), root.shards))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(root,)) for root in roots]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=400)
        assert not thread.is_alive()
    assert errors == []
    for root in roots:
        assert_same(root, finished)


@pytest.mark.deep
def test_an_error_of_the_driver_is_the_error_of_the_run(new_root, cluster):
    root = new_root()
    plan = a_plan(root, cluster)
    with pytest.raises(JobFailed, match=r"MissingInput.*needs source_videos") as failed:
        list(materialized(plan.only(VIDEO.phases[0].stages[1]), root.shards))
    assert not isinstance(failed.value, JobLost), "once more it would be the same"


@pytest.mark.deep
def test_a_driver_that_dies_is_told_and_may_be_asked_again(finished, new_root, cluster):
    root = new_root()
    done = materialized(a_plan(root, cluster), root.shards)
    next(done)
    processes.kill(processes.running(rf"curate_assets\.job {re.escape(str(root.path))} "))
    with pytest.raises(JobLost, match="failed before it finished"):
        list(done)
    list(materialized(a_plan(root, cluster), root.shards))
    assert_same(root, finished)


def test_a_wrong_token_or_address_is_said(cluster, tmp_path):
    with pytest.raises(ClusterUnreachable, match=r"no job server answers at http://127\.0\.0\.1:1"):
        RayJobServer("http://127.0.0.1:1", str(cluster.token_path)).state("any")
    (tmp_path / "token").write_text("0" * 64)
    imported = "from curate_resources.launchers.ray_jobs import RayJobServer"
    ask = f"{imported}; RayJobServer({cluster.dashboard!r}, {str(tmp_path / 'token')!r})"
    asked = subprocess.run([sys.executable, "-c", f"{ask}.state('any')"], capture_output=True, text=True)
    assert "ClusterRefuses" in asked.stderr and "cluster.token_path" in asked.stderr, asked.stderr
