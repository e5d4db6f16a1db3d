"""Captions by a served model: any server with the chat completions of OpenAI."""

import base64
import os
import time
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from gpu_kernels.captioners.types import (
    FRAME_TIMES,
    NO_FRAMES,
    Caption,
    Captioner,
    CaptionRequest,
    CaptionsConfig,
    failed_caption,
)
from gpu_kernels.models.section import Server

if TYPE_CHECKING:
    import requests

_RETRIED_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


class ServedCaptionsConfig(CaptionsConfig):
    """A server with the OpenAI chat API, such as vLLM's."""

    without_effect: ClassVar[frozenset[str]] = frozenset(
        {"endpoint", "api_key_env", "timeout_seconds", "attempts", "backoff_seconds", "concurrency"}
    )

    backend: Literal["openai"] = "openai"
    model: str = Field(min_length=1)
    """The model's name on the server."""
    revision: str | None = None
    """A label of your own for what the server runs, as its API does not tell."""
    endpoint: str = Field(min_length=1)
    """Base URL of the server, such as `http://127.0.0.1:8000/v1`."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable with the server's key; without it requests carry none."""
    timeout_seconds: float = Field(default=300, gt=0)
    """Longest wait for the server's answer, per attempt."""
    attempts: int = Field(default=3, ge=1)
    """Tries per window when the server is busy, failing or silent."""
    backoff_seconds: float = Field(default=1, ge=0)
    """Pause before the second try, doubled before each further one; a server's Retry-After counts if it is longer."""
    concurrency: int = Field(default=8, ge=1)
    """Requests to the server at a time, from all clips and videos of a run."""

    @property
    def runs_on(self) -> None:
        return None

    @property
    def at_once(self) -> int:
        return self.concurrency

    def identity(self) -> tuple[str, str]:
        return self.model, self.revision or "endpoint"

    def servers(self) -> tuple[Server, ...]:
        return (Server(self.endpoint, self.api_key_env),)

    def load(self) -> Captioner:
        return OpenAICaptioner(self)


class OpenAICaptioner:
    """Chat completions with the frames as JPEG data URIs, several requests at a time."""

    def __init__(self, config: ServedCaptionsConfig) -> None:
        self.model, self.revision = config.identity()
        self._config = config
        self._url = config.endpoint.rstrip("/") + "/chat/completions"
        key = os.environ.get(config.api_key_env)
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    def caption(self, window: CaptionRequest, key: str = "") -> Caption:
        if not window.frames:
            return NO_FRAMES
        try:
            return _caption_of_answer(self._answer(self._body(window), {"X-Request-Id": key} if key else {}))
        except Exception as failure:
            return failed_caption(failure)

    def _body(self, window: CaptionRequest) -> dict[str, Any]:
        config = self._config
        times = ", ".join(f"{seconds:.2f}" for seconds in window.times_s)
        text = FRAME_TIMES.format(count=len(window.frames), times=times) + (window.prompt or config.prompt)
        images = [
            {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{base64.b64encode(frame).decode()}"}}
            for frame in window.frames
        ]
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": [*images, {"type": "text", "text": text}]}],
            "max_tokens": config.max_tokens,
            "temperature": config.temperature,
            "top_p": config.top_p,
        }
        if config.repetition_penalty != 1:
            body["repetition_penalty"] = config.repetition_penalty
        if window.schema is not None:
            schema = {"name": "answer", "schema": dict(window.schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return body

    def _answer(self, body: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
        import requests

        for attempt in range(1, self._config.attempts + 1):
            pause = self._config.backoff_seconds * 2 ** (attempt - 1)
            try:
                response = requests.post(
                    self._url, json=body, headers=self._headers | headers, timeout=self._config.timeout_seconds
                )
            except (requests.ConnectionError, requests.Timeout):
                if attempt == self._config.attempts:
                    raise
            else:
                if response.ok:
                    return response.json()
                if response.status_code not in _RETRIED_STATUSES or attempt == self._config.attempts:
                    raise RuntimeError(f"the server answered {response.status_code}: {response.text[:300]}")
                pause = max(pause, min(_retry_after(response), self._config.timeout_seconds))
            time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")


def _retry_after(response: "requests.Response") -> float:
    """Seconds that the server asks to wait; 0 without a header in seconds."""
    asked = response.headers.get("Retry-After", "")
    return float(asked) if asked.isdecimal() else 0


def _caption_of_answer(answer: dict[str, Any]) -> Caption:
    choice = answer["choices"][0]
    message = choice["message"]
    usage = answer.get("usage") or {}
    tokens = (usage.get("prompt_tokens"), usage.get("completion_tokens"))
    if choice.get("finish_reason") == "content_filter":
        return Caption(None, "blocked", "the server's content filter stopped the answer", *tokens)
    if refusal := message.get("refusal"):
        return Caption(None, "blocked", f"the model refused: {refusal}", *tokens)
    text = (message.get("content") or "").strip()
    if not text:
        return Caption(None, "error", "the answer is empty", *tokens)
    return Caption(text, "truncated" if choice.get("finish_reason") == "length" else "success", None, *tokens)
