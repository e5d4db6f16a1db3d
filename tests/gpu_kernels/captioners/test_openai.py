import base64
import io
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from PIL import Image

from gpu_kernels.captioners.openai import ServedCaptionsConfig
from gpu_kernels.captioners.types import Caption, CaptionRequest


class _Server(BaseHTTPRequestHandler):
    """Answers chat completions with what it saw. The first picture's width chooses how it behaves."""

    seen: list[dict[str, Any]]
    lock: threading.Lock

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        parts = body["messages"][0]["content"]
        pictures = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
        assert all(url.startswith("data:image/jpeg;base64,") for url in pictures)
        sizes = [Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).size for url in pictures]
        width = sizes[0][0]
        with self.lock:
            earlier = sum(entry["width"] == width for entry in self.seen)
            entry = {"width": width, "path": self.path, "key": self.headers.get("Authorization"), "body": body}
            self.seen.append(entry)
        message: dict[str, Any] = {"content": f"{len(sizes)} pictures of {sizes[0]}"}
        finish = "stop"
        if width == BUSY_ONCE and earlier == 0:
            self.answer(429, {"error": "busy"})
            return
        if width == ALWAYS_FAILS:
            self.answer(500, {"error": "out of order"})
            return
        if width == REJECTED:
            self.answer(400, {"error": "bad request"})
            return
        if width == SILENT:
            self.close_connection = True
            return
        if width == LONG:
            finish = "length"
        elif width == FILTERED:
            message, finish = {"content": None}, "content_filter"
        elif width == REFUSED:
            message = {"content": None, "refusal": "no"}
        elif width == EMPTY:
            message = {"content": " "}
        usage = {"prompt_tokens": 100 * len(sizes), "completion_tokens": 7}
        self.answer(200, {"choices": [{"message": message, "finish_reason": finish}], "usage": usage})

    def answer(self, status: int, content: dict[str, Any]) -> None:
        payload = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


PLAIN, BUSY_ONCE, ALWAYS_FAILS, REJECTED, SILENT, LONG, FILTERED, REFUSED, EMPTY = range(40, 130, 10)


@pytest.fixture
def server() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    handler = type("Handler", (_Server,), {"seen": [], "lock": threading.Lock()})
    listening = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{listening.server_port}/v1/", handler.seen  # pyright: ignore[reportAttributeAccessIssue]
    listening.shutdown()
    thread.join()
    listening.server_close()


def served(endpoint: str, **settings: Any) -> ServedCaptionsConfig:
    return ServedCaptionsConfig.model_validate(
        {"endpoint": endpoint, "model": "seer", "backoff_seconds": 0, "concurrency": 4} | settings
    )


def captioned(config: ServedCaptionsConfig, windows: list[CaptionRequest]) -> list[Caption]:
    with ThreadPoolExecutor(config.at_once) as threads:
        return list(threads.map(config.load().caption, windows))


def test_every_window_gets_its_own_outcome_in_order(server: tuple[str, list[dict[str, Any]]], window: Any) -> None:
    endpoint, seen = server
    widths = [PLAIN, BUSY_ONCE, ALWAYS_FAILS, REJECTED, SILENT, LONG, FILTERED, REFUSED, EMPTY]
    windows = [*(window(1, 2, 3, width=width) for width in widths), CaptionRequest([], [])]
    captions = captioned(served(endpoint), windows)
    assert [caption.status for caption in captions] == [
        *("success", "success", "error", "error", "error", "truncated", "blocked", "blocked", "error", "skipped")
    ]
    for width, caption in zip(widths, captions, strict=False):
        assert (caption.text == f"3 pictures of ({width}, 96)") == (caption.status in ("success", "truncated"))
        assert (caption.text is None) == (caption.failure is not None)
    assert "500" in str(captions[2].failure)
    assert "bad request" in str(captions[3].failure)
    assert (captions[0].prompt_tokens, captions[0].output_tokens) == (300, 7)
    tries = {width: sum(entry["width"] == width for entry in seen) for width in widths}
    assert tries == dict.fromkeys(widths, 1) | {BUSY_ONCE: 2, ALWAYS_FAILS: 3, SILENT: 3}


def test_the_request_carries_frames_times_prompt_settings_and_key(
    server: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch, window: Any
) -> None:
    endpoint, seen = server
    monkeypatch.setenv("SEER_KEY", "open sesame")
    config = served(endpoint, prompt="What is this?", api_key_env="SEER_KEY", repetition_penalty=1, max_tokens=99)
    frames = window(1, 2)
    config.load().caption(frames)
    [entry] = seen
    body = entry["body"]
    *pictures, text = body["messages"][0]["content"]
    assert [base64.b64decode(part["image_url"]["url"].split(",")[1]) for part in pictures] == frames.frames
    assert "What is this?" in text["text"]
    assert "0.00, 0.50" in text["text"]
    assert (entry["path"], entry["key"]) == ("/v1/chat/completions", "Bearer open sesame")
    settings = {name: value for name, value in body.items() if name != "messages"}
    assert settings == {"model": "seer", "max_tokens": 99, "temperature": 0.1, "top_p": 0.001}


def test_a_request_may_bring_its_own_prompt_and_the_schema_of_its_answer(
    server: tuple[str, list[dict[str, Any]]], window: Any
) -> None:
    endpoint, seen = server
    schema = {"type": "object", "properties": {"night": {"enum": ["yes", "no"]}}}
    served(endpoint, prompt="What is this?").load().caption(replace(window(1), prompt="Is it night?", schema=schema))
    body = seen[0]["body"]
    text = body["messages"][0]["content"][-1]["text"]
    assert "Is it night?" in text and "What is this?" not in text
    assert body["response_format"]["json_schema"] == {"name": "answer", "schema": schema, "strict": True}


def test_an_absent_server_is_an_error_per_window(window: Any) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as closed:
        port = closed.server_port
    captions = captioned(served(f"http://127.0.0.1:{port}/v1"), [window(1), window(2)])
    assert [caption.status for caption in captions] == ["error", "error"]
