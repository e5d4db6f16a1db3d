"""Runs that a RayJob drives. The API server and the operator are stand-ins, the driver is a real process."""

import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from curate_assets import job
from curate_assets.orchestration.engines import materialized
from curate_assets.settings.resolve import validated
from curate_assets.video.graph import VIDEO
from curate_resources.launchers.jobs import JobSpec, Ledger
from curate_resources.pipeline.commit import Materialized
from curate_resources.storage.root import Storage

CURATION = frozenset(table.name for stage in VIDEO.phases[0].stages for table in stage.writes)
TEMPLATE = "headGroupSpec: {rayStartParams: {num-cpus: '0'}, template: {spec: {containers: [{name: ray-head}]}}}"


@pytest.fixture
def root(new_root, tmp_path) -> Any:
    """A root whose name needs quotes in a shell."""
    return new_root().copy_to(tmp_path / "it's a root")


def a_plan(root: Any, kubernetes: Any, template: Path) -> Any:
    template.write_text(TEMPLATE)
    cluster = {
        "mode": "kuberay",
        "namespace": kubernetes.namespace,
        "kuberay_template": str(template),
        "python": sys.executable,
    }
    clips = {"min_seconds": 0.6, "min_frames": 15, "crop_seconds": 0.2}
    settings = validated({"clips": clips, "engine": {"kind": "in_process"}, "cluster": cluster})
    return VIDEO.plan(CURATION, settings, root.storage.root, stages=VIDEO.phases[0].stages)


def assert_same(root: Any, finished: Any) -> None:
    for name in CURATION:
        assert root.tables.read(VIDEO.tables[name]).equals(finished.tables.read(VIDEO.tables[name])), name


@pytest.mark.deep
def test_a_rayjob_commits_every_shard_and_its_driver_is_heard(finished, root, kubernetes, operator, tmp_path, caplog):
    caplog.set_level(logging.INFO, "curate")
    done = list(materialized(a_plan(root, kubernetes, tmp_path / "cluster.yaml"), root.shards))
    assert sorted((each.table, each.shard) for each in done) == sorted((t, s) for t in CURATION for s in root.shards)
    assert_same(root, finished)
    assert list(kubernetes.jobs) == root.storage.folders("jobs")
    assert any("of 3 videos" in record.getMessage() for record in caplog.records)


@pytest.mark.deep
def test_who_stops_following_deletes_the_rayjob_and_the_next_run_is_a_new_one(
    finished, root, kubernetes, operator, tmp_path
):
    plan = a_plan(root, kubernetes, tmp_path / "cluster.yaml")
    following = materialized(plan, root.shards)
    next(following)
    following.close()
    (stopped,) = root.storage.folders("jobs")
    list(materialized(plan, root.shards))  # at once: the operator may still be ending the first one
    assert [stopped, *kubernetes.jobs] == root.storage.folders("jobs")
    assert_same(root, finished)


@pytest.mark.deep
def test_a_job_whose_head_dies_is_run_again_and_tells_each_commit_once(finished, root, kubernetes, operator, tmp_path):
    plan = a_plan(root, kubernetes, tmp_path / "cluster.yaml")
    following = materialized(plan, root.shards)
    done = [next(following)]
    operator.lose_head(next(iter(kubernetes.jobs)))
    done += following
    assert sorted((each.table, each.shard) for each in done) == sorted((t, s) for t in CURATION for s in root.shards)
    assert_same(root, finished)


def test_a_driver_that_is_started_again_notes_what_is_new_behind_what_it_noted(tmp_path, monkeypatch):
    """Which shard is through first is not the same every time."""
    a, b = (Materialized("clips", shard, 1, 2, {"ok": 2}, 2, 0, 0.5, 7, "digest", "identity") for shard in "ab")
    ledger = Ledger(Storage(str(tmp_path)), "job")
    stages = tuple(stage.name for stage in VIDEO.phases[0].stages)
    ledger.specify(JobSpec(root=str(tmp_path), stages=stages, wanted=tuple(CURATION), shards=("a", "b"), config={}))
    for name in ("propagate", "handlers", "level"):  # which a driver changes, in its own process
        monkeypatch.setattr(logging.getLogger("curate"), name, getattr(logging.getLogger("curate"), name))
    monkeypatch.setattr(logging.getLogger("curate"), "handlers", [])
    monkeypatch.setattr(job, "materialize", lambda *_: iter([a]))
    assert job.main(str(tmp_path), "job") == 0
    ledger.close("the head is lost", passes=True)
    monkeypatch.setattr(job, "materialize", lambda *_: iter([b, a]))
    assert job.main(str(tmp_path), "job") == 0
    assert ledger.entries(0) == [a, b] and ledger.entries(1) == [b]
    assert ledger.end() == {"error": None, "passes": False}
