"""Servers of models."""

import json
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


@dataclass
class Asked:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    client: tuple[str, int]


Answer = tuple[int, dict[str, str], Any]
"""Status, headers and the document, or the bytes of something else."""


@contextmanager
def _answering(answer: Callable[[Asked, int], Answer]) -> Generator[tuple[str, list[Asked]]]:
    """The URL of a server, and the requests that it gets.

    Args:
        answer: from a request and the number of those before it.
    """
    seen: list[Asked] = []
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # keeps connections

        def do_GET(self) -> None:
            self._answer(None)

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, body: Any) -> None:
            asked = Asked(self.command, self.path, dict(self.headers), body, self.client_address)
            with lock:
                number = len(seen)
                seen.append(asked)
            status, headers, document = answer(asked, number)
            payload = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(payload))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        thread = threading.Thread(target=listening.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.server_port}", seen
        finally:
            listening.shutdown()
            thread.join()


@pytest.fixture(scope="session")
def answering() -> Callable[..., AbstractContextManager[tuple[str, list[Asked]]]]:
    """`answering(lambda asked, number: (200, {}, document))` is a server of models."""
    return _answering
