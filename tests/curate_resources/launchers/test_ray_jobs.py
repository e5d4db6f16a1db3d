"""Which answers of a Ray cluster's job server are final. The server's stand-in answers as a proxy before it may."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

_ASK = """
import sys
from curate_resources.launchers.ray_jobs import RayJobServer
for status in sys.argv[2:]:
    for ask in ("state", "submit"):
        try:
            server = RayJobServer(f"{sys.argv[1]}/{status}", answer_seconds=20)
            print(status, ask, server.state("job") if ask == "state" else server.submit("job", "true"))
        except Exception as error:
            print(status, ask, type(error).__name__, " ".join(str(error).split()))
"""


class _Answers(BaseHTTPRequestHandler):
    """`/503/api/...` is answered with 503; the version is told, unless it is `/version-503/...`."""

    def do_GET(self) -> None:
        status, *path = self.path.strip("/").split("/")
        fits = path == ["api", "version"] and not status.startswith("version")
        body = b'{"ray_version": "2.60.0", "version": "4"}' if fits else b"not now"
        self.send_response(200 if fits else int(status.rpartition("-")[2]))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *arguments: Any) -> None: ...


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.deep
def test_what_a_job_server_refuses_for_good_is_told_from_what_may_pass(url):
    # A process of its own: Ray reads once in a process how it is to authenticate.
    statuses = ["400", "422", "404", "429", "503", "version-403", "version-503"]
    command = [sys.executable, "-c", _ASK, url, *statuses]
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=True)
    found = {tuple(line.split()[:2]): line.split()[2] for line in done.stdout.splitlines()}
    final = {(status, ask) for (status, ask), said in found.items() if said == "ClusterRefuses"}
    assert final == {
        *((status, ask) for status in ("400", "422", "version-403") for ask in ("state", "submit")),
        ("404", "submit"),
    }, done.stdout
    assert found["404", "state"] == "None"
    passing = {(status, ask) for (status, ask), said in found.items() if said == "ClusterUnreachable"}
    assert passing == {(status, ask) for status in ("429", "503", "version-503") for ask in ("state", "submit")}
