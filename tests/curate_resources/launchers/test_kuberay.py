"""RayJobs over HTTP, against a stand-in of a Kubernetes API server that is as strict as the real one."""

import shlex
import time
from typing import Any

import pytest

from curate_resources.launchers import kubernetes_server
from curate_resources.launchers.jobs import ClusterRefuses, ClusterUnreachable, JobState
from curate_resources.launchers.kuberay import RIGHTS, KubeRayJobs
from curate_resources.launchers.kubernetes_server import KubernetesServer
from curate_resources.launchers.rayjob import ClusterTemplate, ClusterTemplateError, cluster_template

CONTEXT = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True}
HEAD = {
    "metadata": {
        "labels": {"curate-graph/role": "ray", "ray.io/custom": "x"},
        "annotations": {"sidecar.istio.io/inject": "false"},
    },
    "spec": {
        "serviceAccountName": "curate-ray",
        "imagePullSecrets": [{"name": "registry"}],
        "nodeSelector": {"pool": "cpu"},
        "tolerations": [{"key": "curation", "operator": "Exists"}],
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        "terminationGracePeriodSeconds": 60,
        "containers": [
            {
                "name": "ray-head",
                "image": "registry/curate:1",
                "imagePullPolicy": "IfNotPresent",
                "securityContext": CONTEXT,
                "env": [
                    {"name": "HOME", "value": "/home/curate"},
                    {"name": "RAY_TLS_CA_CERT", "value": "/tls/ca.crt"},
                    {"name": "AWS_SECRET_ACCESS_KEY", "value": "secret"},
                ],
                "envFrom": [{"secretRef": {"name": "curate-storage"}}],
                "resources": {"limits": {"cpu": "2", "memory": "8Gi", "nvidia.com/gpu": "1"}},
                "volumeMounts": [
                    {"name": "home", "mountPath": "/home/curate"},
                    {"name": "shm", "mountPath": "/dev/shm"},
                    {"name": "tls", "mountPath": "/tls"},
                    {"name": "models", "mountPath": "/models"},
                ],
            },
            {"name": "sidecar", "image": "another"},
        ],
        "volumes": [
            {"name": "home", "emptyDir": {}},
            {"name": "shm", "emptyDir": {"medium": "Memory"}},
            {"name": "tls", "secret": {"secretName": "tls"}},
            {"name": "models", "persistentVolumeClaim": {"claimName": "models"}},
        ],
    },
}
CLUSTER = {
    "headGroupSpec": {"rayStartParams": {"num-cpus": "0"}, "template": HEAD},
    "workerGroupSpecs": [{"groupName": "cpu", "template": {"spec": {"containers": [{"name": "ray-worker"}]}}}],
}
JOB = "curate-0123456789abcdef-0001"


def jobs(kubernetes: Any, cluster: Any = CLUSTER, retries: int = 8, seconds: float = 30.0, **more: Any) -> KubeRayJobs:
    return KubeRayJobs(
        kubernetes.namespace, ClusterTemplate(cluster), server=KubernetesServer(retries, seconds), **more
    )


@pytest.fixture
def server(kubernetes: Any) -> KubeRayJobs:
    return jobs(kubernetes)


def test_a_job_is_made_once_and_its_command_arrives_as_it_was(kubernetes, server):
    command = ["python", "-m", "curate_assets.job", '/data/my $root\'s "videos"', JOB]
    server.submit(JOB, shlex.join(command))
    server.submit(JOB, "another")
    assert list(kubernetes.jobs) == [JOB]
    spec = kubernetes.jobs[JOB]["spec"]
    assert shlex.split(spec["entrypoint"]) == command
    assert spec["shutdownAfterJobFinishes"] and spec["backoffLimit"] == 0
    templates = [spec["rayClusterSpec"]["headGroupSpec"], *spec["rayClusterSpec"]["workerGroupSpecs"]]
    for template in [spec["submitterPodTemplate"], *(group["template"] for group in templates)]:
        assert template["metadata"]["labels"]["curate-graph/job"] == JOB
    for template in templates:
        del template["template"]["metadata"]["labels"]["curate-graph/job"]
    templates[1]["template"].pop("metadata")
    assert spec["rayClusterSpec"] == CLUSTER


