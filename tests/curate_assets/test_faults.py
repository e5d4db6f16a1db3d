"""What is tried again by itself, and what is not: steps, and runs."""

import json

import dagster as dg
import pytest
from dagster._core.launcher import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG, RUN_FAILURE_REASON_TAG, WILL_RETRY_TAG

from curate_assets import passing_faults
from curate_assets.config import ConfigError
from curate_assets.passing_faults import RETRIES, tried_again
from curate_assets.resource import curation
from curate_assets.run_launcher import WatchedRunLauncher
from curate_assets.runs import dagster_instance, register_shards, run_assets
from curate_resources.jobs import ClusterRefuses, ClusterUnreachable, JobFailed, JobLost
from curate_resources.plan import LostUnits
from curate_resources.stored_object import StorageRefuses, StorageUnavailable


@pytest.mark.parametrize(
    ("error", "root", "attempts"),
    [
        (StorageUnavailable("no answer"), "s3://bucket", RETRIES + 1),
        (ClusterUnreachable("no answer"), "/data", RETRIES + 1),
        (OSError("LanceError(IO): no answer"), "s3://bucket", RETRIES + 1),
        (JobLost("the driver died"), "/data", RETRIES + 1),
        (LostUnits("one video"), "/data", RETRIES + 1),
        (JobFailed("a mistake"), "/data", 1),
        (OSError("no space left"), "/data", 1),
        (FileNotFoundError("no such bucket"), "s3://bucket", 1),
        (StorageRefuses("denied"), "s3://bucket", 1),
        (ClusterRefuses("denied"), "/data", 1),
        (ConfigError("no such key"), "/data", 1),
        (ValueError("a mistake"), "/data", 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_steps_are_tried_again_where_the_fault_may_pass(error, root, attempts, monkeypatch):
    monkeypatch.setattr(passing_faults, "FIRST_PAUSE_SECONDS", 0)
    tried: list[int] = []

    @dg.asset(required_resource_keys={"curation"})
    def faulty(context: dg.AssetExecutionContext) -> None:
        with tried_again(context):
            tried.append(context.retry_number)
            raise error

    config = {"resources": {"curation": {"config": {"root": root}}}}
    result = dg.materialize([faulty], resources={"curation": curation}, run_config=config, raise_on_error=False)
    assert not result.success
    assert tried == list(range(attempts))


def test_a_run_whose_configuration_is_wrong_is_not_started_again(new_root, monkeypatch):
    root = new_root()
    monkeypatch.setenv("DAGSTER_HOME", str(root.path / "dagster"))
    with dagster_instance(str(root.path)) as instance:
        assert instance.run_retries_enabled and instance.run_monitoring_enabled
        register_shards(instance, root.shards)
        wrong = {"root": str(root.path), "clips": {"min_seconds": -1.0}}
        (outcome,) = run_assets(instance, frozenset({"source_videos"}), root.shards, wrong)
        assert outcome.error is not None and "clips.min_seconds" in outcome.error
        tags = instance.get_run_by_id(outcome.run_id).tags
        assert (tags[RUN_FAILURE_REASON_TAG], tags[WILL_RETRY_TAG]) == ("STEP_FAILURE", "false")


def test_a_run_is_taken_for_dead_only_when_its_code_server_is_gone(tmp_path):
    launcher = WatchedRunLauncher()
    of_a_command = dg.DagsterRun("job", tags={})
    assert launcher.check_run_worker_health(of_a_command).status == WorkerStatus.RUNNING
    server = {"host": "localhost", "socket": str(tmp_path / "gone")}
    left_behind = dg.DagsterRun("job", tags={GRPC_INFO_TAG: json.dumps(server)})
    assert launcher.check_run_worker_health(left_behind).status == WorkerStatus.NOT_FOUND
