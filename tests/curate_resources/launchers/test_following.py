"""Jobs on Kubernetes from their submission to their end: what the run that follows one does when something goes wrong.

The API server and the operator are stand-ins that keep to the real ones' ways; the drivers are processes.
"""

import json
import logging
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from curate_resources.engines import patience as waiting
from curate_resources.engines.patience import NoPlace
from curate_resources.launchers import aside, beginning, jobs
from curate_resources.launchers.aside import Aside
from curate_resources.launchers.beginning import Beginning, Patience
from curate_resources.launchers.jobs import ClusterRefuses, JobFailed, JobSpec, Ledger, run_job
from curate_resources.launchers.kuberay import RIGHTS, KubeRayJobs
from curate_resources.launchers.kubernetes_server import KubernetesServer
from curate_resources.launchers.rayjob import ClusterTemplate
from curate_resources.launchers.surroundings import Surroundings, surroundings
from curate_resources.pipeline.commit import Materialized
from curate_resources.storage.root import Storage

ADMITTED = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "ray-head",
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
    ],
}
SPEC = {"headGroupSpec": {"template": {"spec": ADMITTED}}}
DONE = '{"error": null, "passes": false}'


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(jobs, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(jobs, "_LATER_SECONDS", 0.05)
    monkeypatch.setattr(jobs, "_LOG_SECONDS", 0.05)
    monkeypatch.setattr(aside, "_SHARE", 1.0)


@pytest.fixture
def spec(tmp_path: Path) -> JobSpec:
    return JobSpec(root=str(tmp_path / "root"), stages=(), wanted=(), shards=(), config={})


@pytest.fixture
def driver(tmp_path: Path) -> Callable[[str], str]:
    """A program in place of Python's: `$3` is the root and `$4` the job."""

    def made(work: str) -> str:
        path = tmp_path / "driver"
        path.write_text(f"#!/bin/bash\nfolder=$3/jobs/$4\nend() {{ echo '{DONE}' > $folder/end.json; }}\n{work}\n")
        path.chmod(0o755)
        return str(path)

    return made


def kuberay(kubernetes: Any, spec: Any = SPEC, seconds: float = 30.0) -> KubeRayJobs:
    return KubeRayJobs(kubernetes.namespace, ClusterTemplate(spec), server=KubernetesServer(8, seconds))


def followed(spec: JobSpec, server: KubeRayJobs, driver: str, patience: Patience | None = None) -> list[Materialized]:
    return list(run_job(spec, server, driver, poll_seconds=0.05, patience=patience))


def until(true: Callable[[], Any]) -> None:
    for _ in range(2400):  # a minute: processes begin slowly on a busy machine
        if true():
            return
        time.sleep(0.025)
    raise AssertionError("it did not come to that")


@pytest.fixture
def beside() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Do something while the test goes on; whether it went well is seen in the end."""
    threads: list[threading.Thread] = []
    errors: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        def caught() -> None:
            try:
                work()
            except BaseException as error:
                errors.append(error)

        threads.append(threading.Thread(target=caught))
        threads[-1].start()

    yield run
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_a_restricted_namespace_lets_a_job_through_whose_head_it_lets_through(kubernetes, operator, spec, driver):
    operator.restricted = True
    assert followed(spec, kuberay(kubernetes), driver("end")) == []


def test_a_pod_that_is_refused_ends_the_run_with_the_reason(kubernetes, operator, spec, driver, monkeypatch):
    operator.restricted = True
    patience = Patience(pending_seconds=0.3)
    bare = {"headGroupSpec": {"template": {"spec": {"containers": [{"name": "ray-head"}]}}}}
    with pytest.raises(NoPlace, match=r"pending_minutes.*RayCluster .* is stuck: FailedToCreateHeadPod.*PodSecurity"):
        followed(spec, kuberay(kubernetes, bare), driver("end"), patience)
    until(lambda: not kubernetes.jobs)
    # The operator's own submitter has no contexts: the RayJob is then "Running" for ever.
    own = {"spec": {"containers": [{"name": "ray-job-submitter"}]}}
    monkeypatch.setattr("curate_resources.launchers.kuberay.submitter_template", lambda *_: own)
    with pytest.raises(NoPlace, match=r"Job curate-\S+ is stuck: FailedCreate: .*violates PodSecurity"):
        followed(spec, kuberay(kubernetes), driver("end"), patience)
    until(lambda: not kubernetes.jobs)


def test_what_happens_while_nothing_runs_is_said_once(kubernetes, operator, spec, driver, caplog, beside):
    caplog.set_level(logging.INFO, "curate")
    operator.at_work = False

    def happen() -> None:
        until(lambda: kubernetes.jobs)
        (job,) = kubernetes.jobs
        kubernetes.jobs[job]["status"] = {"jobDeploymentStatus": "Initializing", "rayClusterName": f"{job}-abcde"}
        kubernetes.event("RayJob", job, "CreatedRayCluster", "Created RayCluster", type="Normal")
        kubernetes.event("RayCluster", f"{job}-abcde", "CreatedHeadPod", "Created head Pod", type="Normal")
        pods(kubernetes, job, "head")
        kubernetes.event("Pod", "head-0", "FailedScheduling", "0/1 nodes are available")
        kubernetes.event("Pod", "another", "Killing", "not ours")
        until(lambda: "FailedScheduling" in caplog.text)
        time.sleep(0.5)
        kubernetes.pods.clear()
        operator.at_work = True

    beside(happen)
    followed(spec, kuberay(kubernetes), driver("end"))
    said = [(record.levelname, record.message) for record in caplog.records if "Created" in record.message]
    assert [level for level, _ in said] == ["INFO", "INFO"]
    warned = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warned == ["Pod head-0: FailedScheduling: 0/1 nodes are available"]
    assert "not ours" not in caplog.text


def pods(kubernetes: Any, job: str, kind: str, **status: Any) -> None:
    labels = {"curate-graph/job": job, "ray.io/node-type": kind}
    name = f"{kind}-{len(kubernetes.pods)}"
    kubernetes.pods.append({"metadata": {"name": name, "labels": labels}, "status": {"phase": "Pending", **status}})


def test_an_operator_that_does_not_take_a_job_up_is_said(kubernetes, spec, driver):
    with pytest.raises(NoPlace, match=r"the KubeRay operator is stuck: it has not taken the RayJob up"):
        followed(spec, kuberay(kubernetes), driver("end"), Patience(pending_seconds=0.2))
    assert not kubernetes.jobs


def test_who_may_not_list_events_hears_so_and_runs(kubernetes, operator, spec, driver, caplog):
    kubernetes.rights = {right for right in RIGHTS if right[1] != "events"}
    followed(spec, kuberay(kubernetes), driver("sleep 0.5; end"))
    assert caplog.text.count("this account may not list events") == 1


def test_a_job_in_a_queue_waits_without_a_deadline(kubernetes, operator, spec, driver, beside, caplog, monkeypatch):
    monkeypatch.setattr(waiting, "SAY_SECONDS", 0.2)
    caplog.set_level(logging.INFO, "curate")
    held = kuberay(kubernetes)
    monkeypatch.setattr(type(held), "manifest", suspended(type(held).manifest))

    def admit() -> None:
        until(lambda: "it is suspended: Kueue's queue low has not admitted it" in caplog.text)
        next(iter(kubernetes.jobs.values()))["spec"]["suspend"] = False

    beside(admit)
    followed(spec, held, driver("end"), Patience(queue_seconds=0.1, pending_seconds=0.1, start_seconds=0.1))


def suspended(manifest: Any) -> Any:
    def made(*arguments: Any) -> Any:
        body = manifest(*arguments)
        body["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = "low"
        body["spec"]["suspend"] = True  # as Kueue's webhook does
        return body

    return made


def test_a_job_that_its_queue_takes_back_begins_again(kubernetes, operator, spec, driver, beside):
    def take_back() -> None:
        until(lambda: kubernetes.logs)
        job = next(iter(kubernetes.jobs.values()))
        job["spec"]["suspend"] = True
        until(lambda: job["status"]["jobDeploymentStatus"] == "Suspended")
        time.sleep(0.2)
        job["spec"]["suspend"] = False

    beside(take_back)
    again = "if [ -e $folder/second ]; then end; else touch $folder/second; echo first; sleep 30; fi"
    followed(spec, kuberay(kubernetes), driver(again), Patience(queue_seconds=10))


@pytest.mark.deep
def test_an_api_server_that_is_away_and_an_operator_that_is_started_anew_end_no_job(
    kubernetes, operator, spec, driver, beside
):
    def go_away() -> None:
        until(lambda: kubernetes.logs)
        operator.at_work = False
        kubernetes.away = True
        time.sleep(1.2)
        kubernetes.away = False
        time.sleep(0.5)
        operator.at_work = True

    beside(go_away)
    followed(spec, kuberay(kubernetes), driver("echo hello; sleep 1; end"))
    assert len(kubernetes.jobs) == 1


def test_a_log_that_is_long_in_coming_delays_nothing(kubernetes, operator, spec, driver, monkeypatch):
    monkeypatch.setattr(jobs, "_LAST_LOG_SECONDS", 0.2)
    kubernetes.log_seconds = 5
    began = time.monotonic()
    followed(spec, kuberay(kubernetes), driver("echo hello; sleep 0.5; end"))
    assert time.monotonic() - began < 4


def test_what_is_asked_aside_is_neither_waited_for_nor_asked_twice():
    go_on = threading.Event()
    asked: list[int] = []

    def ask() -> int:
        asked.append(1)
        go_on.wait(10)
        return len(asked)

    asking = Aside(ask, 0.0)
    assert [asking.take() for _ in range(5)] == [None] * 5 and len(asked) == 1
    go_on.set()
    until(lambda: asking.take() == 1)
    assert asking.last(5) is not None


def test_the_last_lines_of_a_job_are_heard(kubernetes, operator, spec, driver, caplog):
    caplog.set_level(logging.INFO, "curate")
    line = json.dumps({"logger": "curate.engine", "level": "INFO", "message": "the last line"})
    followed(spec, kuberay(kubernetes), driver(f"end; echo {shlex.quote(line)}"))
    assert "the last line" in caplog.text


def test_an_account_without_the_role_is_an_error_at_once(kubernetes, operator, spec, driver):
    kubernetes.rights = set()
    began = time.monotonic()
    with pytest.raises(ClusterRefuses, match="cannot create resource"):
        followed(spec, kuberay(kubernetes), driver("end"))
    assert time.monotonic() - began < 5 and len(kubernetes.requests) == 1


def test_a_deadline_of_the_operator_is_no_fault_that_passes(kubernetes, operator, spec, driver, beside):
    operator.at_work = False

    def expire() -> None:
        until(lambda: kubernetes.jobs)
        late = {"jobDeploymentStatus": "Failed", "reason": "PreRunningDeadlineExceeded"}
        next(iter(kubernetes.jobs.values()))["status"] = late

    beside(expire)
    with pytest.raises(JobFailed, match="PreRunningDeadlineExceeded") as raised:
        followed(spec, kuberay(kubernetes), driver("end"))
    assert type(raised.value) is JobFailed


_RUN = """
import faulthandler
import sys
from curate_resources.engines import interruption
from curate_resources.launchers.jobs import JobSpec, run_job
from curate_resources.launchers.kuberay import KubeRayJobs
from curate_resources.launchers.rayjob import cluster_template
from dagster._utils.interrupts import setup_interrupt_handlers
setup_interrupt_handlers()  # as in the pod of a run
faulthandler.enable()  # SIGABRT tells where it hangs
spec = JobSpec(root=sys.argv[1], stages=(), wanted=(), shards=(), config={})
with interruption.watched():
    list(run_job(spec, KubeRayJobs("curation", cluster_template(sys.argv[2])), sys.argv[3], poll_seconds=0.05))
"""


@pytest.mark.parametrize("kind", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.deep)])
def test_an_evicted_run_ends_its_job_and_the_next_takes_over_that_of_a_killed_one(
    kubernetes, operator, spec, driver, tmp_path, kind, caplog, beside
):
    """SIGTERM is what a canceled run gets, too."""
    (tmp_path / "cluster.yaml").write_text(json.dumps(SPEC))
    work = driver("echo hello; while [ ! -e $3/go ]; do sleep 0.1; done; end")
    arguments = [spec.root, str(tmp_path / "cluster.yaml"), work]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.Popen([sys.executable, "-c", _RUN, *arguments], env=environment)
    until(lambda: kubernetes.logs)
    (job,) = kubernetes.jobs
    run.send_signal(kind)
    try:
        assert run.wait(60) != 0
    except subprocess.TimeoutExpired:
        run.send_signal(signal.SIGABRT)
        raise
    if kind == signal.SIGTERM:
        until(lambda: not kubernetes.jobs)
        return
    caplog.set_level(logging.INFO, "curate")

    def go_on() -> None:
        try:
            until(lambda: f"job {job} does the same work already and is followed" in caplog.text)
        finally:
            (Path(spec.root) / "go").touch()

    beside(go_on)
    followed(spec, kuberay(kubernetes), work)
    assert list(kubernetes.jobs) == [job]


def test_a_run_that_is_canceled_while_the_api_server_is_away_ends_all_the_same(
    kubernetes, operator, spec, driver, monkeypatch, caplog
):
    monkeypatch.setattr("curate_resources.launchers.kuberay._STOP_SECONDS", 0.5)
    work = driver("echo hello; sleep 30; end")
    following = run_job(spec, kuberay(kubernetes), work, poll_seconds=0.05)

    def cancel(_: float) -> None:
        if kubernetes.logs:
            kubernetes.away = True
            raise KeyboardInterrupt

    monkeypatch.setattr(jobs, "time", SimpleNamespace(sleep=cancel))
    with pytest.raises(KeyboardInterrupt):
        list(following)
    assert "may go on" in caplog.text and "takes it over" in caplog.text
    assert len(kubernetes.jobs) == 1


def test_a_driver_that_is_started_again_goes_on_in_its_ledger(tmp_path):
    ledger = Ledger(Storage(str(tmp_path)), "job")
    done = Materialized("clips", "a", 1, 2, {"ok": 2}, 2, 0, 0.5, 7, "digest", "identity")
    assert ledger.begin() == []
    ledger.record(0, done)
    ledger.close("the head is lost", passes=True)
    assert ledger.begin() == [done]
    assert ledger.end() is None


# What keeps pods from starting.


def pod(name: str, kind: str = "worker", group: str = "gpu", limits: Any = None, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"ray.io/node-type": kind, "ray.io/group": group}},
        "spec": {"containers": [{"name": "ray", "resources": {"limits": limits or {"cpu": "4"}}}]},
        "status": {"phase": "Pending", **status},
    }


def event(name: str, reason: str, second: int, kind: str = "Pod", type: str = "Warning") -> dict[str, Any]:
    return {
        "metadata": {"uid": f"{name}{second}"},
        "involvedObject": {"kind": kind, "name": name},
        "reason": reason,
        "message": f"message {second}",
        "type": type,
        "lastTimestamp": f"2026-01-01T00:00:{second:02d}Z",
    }


UNPLACED = {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3"}]}
PLACED = {"conditions": [{"type": "PodScheduled", "status": "True"}]}


def waiting_for(reason: str, of: str = "containerStatuses") -> dict[str, Any]:
    return {of: [{"image": "registry/curate:1", "state": {"waiting": {"reason": reason}}}]}


@pytest.mark.parametrize(
    ("pods", "events", "stuck", "growing"),
    [
        ([pod("a", **UNPLACED)], [], "a worker of group gpu", ""),
        ([pod("a", "head", **UNPLACED)], [event("a", "FailedScheduling", 1)], "the head", ""),
        ([pod("a", **UNPLACED)], [event("a", "FailedScheduling", 1), event("a", "TriggeredScaleUp", 2)], "", "gpu"),
        ([pod("a", **UNPLACED)], [event("a", "Nominated", 2), event("a", "FailedScheduling", 3)], "", "gpu"),
        ([pod("a", **UNPLACED)], [event("a", "TriggeredScaleUp", 1), event("a", "NotTriggerScaleUp", 2)], "gpu", ""),
        ([pod("a", **UNPLACED)], None, "", ""),
        ([pod("a", **PLACED)], [event("a", "Pulling", 1, type="Normal")], "", ""),
        ([pod("a", **PLACED)], [event("a", "FailedMount", 1)], "gpu", ""),
        ([pod("a", **PLACED)], [event("a", "FailedMount", 1), event("a", "Pulling", 2)], "", ""),
        *[
            ([pod("a", "head", **waiting_for(reason))], [], "the head", "")
            for reason in ("ErrImagePull", "ImagePullBackOff", "CreateContainerConfigError", "InvalidImageName")
        ],
        ([pod("a", **waiting_for("ImagePullBackOff", "initContainerStatuses"))], None, "gpu", ""),
        ([pod("a", "head", phase="Running", **waiting_for("CrashLoopBackOff"))], [], "the head", ""),
        ([pod("a", **waiting_for("ContainerCreating"))], [], "", ""),
        # Work goes on beside it, with all that it asks for.
        ([pod("a", **UNPLACED), pod("b", phase="Running")], [], "", ""),
        ([pod("a", limits={"nvidia.com/gpu": "1"}, **UNPLACED), pod("b", phase="Running")], [], "gpu", ""),
        ([pod("a", **UNPLACED), pod("b", limits={"cpu": "1", "nvidia.com/gpu": "1"}, phase="Running")], [], "", ""),
        ([], [event("j", "FailedCreate", 2, "Job"), event("j", "SuccessfulCreate", 1, "Job")], "Job j", ""),
        ([], [event("j", "FailedCreate", 1, "Job"), event("j", "SuccessfulCreate", 2, "Job")], "", ""),
        ([], [event("j", "InvalidRayJobSpec", 1, "RayJob")], "RayJob j", ""),
        ([], [event("c", "FailedToCreateWorkerPod", 1, "RayCluster")], "RayCluster c", ""),
        ([pod("b", phase="Running")], [event("c", "FailedToCreateWorkerPod", 1, "RayCluster")], "", ""),
    ],
)
def test_who_is_stuck_and_who_only_waits_for_a_machine(pods, events, stuck, growing):
    found = surroundings(pods, events)
    assert [who for who in found.stuck if stuck in who] == list(found.stuck) and bool(found.stuck) == bool(stuck)
    assert [who for who in found.growing if growing in who] == list(found.growing)
    assert bool(found.growing) == bool(growing)


def test_a_pod_that_was_deleted_or_is_over_is_not_waited_for():
    gone = pod("a", **UNPLACED)
    gone["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert not surroundings([gone, pod("b", phase="Failed"), pod("c", phase="Succeeded")], []).stuck


def test_patience_is_with_each_for_itself(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(beginning.time, "monotonic", lambda: now[0])
    of_a_job = Beginning("job", Patience(pending_seconds=100, start_seconds=500))
    crashing, gpu = {"the head": "CrashLoopBackOff"}, {"a worker of group gpu": "Unschedulable; TriggeredScaleUp"}
    for now[0], stuck in ((0, crashing), (40, {}), (80, crashing), (90, {})):
        of_a_job.look_around(Surroundings(stuck=stuck))
    now[0] = 160  # after a minute without trouble it begins anew
    of_a_job.look_around(Surroundings(stuck=crashing, growing=gpu))
    for now[0] in range(200, 660, 20):
        of_a_job.look_around(Surroundings(growing=gpu))
    now[0] = 660
    with pytest.raises(
        NoPlace, match=r"8 minutes \(cluster\.start_minutes\), a worker of group gpu has no machine yet"
    ):
        of_a_job.look_around(Surroundings(growing=gpu))
    of_a_job = Beginning("job", Patience())
    for now[0] in range(0, 10_000, 50):
        of_a_job.look_around(Surroundings(stuck=crashing, growing=gpu))
