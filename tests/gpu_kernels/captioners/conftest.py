"""Windows of small pictures to be captioned, a tiny model that can, and servers of models."""

import io
import json
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gpu_kernels.captioners.types import CaptionRequest


def _jpeg(seed: int, width: int = 160, height: int = 96) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(encoded, "JPEG", quality=90)
    return encoded.getvalue()


@pytest.fixture(scope="session")
def jpeg() -> Callable[..., bytes]:
    """`jpeg(seed, width, height)` is a smooth random picture."""
    return _jpeg


@pytest.fixture(scope="session")
def window() -> Callable[..., CaptionRequest]:
    """`window(1, 2, width=80)` has a picture for each seed, half a second apart."""

    def of_seeds(*seeds: int, **size: int) -> CaptionRequest:
        return CaptionRequest([_jpeg(seed, **size) for seed in seeds], [0.5 * k for k in range(len(seeds))])

    return of_seeds


@pytest.fixture(scope="session")
def qwen_folder(tiny_models: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny Qwen2.5-VL."""
    return tiny_models.tiny_qwen2_5_vl(tmp_path_factory.mktemp("models") / "tiny-qwen")


@dataclass
class Asked:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    client: tuple[str, int]


Answer = tuple[int, dict[str, str], Any]
"""Status, headers and the document."""


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
            payload = json.dumps(document).encode()
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