def test_the_submitter_is_let_in_where_the_head_is_and_takes_little(server):
    template = server.manifest(JOB, "true")["spec"]["submitterPodTemplate"]
    assert template["metadata"]["labels"] == {"curate-graph/role": "ray", "curate-graph/job": JOB}
    assert template["metadata"]["annotations"] == {"sidecar.istio.io/inject": "false"}
    pod, head = template["spec"], HEAD["spec"]
    for key in ("serviceAccountName", "imagePullSecrets", "nodeSelector", "tolerations", "securityContext"):
        assert pod[key] == head[key], key
    assert (pod["restartPolicy"], pod["automountServiceAccountToken"]) == ("Never", False)
    (container,) = pod["containers"]
    assert (container["name"], container["image"]) == ("ray-job-submitter", "registry/curate:1")
    assert container["securityContext"] == CONTEXT
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}
    assert [each["name"] for each in container["env"]] == ["HOME", "RAY_TLS_CA_CERT"] and "envFrom" not in container
    # Writable folders for a root file system that is not, and the certificate.
    assert [each["mountPath"] for each in container["volumeMounts"]] == ["/home/curate", "/tls"]
    assert [each["name"] for each in pod["volumes"]] == ["home", "tls"]


def test_labels_annotations_and_the_deadline_are_those_of_the_settings(kubernetes):
    template = ClusterTemplate(CLUSTER, {"team": "a", "kueue.x-k8s.io/queue-name": "low"}, {"note": "b"})
    queue = {"kueue.x-k8s.io/queue-name": "high"}
    server = KubeRayJobs(kubernetes.namespace, template, queue, start_seconds=90.5)
    server.submit(JOB, "true")
    metadata, spec = kubernetes.jobs[JOB]["metadata"], kubernetes.jobs[JOB]["spec"]
    assert metadata["labels"] == {"app.kubernetes.io/managed-by": "curate-graph", "team": "a", **queue}
    assert metadata["annotations"] == {"note": "b"}
    assert spec["preRunningDeadlineSeconds"] == 90
    assert "preRunningDeadlineSeconds" not in jobs(kubernetes).manifest(JOB, "true")["spec"]


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        (None, "running"),
        ({}, "running"),
        ({"jobDeploymentStatus": "Initializing"}, "running"),
        ({"jobDeploymentStatus": "Waiting"}, "running"),
        ({"jobStatus": "", "jobDeploymentStatus": "Running"}, "running"),
        ({"jobDeploymentStatus": "Suspended"}, "running"),
        ({"jobStatus": "STOPPED", "jobDeploymentStatus": "Suspending"}, "running"),
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
    deployment = (status or {}).get("jobDeploymentStatus", "")
    assert state.held == deployment.startswith("Suspend")
    begun = (status or {}).get("jobStatus") in ("RUNNING", "FAILED") and not state.held
    assert phase != "running" or bool(state.waits_for) != begun


def test_a_job_that_a_queue_holds_is_called_so(kubernetes):
    server = jobs(kubernetes, labels={"kueue.x-k8s.io/queue-name": "gpus"})
    server.submit(JOB, "true")
    kubernetes.jobs[JOB]["spec"]["suspend"] = True
    state = server.state(JOB)
    assert state and state.held and "Kueue's queue gpus has not admitted it" in state.waits_for


def test_the_reason_of_a_failure_is_passed_on(kubernetes, server):
    server.submit(JOB, "true")
    failed = {"jobDeploymentStatus": "Failed", "reason": "PreRunningDeadlineExceeded"}
    kubernetes.jobs[JOB]["status"] = failed
    assert server.state(JOB) == JobState("failed", "PreRunningDeadlineExceeded")
    kubernetes.jobs[JOB]["status"] = {**failed, "message": "the head pod is pending"}
    state = server.state(JOB)
    assert state == JobState("failed", "PreRunningDeadlineExceeded: the head pod is pending")
    assert not state.passes, "the same template would wait again"
    kubernetes.jobs[JOB]["status"] = {"jobDeploymentStatus": "Failed", "reason": "SubmissionFailed"}
    assert (state := server.state(JOB)) and state.passes


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
    assert server.surroundings(JOB) is None
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
    kubernetes.answers = [500, (429, {"Retry-After": "1"})]
    began = time.monotonic()
    assert server.state(JOB) == JobState("running")
    assert len(kubernetes.requests) == 5
    assert time.monotonic() - began >= 1, "as long as it asks for"
    kubernetes.answers = [409]
    server.stop(JOB)
    assert not kubernetes.jobs


def test_a_log_that_cannot_be_had_is_asked_for_once(kubernetes, server, monkeypatch):
    kubernetes.logs = {JOB: [b"a line\n"]}
    kubernetes.answers = [500] * 20
    assert server.log(JOB) == ""
    assert len(kubernetes.requests) == 1
    monkeypatch.setattr(kubernetes_server, "_GLANCE_SECONDS", 0.3)
    kubernetes.away = True
    began = time.monotonic()
    assert server.log(JOB) == "" and server.surroundings(JOB) is None
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_what_is_refused_for_good_is_asked_once(kubernetes, server, status):
    kubernetes.answers = [status] * 9
    with pytest.raises(ClusterRefuses):
        server.state(JOB)
    assert len(kubernetes.requests) == 1


