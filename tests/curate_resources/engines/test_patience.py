"""Waiting for clusters: people hear what is waited for, and nothing is waited for without an end."""

import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from curate_resources.engines import patience, warm_cluster
from curate_resources.engines.patience import ClusterUnreachable, NoPlace, Wait, answered, saying
from curate_resources.engines.warm_cluster import ClusterDidNotStart, WarmCluster, start_warm_cluster
from curate_resources.launchers import jobs
from curate_resources.launchers.beginning import Patience
from curate_resources.launchers.jobs import JobSpec, JobState, run_job
from curate_resources.launchers.kuberay import KubeRayJobs
from curate_resources.launchers.kubernetes_server import KubernetesServer
from curate_resources.launchers.rayjob import ClusterTemplate


@pytest.fixture
def silent() -> Iterator[str]:
    """Host and port of a server that takes connections and never says a word, as a process that hangs does."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def said(caplog, monkeypatch):
    monkeypatch.setattr(patience, "SAY_SECONDS", 0.0)
    caplog.set_level(logging.INFO, "curate.progress")
    return caplog


def test_what_is_waited_for_is_said_once_it_is_due_and_then_every_minute(caplog, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(patience.time, "monotonic", lambda: now[0])
    caplog.set_level(logging.INFO, "curate.progress")
    wait = Wait("the head", most_seconds=200)
    for seconds in range(0, 200, 10):
        now[0] = float(seconds)
        assert wait.go_on("busy")
    assert [record.message for record in caplog.records] == [
        f"waiting for the head: {seconds} s so far; busy" for seconds in (30, 90, 150)
    ]
    now[0] = 200.0
    assert not wait.go_on()


def test_who_does_not_answer_is_given_up(said):
    began = time.monotonic()
    with pytest.raises(ClusterUnreachable, match=r"the head has not answered for 1 s: end it"):
        answered("the head", lambda: time.sleep(60), 1.0, "end it")
    assert time.monotonic() - began < 10
    assert answered("the head", lambda: 7, 1.0) == 7
    with pytest.raises(KeyError):
        answered("the head", lambda: {}["x"], 1.0)


def test_a_wait_that_cannot_be_interrupted_is_said_too(said):
    with saying("Ray to start"):
        time.sleep(1.5)
    assert "waiting for Ray to start" in said.text


_ATTACH = """
import logging, sys
from curate_resources.engines.ray_cluster import RayCluster
logging.basicConfig(level=logging.WARNING, format="%(message)s")
from curate_resources.engines import patience
patience.SAY_SECONDS = 1.0
try:
    RayCluster(answer_seconds=4).connected()
except Exception as error:
    print(type(error).__name__, error)
    raise SystemExit(1)
"""


def test_a_head_that_lets_connect_and_says_nothing_ends_the_run(silent):
    """Ray itself waits for a quarter of an hour."""
    began = time.monotonic()
    environment = {**os.environ, "RAY_ADDRESS": silent, "RAY_AUTH_MODE": "disabled"}
    done = subprocess.run(
        [sys.executable, "-c", _ATTACH], env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 1, done.stderr
    assert f"ClusterUnreachable the Ray cluster at {silent} has not answered for 4 s: start it" in done.stdout
    assert f"waiting for the Ray cluster at {silent}" in done.stderr
    assert time.monotonic() - began < 60


_ASK = """
import sys
from curate_resources.launchers.jobs import ClusterUnreachable
from curate_resources.launchers.ray_jobs import RayJobServer
server = RayJobServer(sys.argv[1], answer_seconds=1)
for ask in (lambda: server.state("job"), lambda: server.submit("job", "true"), lambda: server.stop("job")):
    try:
        ask()
    except ClusterUnreachable as error:
        print(error)
print(repr(server.log("job")))
"""


def test_a_job_server_that_says_nothing_is_given_up(silent):
    # A process of its own: Ray reads once in a process how it is to authenticate.
    command = [sys.executable, "-c", _ASK, f"http://{silent}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    *errors, log = done.stdout.splitlines()
    assert len(errors) == 3 and log == "''"
    for error in errors:
        assert f"job server at http://{silent} has not answered" in error


def test_a_kubernetes_that_says_nothing_is_given_up(silent, tmp_path, monkeypatch):
    cluster = {"name": "c", "cluster": {"server": f"http://{silent}"}}
    context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
    kubeconfig = {"apiVersion": "v1", "kind": "Config", "current-context": "x", "users": [{"name": "u", "user": {}}]}
    (tmp_path / "config").write_text(json.dumps({**kubeconfig, "clusters": [cluster], "contexts": [context]}))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    server = KubeRayJobs("default", ClusterTemplate({}), server=KubernetesServer(answer_seconds=1))
    with pytest.raises(ClusterUnreachable, match="the Kubernetes API server has not answered"):
        server.state("job")
    assert server.log("job") == ""


class Server:
    """Runs jobs that never begin, or does not answer."""

    def __init__(self, state: JobState | None = None) -> None:
        self.now, self.stopped = state, False

    def submit(self, job: str, command: str) -> None: ...

    def state(self, job: str) -> JobState | None:
        if self.now is None:
            raise ClusterUnreachable("it is away")
        return self.now

    def log(self, job: str) -> str:
        return ""

    def surroundings(self, job: str) -> None:
        return None

    def stop(self, job: str) -> None:
        self.stopped = True


def spec(root) -> JobSpec:
    return JobSpec(root=str(root), stages=(), wanted=(), shards=(), config={})


def test_a_job_that_never_begins_is_stopped_and_the_run_ends(tmp_path):
    server = Server(JobState("running", waits_for="the image cannot be pulled"))
    with pytest.raises(NoPlace, match=r"has not begun .*cluster\.queue_minutes.*the image cannot be pulled"):
        list(run_job(spec(tmp_path), server, "python", poll_seconds=0.05, patience=Patience(0.2)))
    assert server.stopped


def test_a_job_that_cannot_be_asked_about_is_left_and_the_run_ends(tmp_path, said, monkeypatch):
    monkeypatch.setattr(jobs.time, "sleep", lambda seconds: None)
    server = Server()
    with pytest.raises(ClusterUnreachable, match="it is away"):
        list(run_job(spec(tmp_path), server, "python", answer_seconds=0.2))
    assert not server.stopped and "waiting for what runs jobs to answer" in said.text


def test_a_warm_cluster_that_says_nothing_does_not_count(silent, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "curate").mkdir()
    stuck = {"address": silent, "pid": os.getpid(), "python": sys.executable, "token_path": str(tmp_path / "token")}
    (tmp_path / "curate" / "cluster.json").write_text(json.dumps(stuck))
    monkeypatch.setattr(warm_cluster, "_GREETING_SECONDS", 0.2)
    assert not WarmCluster(**stuck).answers(0.1)
    keeper = subprocess.Popen([sys.executable, "-c", "input()", "ray.scripts.scripts"], stdin=subprocess.PIPE)
    try:
        (tmp_path / "curate" / "cluster.json").write_text(json.dumps({**stuck, "pid": keeper.pid}))
        while not Path(f"/proc/{keeper.pid}/cmdline").read_bytes():  # it is not yet what it will be
            time.sleep(0.01)
        monkeypatch.setattr(warm_cluster, "_ANSWER_SECONDS", 0)
        with pytest.raises(ClusterDidNotStart, match=r"has not answered .*`curate down` ends it"):
            start_warm_cluster()
    finally:
        keeper.kill()
        keeper.communicate()
