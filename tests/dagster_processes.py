"""Dagster's web server and daemon as a deployment runs them, on loopback, and what the UI says to them in GraphQL."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from urllib.error import URLError
from urllib.request import Request, urlopen

REPOSITORY = Path(__file__).resolve().parents[1]

_START_SECONDS = 300
_END_SECONDS = 30
_POLL_SECONDS = 0.2


class DagsterProcesses:
    """The web server and the daemon of one instance, each with its own code server in a process group of its own.

    Used as a context, or ended by `close`.

    Attributes:
        home: `DAGSTER_HOME`, with a `dagster.yaml`; what the processes write is in `webserver.log` and `daemon.log`.
        url: of the web server, once it was started.
        environment: of all processes.
    """

    def __init__(
        self,
        home: Path,
        root: str,
        variables: Mapping[str, str] | None = None,
        workspace: Path = REPOSITORY / "workspace.yaml",
    ) -> None:
        self.home, self.url = home, ""
        paths = f"{REPOSITORY}:{os.environ.get('PYTHONPATH', '')}"
        self.environment = {**os.environ, "PYTHONPATH": paths, "CURATE_ROOT": root, "DAGSTER_HOME": str(home)}
        self.environment.update(variables or {})
        self._workspace = workspace
        self._groups: dict[str, subprocess.Popen[bytes]] = {}
        self._left: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start both, and wait for them."""
        self._start_webserver()
        self.start_daemon()
        self._wait("webserver", self._answers)

    def start_webserver(self) -> str:
        """Start the web server, and wait until it answers; returns its URL."""
        self._start_webserver()
        self._wait("webserver", self._answers)
        return self.url

    def start_daemon(self) -> None:
        """Start the daemon, and wait until it says that it takes backfills."""
        from dagster import DagsterInstance

        started = time.time()
        self._start("daemon", "-m", "curate_assets.orchestration.daemon", "run")
        with DagsterInstance.from_config(str(self.home)) as instance:

            def beats() -> bool:
                beat = instance.get_daemon_heartbeats().get("BACKFILL")
                return beat is not None and beat.timestamp > started

            self._wait("daemon", beats)

    def pid(self, name: str) -> int:
        """Of the process `webserver` or `daemon`, whose id is that of its group."""
        return self._groups[name].pid

    def kill(self, name: str, whole_group: bool = True) -> None:
        """End `webserver` or `daemon` with SIGKILL, with the code server and runs that it started or without them."""
        process = self._groups.pop(name)
        if whole_group:
            _kill_group(process)
        else:
            process.kill()
            self._left.append(process)
        process.wait()

    def stop(self, name: str) -> None:
        """End `webserver` or `daemon` as a service manager does, and then whatever is left of its group."""
        process = self._groups[name]
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)
        self.kill(name)

    def close(self) -> None:
        """End everything."""
        for name in list(self._groups):
            self.stop(name)
        while self._left:
            _kill_group(self._left.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, query: str, **variables: Any) -> Any:
        """The web server's answer to a GraphQL query; `data` of it.

        Raises:
            RuntimeError: it was an error.
        """
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urlopen(request, timeout=60) as response:
            answer = json.load(response)
        if answer.get("errors"):
            raise RuntimeError(json.dumps(answer["errors"])[:2000])
        return answer["data"]

    def log(self, name: str) -> str:
        """What `webserver` or `daemon`, and what it started, has written."""
        return (self.home / f"{name}.log").read_text(errors="replace")

    def _start_webserver(self) -> None:
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._start("webserver", "-m", "dagster_webserver", "--host", "127.0.0.1", "--port", str(port))

    def _start(self, name: str, *arguments: str) -> None:
        command = [sys.executable, *arguments, "--workspace", str(self._workspace)]
        with (self.home / f"{name}.log").open("ab") as log:
            self._groups[name] = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _wait(self, name: str, ready: Any) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not ready():
            if self._groups[name].poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the {name} does not start: {self.log(name)[-4000:]}")
            time.sleep(_POLL_SECONDS)

    def _answers(self) -> bool:
        with suppress(URLError, ConnectionError, RuntimeError):
            found = self.ask("{ workspaceOrError { ... on Workspace { locationEntries { loadStatus } } } }")
            return all(each["loadStatus"] == "LOADED" for each in found["workspaceOrError"]["locationEntries"])
        return False


def _kill_group(leader: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader.pid, signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
