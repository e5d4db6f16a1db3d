import asyncio
import base64
import io
import json
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image
from pydantic import ValidationError

from curate_assets.graph.platform import ConfigError
from curate_assets.settings.resolve import validated
from gpu_kernels.captioners.openai import ServedCaptionsConfig
from gpu_kernels.captioners.types import Caption, CaptionRequest, ThreadedCaptioner, prompt_hash
from gpu_kernels.errors import NotThere
from gpu_kernels.models.serving import retry_after, without_secrets


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


SEEN = {"choices": [{"message": {"content": "a street"}, "finish_reason": "stop"}]}


def test_a_server_that_says_when_to_come_again_is_left_alone_until_then_by_all(answering: Any, window: Any) -> None:
    def answer(asked: Any, number: int) -> Any:
        times.append(time.monotonic())
        return (429, {"Retry-After": "0.4"}, "full") if number == 0 else (200, {}, SEEN)

    times: list[float] = []
    with answering(answer) as (url, _):
        captioner = served(url, attempts=1).load()
        with ThreadPoolExecutor(2) as threads:
            first = threads.submit(captioner.caption, window(1))
            while not times:
                time.sleep(0.01)
            time.sleep(0.1)  # the first one has its answer by now
            second = threads.submit(captioner.caption, window(2))
            assert (first.result().status, second.result().status) == ("success", "success")
    assert len(times) == 3 and min(times[1:]) - times[0] >= 0.39


def test_a_wait_that_is_too_long_is_an_error_and_a_worker_that_ends_does_not_wait(answering: Any, window: Any) -> None:
    with answering(lambda asked, number: (503, {"Retry-After": "9999"}, "later")) as (url, seen):
        captioner = served(url).load()
        failures = [captioner.caption(window(1)).failure or "" for _ in range(2)]
        assert all("asks to wait" in failure and "timeout_seconds is 300" in failure for failure in failures)
        assert len(seen) == 1
    with answering(lambda asked, number: (503, {"Retry-After": "60"}, "later")) as (url, seen):
        captioner: Any = served(url).load()
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(captioner.caption, window(1))
            while not seen:
                time.sleep(0.01)
            captioner.close()
            assert "the worker ended" in str(waiting.result(5).failure)


def test_a_time_to_come_again_is_read_by_the_clock_of_the_server() -> None:
    def asks(**headers: str) -> float:
        response = requests.Response()
        response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
        return retry_after(response)

    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    assert asks(Retry_After="Wed, 21 Oct 2015 07:28:30 GMT", Date=date) == 30
    assert asks(Retry_After="Wed, 21 Oct 2015 07:27:30 GMT", Date=date) == 0
    assert 3500 < asks(Retry_After=format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)) <= 3600
    assert [asks(Retry_After=said) for said in ("7", "1.5", "-1", "nan", "inf", "soon", "")] == [7, 1.5, 0, 0, 0, 0, 0]
    assert asks() == 0


def test_the_only_model_of_a_server_is_found_and_named_in_the_caption(answering: Any, window: Any) -> None:
    def answer(asked: Any, number: int) -> Any:
        return 200, {}, {"data": [{"id": name} for name in names]} if asked.method == "GET" else SEEN

    names = ["seer-7b"]
    with answering(answer) as (url, seen):
        config = served(url, model=None, revision="mine")
        assert config.identity() == ("discovered", "mine") and seen == []
        assert [caption.model for caption in captioned(config, [window(1), window(2)])] == ["seer-7b"] * 2
        assert [(asked.method, asked.path) for asked in seen].count(("GET", "/models")) == 1
        assert {asked.body["model"] for asked in seen if asked.method == "POST"} == {"seer-7b"}
        names.append("other")
        assert "2 models (seer-7b, other): say which" in str(config.load().caption(window(1)).failure)
    assert served(url).load().caption(CaptionRequest([], [])).model is None
    with pytest.raises(ValidationError, match="`revision` is needed"):
        served(url, model=None)


