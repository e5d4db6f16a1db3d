"""Signals that a library swallows are sent again."""

import signal
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from curate_resources.engines import warm_cluster

_SWALLOWS_THE_FIRST = """
import sys, time
from curate_resources.engines import interruption

interruption.watch()
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    pass  # as a library does
try:
    time.sleep(60)
except KeyboardInterrupt:
    interruption.notice()
    time.sleep(2.5)  # what comes after is cleaning up, and is not interrupted again
    sys.exit(7 if interruption.asked() else 8)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_arrives_until_it_is_noticed(number):
    process = subprocess.Popen([sys.executable, "-c", _SWALLOWS_THE_FIRST], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(number)
    assert process.wait(timeout=30) == 7


_OF_DAGSTER = """
import signal, sys, time
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._utils.interrupts import capture_interrupts, raise_interrupts_as
from curate_resources.engines import interruption

interruption.notice()  # of an earlier one, say
before = signal.getsignal(signal.SIGINT)
time.sleep(2.5)
with capture_interrupts(), interruption.watched():
    with raise_interrupts_as(DagsterExecutionInterruptedError):
        try:
            print("ready", flush=True)
            time.sleep(60)
        except DagsterExecutionInterruptedError:
            pass  # as a weak reference's callback does
        try:
            time.sleep(60)
        except DagsterExecutionInterruptedError:
            interruption.notice()
            time.sleep(2.5)
assert signal.set_wakeup_fd(-1) == -1
sys.exit(7 if signal.getsignal(signal.SIGINT) is before else 8)
"""


def test_an_interrupt_of_a_run_arrives_until_it_is_noticed():
    process = subprocess.Popen([sys.executable, "-c", _OF_DAGSTER], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 7


def test_a_warm_cluster_that_is_interrupted_while_it_starts_is_ended(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    started: list[subprocess.Popen[bytes]] = []

    def start(_command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        started.append(popen(["sleep", "600"], **options))
        return started[0]

    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    popen = subprocess.Popen
    monkeypatch.setattr(warm_cluster.subprocess, "Popen", start)
    monkeypatch.setattr(warm_cluster, "time", SimpleNamespace(sleep=interrupt, monotonic=time.monotonic))
    with pytest.raises(KeyboardInterrupt):
        warm_cluster.start_warm_cluster()
    assert started[0].wait(10) != 0
    assert warm_cluster.warm_cluster() is None
