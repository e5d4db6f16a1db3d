"""A Ray cluster on this machine that outlives runs, because starting one takes longer than many runs do."""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from curate_resources.engines.patience import Wait
from curate_resources.machine.private_folder import private_folder
from curate_resources.machine.process_sessions import end_session
from curate_resources.machine.state_folder import state_folder
from gpu_kernels.errors import OperatingError

_START_SECONDS = 180
_STOP_SECONDS = 30
_ANSWER_SECONDS = 60


_GREETING_SECONDS = 5
_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""How a client begins, with no settings of its own (RFC 9113, 3.4)."""


class ClusterDidNotStart(OperatingError):
    """The warm cluster did not come up; the message says where its log is."""


@dataclass(frozen=True)
class WarmCluster:
    """The warm cluster of this user.

    Attributes:
        address: host and port of its head.
        pid: the process that keeps it; the cluster ends with it.
        python: the interpreter that its workers run; only runs of the same one can use it.
        token_path: file with the token that every connection needs, readable by this user only.
        raylet_port: where its node listens; None: it was started by an earlier version.
    """

    address: str
    pid: int
    python: str
    token_path: str
    raylet_port: int | None = None

    def answers(self, most_seconds: float) -> bool:
        """Whether its processes say something to a new connection, some time after which they count as stuck."""
        host, port = self.address.split(":")
        wait = Wait(f"the warm cluster at {self.address} to answer", most_seconds)
        ports = [int(port), *([self.raylet_port] if self.raylet_port is not None else [])]
        while not all(_greets(host, each) for each in ports):
            if not wait.go_on():
                return False
            time.sleep(1)
        return True


def warm_cluster() -> WarmCluster | None:
    """The warm cluster of this user, if there is one that runs of this interpreter can use."""
    noted = _noted()
    return noted if noted is not None and noted.python == sys.executable else None


def start_warm_cluster(cpus: int | None = None) -> tuple[WarmCluster, bool]:
    """Start the warm cluster unless it is there; also whether it was started now.

    Raises:
        ClusterDidNotStart: it did not come up, or there is one of another environment.
    """
    noted = _noted()
    if noted is not None:
        if noted.python != sys.executable:
            raise ClusterDidNotStart(f"there is a warm cluster of {noted.python}: `curate down` ends it")
        if not noted.answers(_ANSWER_SECONDS):
            raise ClusterDidNotStart(
                f"there is a warm cluster at {noted.address}, but it has not answered for {_ANSWER_SECONDS} s: "
                "`curate down` ends it, then run `curate up` again"
            )
        return noted, False
    folder = state_folder()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    port, raylet_port = _free_port(), _free_port()
    log = folder / "cluster.log"
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"]
    command += ["--node-ip-address=127.0.0.1", f"--port={port}", f"--node-manager-port={raylet_port}"]
    command += ["--include-dashboard=false"]
    # In Ray's usual folder it would be "the current cluster", where jobs of any other one on this machine would go.
    command += [f"--temp-dir={private_folder('ray', below=os.environ.get('RAY_TMPDIR'))}"]
    command += [f"--num-cpus={cpus}"] if cpus is not None else []
    with log.open("wb") as output:
        keeper = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)},
        )
    cluster = WarmCluster(f"127.0.0.1:{port}", keeper.pid, sys.executable, str(token), raylet_port)
    wait = Wait(f"Ray to start, which writes to {log}", _START_SECONDS)
    try:
        while b"Ray runtime started" not in log.read_bytes():
            if keeper.poll() is not None or not wait.go_on():
                raise ClusterDidNotStart(f"Ray did not start: see {log}")
            time.sleep(0.2)
        _state().write_text(json.dumps(asdict(cluster)))
    except BaseException:  # also Ctrl-C: nobody would know of the cluster
        end_session(keeper.pid, _STOP_SECONDS)
        raise
    return cluster, True


def stop_warm_cluster() -> bool:
    """End the warm cluster with all its processes; whether there was one."""
    noted = _noted()
    if noted is not None:
        end_session(noted.pid, _STOP_SECONDS)
    _state().unlink(missing_ok=True)
    return noted is not None


def _noted() -> WarmCluster | None:
    import psutil

    try:
        noted = WarmCluster(**json.loads(_state().read_text()))
        # The number may be another process's by now.
        return noted if "ray.scripts.scripts" in psutil.Process(noted.pid).cmdline() else None
    except (FileNotFoundError, ValueError, TypeError, psutil.Error):
        return None


def _state() -> Path:
    return state_folder() / "cluster.json"


def _greets(host: str, port: int) -> bool:
    """Whether a process of Ray answers at a port: each speaks HTTP/2 and introduces itself to a new connection. To one
    that hangs or was stopped others can connect all the same, but it says nothing."""
    try:
        with socket.create_connection((host, port), timeout=_GREETING_SECONDS) as connection:
            connection.settimeout(_GREETING_SECONDS)
            connection.sendall(_HTTP2_PREFACE)
            return bool(connection.recv(1))
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
