"""Captions by a served model: any server with the chat completions of OpenAI."""

import base64
import threading
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from gpu_kernels.captioners.served import ServedCaptioner, ServedConfig
from gpu_kernels.captioners.types import FRAME_TIMES, Caption, Captioner, CaptionRequest, ModelCaptionsConfig
from gpu_kernels.errors import OperatingError
from gpu_kernels.models.section import Server
from gpu_kernels.models.serving import DISCOVERED, as_json, only_model, unique

_VIDEO_TIMES = "The video has {count} frames of one clip in order, taken {times} seconds after it starts.\n\n"


class OpenAIConfig(ServedConfig):
    """A server with the OpenAI chat API, such as vLLM's."""

    without_effect: ClassVar[frozenset[str]] = ServedConfig.without_effect | {"request_id"}

    backend: Literal["openai"] = "openai"
    model: str | None = Field(default=None, min_length=1)
    """The model's name on the server; `null`: the only one that it has. Then `revision` is needed, because a plan is
    made without asking the server."""
    revision: str | None = None
    """A label of your own for what the server runs, as its API does not tell."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable with the server's key; without it requests carry none."""
    request_id: bool = False
    """Whether requests have an id of their own, and answers must come back with it, as vLLM's do."""

    @model_validator(mode="after")
    def _pinned(self) -> "OpenAIConfig":
        if self.model is None and self.revision is None:
            raise ValueError("without `model`, `revision` is needed: a label of your own for what the server runs")
        return self

    @property
    def as_video(self) -> bool:
        """Whether frames are sent as one video."""
        return False

    def identity(self) -> tuple[str, str]:
        return self.model or DISCOVERED, self.revision or "endpoint"

    def server(self) -> Server:
        return Server(self.endpoint, self.api_key_env, self.api_key_file)

    def load(self) -> Captioner:
        return OpenAICaptioner(self)


class ServedCaptionsConfig(ModelCaptionsConfig, OpenAIConfig):
    """A server with the OpenAI chat API, such as vLLM's."""

    unless_default: ClassVar[frozenset[str]] = frozenset({"frames_as"})

    frames_as: Literal["images", "video"] = "images"
    """`images`: each frame as a JPEG; `video`: all as one video of JPEGs, a form that vLLM's server knows. Models that
    take videos need fewer tokens for it; vLLM drops frames beyond `num_frames` of its `--media-io-kwargs`."""

    @property
    def as_video(self) -> bool:
        return self.frames_as == "video"

    @property
    def frame_times(self) -> str:
        return _VIDEO_TIMES if self.as_video else FRAME_TIMES


class OpenAICaptioner(ServedCaptioner[OpenAIConfig]):
    """Chat completions with the frames as JPEGs in data URIs."""

    def __init__(self, config: OpenAIConfig) -> None:
        super().__init__(config)
        self._name = config.model
        self._discovering = threading.Lock()

    def _asked(self, window: CaptionRequest, key: str) -> Caption:
        body = self._body(window)
        sent = key

        def request() -> tuple[bytes, dict[str, str]]:
            nonlocal sent
            if not self._config.request_id:
                return as_json(body), {"X-Request-Id": key} if key else {}
            sent = unique(key)
            return as_json(body | {"request_id": sent}), {"X-Request-Id": sent}

        answer = self._server.post("/chat/completions", request)
        if self._config.request_id and not str(answer.get("id")).endswith(sent):
            raise OperatingError(f"asked as {sent}, the server answered {answer.get('id')}: that is another request's")
        return replace(_caption_of_answer(answer), model=body["model"] if self._config.model is None else None)

    def _body(self, window: CaptionRequest) -> dict[str, Any]:
        config = self._config
        frames = [base64.b64encode(frame).decode() for frame in window.frames]
        if config.as_video:
            shown = [{"type": "video_url", "video_url": {"url": f"data:video/jpeg;base64,{','.join(frames)}"}}]
        else:
            shown = [{"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{each}"}} for each in frames]
        asked = self._question(window)
        body: dict[str, Any] = {
            "model": self._model_name(),
            "messages": [{"role": "user", "content": [*shown, {"type": "text", "text": asked}] if shown else asked}],
            "max_tokens": config.max_tokens,
            "temperature": config.temperature,
            "top_p": config.top_p,
        }
        if config.repetition_penalty != 1:
            body["repetition_penalty"] = config.repetition_penalty
        if config.top_k:
            body["top_k"] = config.top_k
        if config.presence_penalty:
            body["presence_penalty"] = config.presence_penalty
        if window.schema is not None:
            schema = {"name": "answer", "schema": dict(window.schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return body

    def _model_name(self) -> str:
        with self._discovering:
            if self._name is None:
                self._name = only_model(self._server)
            return self._name


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
