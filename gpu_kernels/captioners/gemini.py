"""Captions by Google's Gemini: `generateContent` with the frames as inline pictures."""

import base64
from typing import Any, Literal

from pydantic import Field

from gpu_kernels.captioners.served import ServedCaptioner, ServedConfig
from gpu_kernels.captioners.types import Caption, Captioner, CaptionRequest, ModelCaptionsConfig
from gpu_kernels.errors import UserError
from gpu_kernels.models.section import Server
from gpu_kernels.models.serving import as_json

_MOST_BYTES = 20_000_000
"""Of a request, its pictures included."""

_BLOCKED = frozenset({"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY"})
"""Reasons for which an answer is held back."""


class GeminiConfig(ServedConfig):
    """Google's Gemini, or a server with its API."""

    backend: Literal["gemini"] = "gemini"
    model: str = Field(pattern=r"^[\w.-]+$")
    """The model's name, such as `gemini-2.5-pro`."""
    revision: str | None = None
    """A label of your own for what stands behind the name, as the API does not tell."""
    endpoint: str = Field(default="https://generativelanguage.googleapis.com/v1beta", min_length=1)
    """Base URL of the API."""
    api_key_env: str = "GEMINI_API_KEY"
    """Environment variable with the key; without it requests carry none."""

    def identity(self) -> tuple[str, str]:
        return self.model, self.revision or "endpoint"

    def server(self) -> Server:
        return Server(self.endpoint, self.api_key_env, self.api_key_file, "x-goog-api-key")

    def load(self) -> Captioner:
        return GeminiCaptioner(self)


class GeminiCaptionsConfig(ModelCaptionsConfig, GeminiConfig):
    """Google's Gemini, or a server with its API."""


class GeminiCaptioner(ServedCaptioner[GeminiConfig]):
    """Each window as one request with its frames as JPEGs. The API knows no penalty for repetition."""

    def _asked(self, window: CaptionRequest, key: str) -> Caption:
        body = as_json(self._body(window))
        if len(body) > _MOST_BYTES:
            raise UserError(
                f"the {len(window.frames)} frames make a request of {len(body) / 1e6:.0f} MB, and Gemini takes "
                f"{_MOST_BYTES / 1e6:.0f}: lower captions.max_frames"
            )
        return _caption_of(self._server.post(f"/models/{self.model}:generateContent", lambda: (body, {})))

    def _body(self, window: CaptionRequest) -> dict[str, Any]:
        config = self._config
        pictures = [
            {"inline_data": {"mime_type": "image/jpeg", "data": base64.b64encode(frame).decode()}}
            for frame in window.frames
        ]
        sampling: dict[str, Any] = {
            "maxOutputTokens": config.max_tokens,
            "temperature": config.temperature,
            "topP": config.top_p,
        }
        if config.top_k:
            sampling["topK"] = config.top_k
        if config.presence_penalty:
            sampling["presencePenalty"] = config.presence_penalty
        if window.schema is not None:
            sampling |= {"responseMimeType": "application/json", "responseJsonSchema": dict(window.schema)}
        return {
            "contents": [{"role": "user", "parts": [*pictures, {"text": self._question(window)}]}],
            "generationConfig": sampling,
        }


def _caption_of(answer: dict[str, Any]) -> Caption:
    usage = answer.get("usageMetadata") or {}
    written = [usage[key] for key in ("candidatesTokenCount", "thoughtsTokenCount") if key in usage]
    tokens = (usage.get("promptTokenCount"), sum(written) if written else None)
    feedback = answer.get("promptFeedback") or {}
    if reason := feedback.get("blockReason"):
        return Caption(None, "blocked", f"Gemini refused the request: {_because(reason, feedback)}", *tokens)
    if not answer.get("candidates"):
        return Caption(None, "error", "the answer has no candidate, and no reason for it", *tokens)
    candidate = answer["candidates"][0]
    reason = candidate.get("finishReason", "STOP")
    if reason in _BLOCKED:
        return Caption(None, "blocked", f"Gemini held the answer back: {_because(reason, candidate)}", *tokens)
    parts = (candidate.get("content") or {}).get("parts") or []
    text = "".join(part.get("text", "") for part in parts if not part.get("thought")).strip()
    if reason not in ("STOP", "MAX_TOKENS"):
        return Caption(None, "error", f"Gemini ended with {reason}: {candidate.get('finishMessage', text)}", *tokens)
    if not text:
        spent = ": all tokens went into thinking, raise max_tokens" if reason == "MAX_TOKENS" else ""
        return Caption(None, "error", f"the answer is empty{spent}", *tokens)
    return Caption(text, "truncated" if reason == "MAX_TOKENS" else "success", None, *tokens)


def _because(reason: str, of: dict[str, Any]) -> str:
    """The reason, and what was found in what is held back."""
    found = [
        f"{each['category']} {each['probability']}" for each in of.get("safetyRatings") or () if each.get("blocked")
    ]
    return f"{reason} ({', '.join(found)})" if found else reason
