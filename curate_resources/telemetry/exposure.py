"""Where the metrics of a run can be read: a port, a file for the node's exporter, a Pushgateway. Off unless asked for.

CURATE_METRICS_PORT         served at http://<CURATE_METRICS_HOST, else 127.0.0.1>:<port>/metrics
CURATE_METRICS_TEXTFILE     written to <folder>/curate-<process>.prom
CURATE_METRICS_PUSHGATEWAY  pushed to that URL, in a group of the run
"""

import logging
import os
import threading
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate_resources.pipeline.events import listening
from curate_resources.telemetry.extras import needed
from curate_resources.telemetry.metrics import RUN_METRICS, RunMetrics, families, registry_of
from gpu_kernels.errors import UserError

_log = logging.getLogger("curate.telemetry")

PORT, HOST = "CURATE_METRICS_PORT", "CURATE_METRICS_HOST"
TEXTFILE, PUSHGATEWAY = "CURATE_METRICS_TEXTFILE", "CURATE_METRICS_PUSHGATEWAY"
_EVERY_SECONDS = 10.0
_PUSH_SECONDS = 5.0


@dataclass(frozen=True)
class _Source:
    metrics: RunMetrics

    def collect(self) -> Iterator[Any]:
        return families(RUN_METRICS, self.metrics.samples)


_exposed: tuple[RunMetrics, Any] | None = None
"""The metrics of this process, of all runs that it makes, and their registry."""


@contextmanager
def exposed_metrics() -> Generator[None]:
    """Count and expose what happens meanwhile, if the environment asks for it. A port stays open until the process
    ends.

    Raises:
        UserError: something else than a port or a folder is given, or the client library is not there.
    """
    if not any(os.environ.get(name) for name in (PORT, TEXTFILE, PUSHGATEWAY)):
        yield
        return
    needed("prometheus_client", "CURATE_METRICS_...", "pip install 'curate-graph[observability]'")
    global _exposed
    if _exposed is None:
        metrics = RunMetrics()
        _exposed = metrics, registry_of(_Source(metrics))
        _serve(_exposed[1])
    metrics, registry = _exposed
    with ExitStack() as stack:
        if os.environ.get(TEXTFILE) or os.environ.get(PUSHGATEWAY):
            stack.enter_context(_written(registry))
        stack.enter_context(listening(metrics))
        yield


def _serve(registry: Any) -> None:
    from prometheus_client import start_http_server

    if not (given := os.environ.get(PORT)):
        return
    if not (given.isdigit() and int(given) < 1 << 16):
        raise UserError(f"{PORT} is {given!r}: set it to a port, such as 9464")
    try:
        start_http_server(int(given), os.environ.get(HOST, "127.0.0.1"), registry)
    except OSError as error:  # another run of this machine has it: that costs this one nothing but its metrics
        _log.warning("port %s: %s: the metrics of this run are not served; see %s", given, error, TEXTFILE)


@contextmanager
def _written(registry: Any) -> Generator[None]:
    """Write or push every few seconds, and once more at the end."""
    ended = threading.Event()

    def write() -> None:
        from prometheus_client import push_to_gateway, write_to_textfile

        try:
            if folder := os.environ.get(TEXTFILE):
                Path(folder).mkdir(parents=True, exist_ok=True)
                write_to_textfile(str(Path(folder) / f"curate-{os.getpid()}.prom"), registry)
            if url := os.environ.get(PUSHGATEWAY):
                process = {"instance": f"{os.uname().nodename}-{os.getpid()}"}
                push_to_gateway(url, "curate", registry, process, timeout=_PUSH_SECONDS)
        except OSError as error:
            _log.warning("metrics are not written: %s", error)

    def every_few_seconds() -> None:
        while not ended.wait(_EVERY_SECONDS):
            write()

    thread = threading.Thread(target=every_few_seconds, name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_PUSH_SECONDS + 1)
        write()
