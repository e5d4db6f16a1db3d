"""RayJobs over HTTP, against a stand-in of a Kubernetes API server that refuses what is not in the RayJob's schema."""

import shlex
from typing import Any

import pytest

from curate_resources.launchers.jobs import ClusterUnreachable, JobState
from curate_resources.launchers.kuberay import ClusterTemplateError, KubeRayJobs, cluster_spec

CLUSTER = {"headGroupSpec": {"rayStartParams": {"num-cpus": "0"}, "template": {"spec": {"containers": []}}}}
JOB = "curate-0123456789abcdef-0001"


@pytest.fixture
def server(kubernetes: Any) -> KubeRayJobs:
    return KubeRayJobs(kubernetes.namespace, CLUSTER)


def test_a_job_is_made_once_and_its_command_arrives_as_it_was(kubernetes, server):
    command = ["python", "-m", "curate_assets.job", '/data/my $root\'s "videos"', JOB]
    server.submit(JOB, shlex.join(command))
    server.submit(JOB, "another")
    assert list(kubernetes.jobs) == [JOB]
    spec = kubernetes.jobs[JOB]["spec"]
    assert shlex.split(spec["entrypoint"]) == command
    assert spec["rayClusterSpec"] == CLUSTER
    assert spec["shutdownAfterJobFinishes"] and spec["backoffLimit"] == 0


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        (None, "running"),
        ({}, "running"),
        ({"jobDeploymentStatus": "Initializing"}, "running"),
        ({"jobDeploymentStatus": "Waiting"}, "running"),
        ({"jobDeploymentStatus": "Suspended"}, "running"),
        ({"jobStatus": "PENDING", "jobDeploymentStatus": "Running"}, "running"),
        ({"jobStatus": "RUNNING", "jobDeploymentStatus": "Running"}, "running"),
        ({"jobStatus": "FAILED", "jobDeploymentStatus": "Retrying"}, "running"),
        ({"jobStatus": "SUCCEEDED", "jobDeploymentStatus": "Running"}, "succeeded"),
        ({"jobStatus": "SUCCEEDED", "jobDeploymentStatus": "Complete"}, "succeeded"),
        ({"jobStatus": "STOPPED", "jobDeploymentStatus": "Complete"}, "stopped"),
        ({"jobStatus": "FAILED", "jobDeploymentStatus": "Running"}, "failed"),
        ({"jobStatus": "FAILED", "jobDeploymentStatus": "Failed"}, "failed"),
        ({"jobStatus": "RUNNING", "jobDeploymentStatus": "Failed"}, "failed"),
        ({"jobDeploymentStatus": "Failed"}, "failed"),
        ({"jobDeploymentStatus": "ValidationFailed"}, "failed"),
    ],
)
def test_every_status_has_its_phase(kubernetes, server, status, phase):
    server.submit(JOB, "true")
    if status is not None:
        kubernetes.jobs[JOB]["status"] = status
    state = server.state(JOB)
    assert state is not None and state.phase == phase


def test_the_reason_of_a_failure_is_passed_on(kubernetes, server):
    server.submit(JOB, "true")
    failed = {"jobDeploymentStatus": "Failed", "reason": "DeadlineExceeded"}
    kubernetes.jobs[JOB]["status"] = failed
    assert server.state(JOB) == JobState("failed", "DeadlineExceeded")
    kubernetes.jobs[JOB]["status"] = {**failed, "message": "the head pod is pending"}
    assert server.state(JOB) == JobState("failed", "the head pod is pending")


def test_a_stopped_job_is_not_taken_for_running_while_the_operator_still_ends_it(kubernetes, server):
    server.submit(JOB, "true")
    kubernetes.jobs[JOB]["metadata"]["finalizers"] = ["ray.io/rayjob-finalizer"]
    kubernetes.jobs[JOB]["status"] = {"jobStatus": "RUNNING", "jobDeploymentStatus": "Running"}
    server.stop(JOB)
    state = server.state(JOB)
    assert state is not None and state.phase == "stopped"


def test_a_job_that_is_not_there(kubernetes, server):
    assert server.state(JOB) is None
    assert server.log(JOB) == ""
    server.stop(JOB)


def test_the_log_is_that_of_the_newest_submitter_as_it_was_printed(kubernetes, server):
    line = '{"message": "3 of 5 – über", "level": 20}\n'
    kubernetes.logs = {JOB: [b"no head yet\n", line.encode()], "another": [b"not ours\n"]}
    assert server.log(JOB) == line
    kubernetes.answers = [403]
    assert server.log(JOB) == ""


def test_an_api_server_that_is_busy_for_a_moment_ends_no_job(kubernetes, server):
    kubernetes.answers = [503]
    server.submit(JOB, "true")
    kubernetes.answers = [500]
    assert server.state(JOB) == JobState("running")
    assert len(kubernetes.requests) == 4


def test_what_is_refused_is_said(kubernetes, server, monkeypatch):
    misspelt = KubeRayJobs(kubernetes.namespace, {**CLUSTER, "workerGroupSpec": []})
    with pytest.raises(ClusterUnreachable, match=r"rayClusterSpec.*workerGroupSpec"):
        misspelt.submit(JOB, "true")
    with pytest.raises(ClusterUnreachable, match=r"could not find.*operator installed"):
        KubeRayJobs("elsewhere", CLUSTER).submit(JOB, "true")
    kubernetes.close()
    with pytest.raises(ClusterUnreachable, match=r"answers at http://127\.0\.0\.1"):
        KubeRayJobs(kubernetes.namespace, CLUSTER, retries=0).state(JOB)
    monkeypatch.setenv("KUBECONFIG", str(kubernetes.kubeconfig.with_name("none")))
    with pytest.raises(ClusterUnreachable, match="finds no Kubernetes"):
        KubeRayJobs(kubernetes.namespace, CLUSTER).state(JOB)


@pytest.mark.parametrize("text", [None, "a: [", "just text", "spec: {entrypoint: python}", "---\na: 1\n---\nb: 2\n"])
def test_a_template_that_is_no_cluster_is_said(tmp_path, text):
    path = tmp_path / "template.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ClusterTemplateError, match=r"cluster\.kuberay_template: .*template\.yaml"):
        cluster_spec(str(path))
