"""A real Ray cluster on loopback: a head without CPUs, and worker nodes that can be ended one by one."""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path


class LoopbackCluster:
    """Started by `start`, ended by `close`; every node is a session of processes of its own.

    Attributes:
        address: of the head, for drivers.
        dashboard: URL of the job server.
        token_path: file with the cluster's token.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token_path = folder / "token"
        self.token_path.touch(mode=0o600)
        self.token_path.write_text(secrets.token_hex(32))
        # Not Ray's usual folder: what starts there last gets the jobs of all. And not ours: a socket's path is short.
        self._ray_folder = tempfile.mkdtemp(prefix="ray-")
        self._nodes: dict[str, subprocess.Popen[bytes]] = {}
        self._port, self._dashboard_port = _free_port(), _free_port()
        self.address = f"127.0.0.1:{self._port}"
        self.dashboard = f"http://127.0.0.1:{self._dashboard_port}"

    @property
    def logs(self) -> Path:
        """Where the processes of its workers write."""
        return Path(self._ray_folder) / "session_latest" / "logs"

    @property
    def environment(self) -> dict[str, str]:
        """What a driver of this cluster needs in its environment."""
        return {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token_path),
            "RAY_enable_worker_prestart": "0",
            "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "300",
        }

    def start(self, workers: int = 2, cpus: int = 2) -> None:
        """Start the head and worker nodes."""
        self._start(
            "head",
            "--head",
            f"--port={self._port}",
            "--num-cpus=0",
            f"--temp-dir={self._ray_folder}",
            "--dashboard-host=127.0.0.1",
            f"--dashboard-port={self._dashboard_port}",
            f"--ray-client-server-port={_free_port()}",
        )
        for number in range(workers):
            self.add_node(f"worker{number}", cpus)

    def add_node(self, name: str, cpus: int, *options: str) -> None:
        """Start one more worker node."""
        self._start(name, f"--address={self.address}", f"--num-cpus={cpus}", *options)

    def kill_node(self, name: str) -> None:
        """End all processes of a node at once, with SIGKILL."""
        process = self._nodes.pop(name)
        for pid in _session(process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()

    def processes(self, pattern: str, node: str | None = None) -> list[int]:
        """Processes of the cluster, or of one node, and of jobs there, whose command line has a pattern."""
        found: list[int] = []
        sessions = {process.pid for name, process in self._nodes.items() if node in (None, name)}
        for pid, session, command in _processes():
            if session in sessions and re.search(pattern, command):
                found.append(pid)
        return found

    def close(self) -> None:
        """End everything."""
        for name in list(self._nodes):
            self.kill_node(name)
        shutil.rmtree(self._ray_folder, ignore_errors=True)

    def _start(self, name: str, *options: str) -> None:
        log = self.folder / f"{name}.log"
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--disable-usage-stats"]
        command += ["--node-ip-address=127.0.0.1", "--object-store-memory=200000000", *options]
        # Jobs are started by the head's agent, whose usual port another cluster on this machine may have.
        command += [f"--dashboard-agent-listen-port={_free_port()}"]
        for _ in range(6):  # Ray gives a raylet half a minute, which a busy machine can need
            with log.open("wb") as output:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env={**os.environ, **self.environment},
                )
            self._nodes[name] = process
            # What it starts stays in its session. With --block it would stay, too, and end everything when Ray Client's
            # server, which nobody needs, gives up waiting.
            if process.wait() == 0:
                return
            self.kill_node(name)
        raise RuntimeError(log.read_text())


def _processes() -> list[tuple[int, int, str]]:
    found: list[tuple[int, int, str]] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, IndexError, ValueError):
                session = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[3])
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found.append((int(entry.name), session, command))
    return found


def _session(leader: int) -> list[int]:
    return [pid for pid, session, _ in _processes() if session == leader]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
