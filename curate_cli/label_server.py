"""The page on loopback that asks about clips, until whoever labels has finished."""

import secrets
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, get_args
from urllib.parse import parse_qs, urlsplit

from curate_assets.video.labelling.kept_labels import Said
from curate_assets.video.labelling.labelling import ON_PAGE, Labelling
from curate_assets.video.report.label_page import render_label_page
from gpu_kernels.errors import CurateError, UserError

_HOST = "127.0.0.1"
_WORDS: dict[str, Said] = {word: word for word in get_args(Said)}
_LONGEST = 10_000
"""Bytes of an answer."""


class LabelServer:
    """Asks about one clip at a time. Only who has its URL can answer: there is a secret in it.

    Attributes:
        url: of the page.
        finished: set once somebody has finished, or labelling has failed.
        failed: what it failed by.
    """

    def __init__(self, labelling: Labelling, port: int) -> None:
        self._labelling, self._lock = labelling, threading.Lock()
        self._secret = secrets.token_urlsafe(16)
        self._shown: str | None = None
        self._before: str | None = None
        self.finished = threading.Event()
        self.failed: CurateError | None = None
        asks = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asks.answer(self, None)

            def do_POST(self) -> None:
                length = self.headers.get("Content-Length", "")
                body = self.rfile.read(min(int(length), _LONGEST)) if length.isdecimal() else b""
                asks.answer(self, body.decode("utf-8", "replace"))

            def log_message(self, format: str, *args: Any) -> None:
                pass

        try:
            self._server = ThreadingHTTPServer((_HOST, port), Handler)
        except OSError as error:
            raise UserError(f"cannot listen on {_HOST}:{port}: {error.strerror}; choose another --port") from error
        self._origin = f"{_HOST}:{self._server.server_address[1]}"
        self.url = f"http://{self._origin}/{self._secret}/"

    @contextmanager
    def serving(self) -> Generator[None]:
        """Answer while the block runs."""
        thread = threading.Thread(target=self._server.serve_forever, name="labels", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def answer(self, request: BaseHTTPRequestHandler, body: str | None) -> None:
        """Answer a request; with a body, it says something."""
        address = urlsplit(request.path)
        secret, _, action = address.path.removeprefix("/").partition("/")
        # Another page that is open in the browser knows neither the secret nor, by a name of its own, this host.
        if not secrets.compare_digest(secret.encode(), self._secret.encode()):
            _send(request, HTTPStatus.NOT_FOUND, "There is nothing here.")
            return
        if request.headers.get("Host") != self._origin:
            _send(request, HTTPStatus.FORBIDDEN, "This page is for this machine alone.")
            return
        with self._lock:
            try:
                if body is None and not action:
                    self._show(request, parse_qs(address.query).get("clip", [None])[0])
                elif body is not None and action == "say":
                    self._take(request, parse_qs(body))
                elif body is not None and action == "finish":
                    _send(request, HTTPStatus.OK, "Finished. The result is in the terminal.")
                    self.finished.set()
                else:
                    _send(request, HTTPStatus.NOT_FOUND, "There is nothing here.")
            except CurateError as error:
                _send(request, HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
                self.failed = error
                self.finished.set()

    def _show(self, request: BaseHTTPRequestHandler, wanted: str | None) -> None:
        asked = self._labelling
        if wanted is not None and asked.knows(wanted):
            self._shown, self._before = wanted, None
        elif self._shown is None:
            self._shown = next(iter(asked.ask(1, ON_PAGE)), None)
        clip = None if self._shown is None else asked.clip(self._shown)
        nonce = secrets.token_urlsafe(16)
        _send(
            request,
            HTTPStatus.OK,
            render_label_page(asked.threshold, clip, self._before, asked.result(), nonce),
            "text/html; charset=utf-8",
        )

    def _take(self, request: BaseHTTPRequestHandler, said: dict[str, list[str]]) -> None:
        clip, word = said.get("clip", [""])[0], _WORDS.get(said.get("said", [""])[0])
        if not self._labelling.knows(clip) or word is None:
            _send(request, HTTPStatus.BAD_REQUEST, "That is no label.")
            return
        self._labelling.say({clip: word})
        self._before, self._shown = clip, None
        request.send_response(HTTPStatus.SEE_OTHER)
        request.send_header("Location", f"/{self._secret}/")
        request.send_header("Content-Length", "0")
        request.end_headers()


def _send(
    request: BaseHTTPRequestHandler, status: HTTPStatus, text: str, kind: str = "text/plain; charset=utf-8"
) -> None:
    data = text.encode()
    request.send_response(status)
    for name, value in (
        ("Content-Type", kind),
        ("Content-Length", str(len(data))),
        ("Cache-Control", "no-store"),
        ("Referrer-Policy", "same-origin"),
        ("X-Frame-Options", "DENY"),
    ):
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(data)
