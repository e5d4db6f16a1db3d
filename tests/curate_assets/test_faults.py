"""What is tried again by itself, and what is not: steps, and runs."""

import json

import dagster as dg
import pytest
from dagster._core.launcher import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG, RUN_FAILURE_REASON_TAG, WILL_RETRY_TAG

from curate_assets.graph.platform import ConfigError
from curate_assets.orchestration import step_errors
from curate_assets.orchestration.resource import curation
from curate_assets.orchestration.runs import dagster_instance, register_shards, run_assets
from curate_assets.orchestration.step_errors import RETRIES, told_errors
from curate_assets.run_launcher import WatchedRunLauncher
from curate_resources.launchers.jobs import ClusterRefuses, ClusterUnreachable, JobFailed, JobLost
from curate_resources.pipeline.run import LostUnits
from curate_resources.storage.stored_object import StorageRefuses, StorageUnavailable


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
    monkeypatch.setattr(step_errors, "FIRST_PAUSE_SECONDS", 0)
    tried: list[int] = []

    @dg.asset(required_resource_keys={"curation"})
    def faulty(context: dg.AssetExecutionContext) -> None:
        with told_errors(context):
            tried.append(context.retry_number)
            raise error

    config = {"resources": {"curation": {"config": {"root": root}}}}
    result = dg.materialize([faulty], resources={"curation": curation}, run_config=config, raise_on_error=False)
    assert not result.success
    assert tried == list(range(attempts))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConfigError("clips.min_seconds: must be positive"), "clips.min_seconds: must be positive"),
        (PermissionError(13, "Permission denied", "/data/tables"), "/data/tables: permission is denied"),
        (StorageUnavailable("s3://bucket does not answer"), "s3://bucket does not answer"),
        (KeyError("shot"), None),
    ],
)
def test_the_error_of_a_run_is_one_sentence_and_that_of_a_bug_has_a_traceback(error, said, monkeypatch):
    monkeypatch.setattr(step_errors, "FIRST_PAUSE_SECONDS", 0)

    @dg.asset(required_resource_keys={"curation"})
    def faulty(context: dg.AssetExecutionContext) -> None:
        with told_errors(context):
            raise error

    config = {"resources": {"curation": {"config": {"root": "/data"}}}}
    result = dg.materialize([faulty], resources={"curation": curation}, run_config=config, raise_on_error=False)
    (failed,) = (event.step_failure_data for event in result.all_events if event.is_step_failure)
    if said is None:
        assert failed.user_failure_data is None
        assert "raise error" in failed.error.to_string() and "KeyError: 'shot'" in failed.error.to_string()
    else:
        assert failed.user_failure_data.description.startswith(said)
        assert "raise error" not in failed.error.to_string()


@pytest.mark.parametrize(("root", "said"), [("ftp://server/data", "cannot open ftp://server/data"), (None, "no shard")])
def test_a_root_that_is_wrong_is_the_error_of_the_run(root, said, new_root, monkeypatch, tmp_path):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    with dagster_instance(str(tmp_path)) as instance:
        register_shards(instance, ["a-000000"])
        wrong = {"root": root or str(tmp_path / "mistyped")}
        (outcome,) = run_assets(instance, frozenset({"source_videos"}), ["a-000000"], wrong)
        assert outcome.error is not None and said in outcome.error and not outcome.bug
        print(outcome)
        assert instance.get_run_by_id(outcome.run_id).tags[RUN_FAILURE_REASON_TAG] == "STEP_FAILURE"


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