@pytest.mark.parametrize("status", [409, 429, 500, 503])
def test_what_may_pass_is_asked_again_and_is_no_refusal(kubernetes, status):
    kubernetes.answers = [status] * 9
    with pytest.raises(ClusterUnreachable) as raised:
        jobs(kubernetes, retries=1).submit(JOB, "true")
    assert not isinstance(raised.value, ClusterRefuses)
    assert len(kubernetes.requests) > 1


def test_what_is_refused_is_said(kubernetes, server, monkeypatch):
    with pytest.raises(ClusterRefuses, match=r"unknown field \"spec\.rayClusterSpec\.workerGroupSpec\".*template"):
        jobs(kubernetes, {**CLUSTER, "workerGroupSpec": []}).submit(JOB, "true")
    with pytest.raises(ClusterRefuses, match=r"rayVersion: 2\.5 is not of type 'string'; correct cluster\.kuberay"):
        jobs(kubernetes, {**CLUSTER, "rayVersion": 2.5}).submit(JOB, "true")
    with pytest.raises(ClusterRefuses, match=r"namespaces \"elsewhere\" not found.*operator installed"):
        KubeRayJobs("elsewhere", ClusterTemplate(CLUSTER)).submit(JOB, "true")
    kubernetes.installed = False
    with pytest.raises(ClusterRefuses, match=r"404 Not Found.*operator installed"):
        server.state(JOB)
    kubernetes.rights, kubernetes.installed = set(RIGHTS) - {("ray.io", "rayjobs", "create")}, True
    with pytest.raises(ClusterRefuses, match=r"cannot create resource \"rayjobs\".*doctor --deployment"):
        server.submit(JOB, "true")
    kubernetes.close()
    with pytest.raises(ClusterUnreachable, match=r"answers at http://127\.0\.0\.1"):
        jobs(kubernetes, retries=0).state(JOB)
    monkeypatch.setenv("KUBECONFIG", str(kubernetes.kubeconfig.with_name("none")))
    with pytest.raises(ClusterUnreachable, match="finds no Kubernetes"):
        jobs(kubernetes).state(JOB)


def test_a_try_out_makes_nothing_and_meets_what_a_submission_would(kubernetes, server):
    server.try_out(JOB)
    assert not kubernetes.jobs
    with pytest.raises(ClusterRefuses, match="headGroupSpecc"):
        jobs(kubernetes, {**CLUSTER, "headGroupSpecc": {}}).try_out(JOB)


def test_an_older_operator_is_named(kubernetes):
    kubernetes.answers = [400]
    kubernetes.refusal = 'strict decoding error: unknown field "spec.preRunningDeadlineSeconds"'
    with pytest.raises(ClusterRefuses, match=r"KubeRay is older than 1\.6"):
        jobs(kubernetes, start_seconds=60).submit(JOB, "true")


def test_the_rights_are_those_that_are_used_and_suffice(kubernetes, server):
    kubernetes.rights = set(RIGHTS)
    kubernetes.logs = {JOB: [b"a line"]}
    server.submit(JOB, "true")
    assert server.state(JOB) and server.log(JOB) and server.surroundings(JOB) is not None
    server.stop(JOB)
    assert kubernetes.asked == set(RIGHTS)


@pytest.mark.parametrize(
    "text",
    [
        *(None, "a: [", "just text", "spec: {entrypoint: python}", "---\na: 1\n---\nb: 2\n"),
        "headGroupSpec: {template: {spec: {containers: []}}}",
        "headGroupSpec: {template: {spec: {containers: [{name: a}]}}}\nworkerGroupSpecs: [{groupName: cpu}]",
    ],
)
def test_a_template_that_is_no_cluster_is_said(tmp_path, text):
    path = tmp_path / "template.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ClusterTemplateError, match=r"cluster\.kuberay_template: .*template\.yaml"):
        cluster_template(str(path))


def test_a_whole_raycluster_gives_its_labels_too(tmp_path):
    path = tmp_path / "template.yaml"
    spec = "spec: {headGroupSpec: {template: {spec: {containers: [{name: ray-head}]}}}}"
    path.write_text(f"kind: RayCluster\nmetadata: {{name: x, labels: {{a: b}}}}\n{spec}")
    template = cluster_template(str(path))
    assert (template.labels, template.annotations) == ({"a": "b"}, {})