def test_frames_may_go_as_one_video_whose_prompt_says_so(answering: Any, window: Any) -> None:
    with answering(lambda asked, number: (200, {}, SEEN)) as (url, seen):
        config = served(url, frames_as="video")
        frames = window(1, 2, 3)
        assert config.load().caption(frames).status == "success"
    video, text = seen[0].body["messages"][0]["content"]
    form, _, data = video["video_url"]["url"].partition(",")
    assert form == "data:video/jpeg;base64" and [base64.b64decode(each) for each in data.split(",")] == frames.frames
    assert text["text"].startswith("The video has 3 frames") and "0.00, 0.50, 1.00" in text["text"]
    images = served(url)
    assert prompt_hash(config) != prompt_hash(images)
    assert config.settings() == images.settings() | {"frames_as": "video"} and "frames_as" not in images.settings()


def test_an_answer_to_another_request_is_an_error(answering: Any, window: Any) -> None:
    def answer(asked: Any, number: int) -> Any:
        sent = asked.body["request_id"]
        assert asked.headers["X-Request-Id"] == sent
        if number == 0:
            return 500, {}, "out of order"
        return 200, {}, {"id": f"chatcmpl-{sent if number == 1 else seen[0].body['request_id']}", **SEEN}

    with answering(answer) as (url, seen):
        captioner = served(url, request_id=True).load()
        right, wrong = captioner.caption(window(1), "clip-0"), captioner.caption(window(2), "clip-8")
    assert right.status == "success"
    assert wrong.status == "error" and "another request's" in str(wrong.failure)
    names = [asked.body["request_id"] for asked in seen]
    assert len(set(names)) == 3 and [name.rpartition("-")[0] for name in names] == ["clip-0", "clip-0", "clip-8"]


def test_connections_are_kept_until_the_captioner_is_closed(answering: Any, window: Any) -> None:
    with answering(lambda asked, number: (200, {}, SEEN)) as (url, seen):
        captioner = served(url).load()
        engine = ThreadedCaptioner(captioner, 1)

        async def some() -> None:
            for _ in range(3):
                assert (await engine.caption(window(1), "")).status == "success"
            await engine.close()

        asyncio.run(some())
        captioner.caption(window(1))
    clients = [asked.client for asked in seen]
    assert len(set(clients[:3])) == 1 and clients[3] != clients[0]


def test_a_key_comes_from_a_file_as_it_is_now_and_is_told_to_nobody_else(
    answering: Any, window: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "of-the-environment")
    file = tmp_path / "key"

    def answer(asked: Any, number: int) -> Any:
        said = asked.headers["Authorization"]
        return (401, {}, f"no such key: {said}") if number < 2 else (307, {"Location": "http://h/v1?key=abc"}, "")

    with answering(answer) as (url, seen):
        config = served(url, api_key_file=str(file))
        with pytest.raises(NotThere, match="there should be a key"):
            config.load()
        file.write_text("sesame-1\n")
        captioner = config.load()
        failures = [captioner.caption(window(1)).failure or ""]
        file.write_text("sesame-2")
        failures += [captioner.caption(window(1)).failure or "" for _ in range(2)]
        file.write_text("two\nlines")
        failures.append(captioner.caption(window(1)).failure or "")
    assert [asked.headers["Authorization"] for asked in seen[:2]] == ["Bearer sesame-1", "Bearer sesame-2"]
    assert (
        "401" in failures[0]
        and "key: Bearer ***" in failures[0]
        and "sends requests on: http://h/v1?key=***" in failures[2]
    )
    assert not any(secret in failure for failure in failures for secret in ("sesame", "abc", "two"))
    absent = served("http://127.0.0.1:9", attempts=1).load().caption(window(1))
    assert absent.failure is not None and "of-the-environment" not in absent.failure


def test_a_key_in_the_endpoint_is_refused_and_not_repeated() -> None:
    for endpoint in ("http://h/v1?key=sesame", "http://user:sesame@h/v1"):
        with pytest.raises(ConfigError, match="endpoint: must be a URL without a query") as error:
            validated({"captions": {"backend": "openai", "model": "m", "endpoint": endpoint}})
        assert "sesame" not in "".join(traceback.format_exception(error.value))
    said = "no answer from http://user:sesame@h/v1?key=sesame&x=sesame or https://h/a?b=sesame"
    assert without_secrets(said, None) == "no answer from http://***@h/v1?key=***&x=*** or https://h/a?b=***"
