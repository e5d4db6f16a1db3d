"""Dagster's web server and daemon on this machine, with one code server for both: what `curate ui` starts and ends."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import yaml

from curate_assets.orchestration.code_location import LOCATION, MODULE
from curate_resources.machine.process_sessions import end_session
from gpu_kernels.errors import OperatingError

_START_SECONDS = 300
_END_SECONDS = 5
_POLL_SECONDS = 0.2


class ServicesEnded(OperatingError):
    """One of Dagster's processes ended, or did not start; the message has the end of its log."""


@dataclass(frozen=True)
class Services:
    """What runs."""

    url: str
    log: Path
    processes: dict[str, subprocess.Popen[bytes]]

    def check(self) -> None:
        """See that all are there.

        Raises:
            ServicesEnded: one is not.
        """
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise ServicesEnded(
                    f"Dagster's {name} ended with code {process.returncode}; {self.log} has all of it:\n{self._end()}"
                )

    def _end(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-5:])


@contextmanager
def dagster_services(home: str, root: str, host: str, port: int, log: Path) -> Generator[Services]:
    """Start them, and give them when the web server answers; in the end they end, with everything that they started.

    Args:
        log: where the output of all goes.

    Raises:
        ServicesEnded: one does not start.
    """
    shown = f"[{host}]" if ":" in host else host
    services = Services(f"http://{shown}:{port}", log, {})
    environment = {**os.environ, "DAGSTER_HOME": home, "CURATE_ROOT": root}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="curate-ui-")))
        output = stack.enter_context(log.open("ab"))

        def start(name: str, *command: str) -> None:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            services.processes[name] = process
            stack.callback(end_session, process.pid, _END_SECONDS)

        code, workspace = folder / "code", folder / "workspace.yaml"
        server = {"socket": str(code), "location_name": LOCATION}
        workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}))
        location = ("-m", MODULE, "--socket", str(code), "--location-name", LOCATION)
        start("code server", "dagster", "code-server", "start", *location, "--inject-env-vars-from-instance")
        _wait(services, lambda: _listens(code))
        start("web server", "dagster_webserver", "-h", host, "-p", str(port), "-w", str(workspace))
        start("daemon", "curate_assets.orchestration.daemon", "run", "-w", str(workspace))
        _wait(services, lambda: _answers(services.url))
        yield services


def free_port(host: str, ports: Sequence[int]) -> int | None:
    """The first that nothing listens on."""
    for port in ports:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return port
    return None


def _wait(services: Services, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not ready():
        services.check()
        if time.monotonic() > deadline:
            raise ServicesEnded(f"Dagster did not start in {_START_SECONDS} s: see {services.log}")
        time.sleep(_POLL_SECONDS)


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
        probe.connect(str(path))
        return True
    return False


def _answers(url: str) -> bool:
    with suppress(URLError, OSError), urlopen(f"{url}/server_info", timeout=5) as answer:
        return answer.status == 200
    return False
