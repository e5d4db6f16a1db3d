"""A real S3 API on loopback, and a proxy before it that misbehaves as networks and providers do."""

import random
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import nullcontext
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SLOW_DOWN = (
    b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)
DENIED = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class S3Server:
    """Moto's server, in a process of its own; objects are kept in its memory."""

    keys = KEYS
    proxy: "FaultyProxy"

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        with open(folder / "moto.log", "wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 300  # of a busy machine
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
        self.close()
        raise TimeoutError("the S3 server does not start")

    def bucket(self, name: str) -> str:
        """Make a bucket; returns its URI."""
        import boto3

        client = boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id="key",
            aws_secret_access_key="secret",
            region_name="us-east-1",
        )
        client.create_bucket(Bucket=name)
        return f"s3://{name}"

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


class FaultyProxy:
    """Passes requests on to a server, and does to a share of them one of the things in FAULTS; or, when
    asked, `denied` refuses them, and `unconditional` forgets on what condition they are to be met.

    Attributes:
        share: of requests that meet a fault.
        planned: the fault of single requests, which are named by their method and number, from 1 on.
        met: how many met which.
        requests: how many there were, by method.
    """

    FAULTS = ("slow_down", "reset", "reset_after", "torn", "slow")

    def __init__(self, port: int, seed: int = 0, share: float = 0.0) -> None:
        self.behave()
        self.share = share
        self._random, self._lock, self._target = random.Random(seed), threading.Lock(), port
        self.conditional = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except OSError:
                    self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                fault = proxy.chosen(self.command)
                if fault == "slow_down":
                    return self.send(503, {}, SLOW_DOWN)
                if fault == "denied":
                    return self.send(403, {}, DENIED)
                if fault == "reset":
                    return self.reset()
                if fault == "slow":
                    time.sleep(0.3)
                if fault == "unconditional":
                    del self.headers["If-None-Match"]
                # The server behind looks and then writes; S3 does both in one step.
                with proxy.conditional if "If-None-Match" in self.headers else nullcontext():
                    status, headers, content = proxy.passed_on(self.command, self.path, self.headers, body)
                if fault == "reset_after":  # what was asked for is done, and nobody hears of it
                    return self.reset()
                self.send(status, headers, content, torn=fault == "torn")
                return None

            def send(self, status: int, headers: Mapping[str, str], content: bytes, torn: bool = False) -> None:
                self.send_response_only(status)
                for name, value in headers.items():
                    if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                        self.send_header(name, value)
                length = headers.get("Content-Length") if self.command == "HEAD" else None
                self.send_header("Content-Length", length or str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2] if torn else content)
                if torn:
                    self.wfile.flush()
                    self.reset()

            def reset(self) -> None:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def behave(self) -> None:
        """No faults from now on, and all counts at nothing."""
        self.share, self.faults = 0.0, self.FAULTS
        self.planned: dict[tuple[str, int], str] = {}
        self.met: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()

    def chosen(self, method: str) -> str | None:
        with self._lock:
            self.requests[method] += 1
            if planned := self.planned.get((method, self.requests[method])):
                return planned
            if self._random.random() >= self.share:
                return None
            fault = self._random.choice(self.faults)
            self.met[fault] += 1
            return fault

    def passed_on(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        connection = HTTPConnection("127.0.0.1", self._target, timeout=60)
        try:
            connection.request(method, path, body or None, dict(headers.items()))
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
