import base64
from dataclasses import replace
from typing import Any

import pytest

from gpu_kernels.captioners.gemini import GeminiCaptionsConfig
from gpu_kernels.captioners.types import CaptionRequest
from gpu_kernels.models.section import Server

USAGE = {"promptTokenCount": 300, "candidatesTokenCount": 7, "thoughtsTokenCount": 5}


def asked_of(url: str, **settings: Any) -> GeminiCaptionsConfig:
    given = {"endpoint": f"{url}/v1beta/", "model": "gemini-2.5-pro", "backoff_seconds": 0}
    return GeminiCaptionsConfig.model_validate(given | settings)


def candidate(*texts: str, reason: str = "STOP", **more: Any) -> dict[str, Any]:
    parts = [{"text": "hm", "thought": True}, *({"text": text} for text in texts)]
    return {"candidates": [{"content": {"parts": parts}, "finishReason": reason, **more}], "usageMetadata": USAGE}


def test_the_request_carries_frames_prompt_settings_and_the_key_in_a_header(
    answering: Any, window: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "sesame")
    schema = {"type": "object", "properties": {"night": {"enum": ["yes", "no"]}}}
    with answering(lambda asked, number: (200, {}, candidate("a ", "street"))) as (url, seen):
        config = asked_of(url, prompt="What is this?", max_tokens=99, top_k=20, presence_penalty=1.5)
        frames = window(1, 2)
        caption = config.load().caption(frames)
        config.load().caption(replace(frames, prompt="Is it night?", schema=schema))
    assert (caption.text, caption.status) == ("a street", "success")
    assert (caption.prompt_tokens, caption.output_tokens) == (300, 12)
    assert {asked.path for asked in seen} == {"/v1beta/models/gemini-2.5-pro:generateContent"}
    assert seen[0].headers["x-goog-api-key"] == "sesame" and "Authorization" not in seen[0].headers
    *pictures, text = seen[0].body["contents"][0]["parts"]
    assert [base64.b64decode(part["inline_data"]["data"]) for part in pictures] == frames.frames
    assert {part["inline_data"]["mime_type"] for part in pictures} == {"image/jpeg"}
    assert text["text"].endswith("What is this?") and "0.00, 0.50" in text["text"]
    sampling = {"maxOutputTokens": 99, "temperature": 0.1, "topP": 0.001, "topK": 20, "presencePenalty": 1.5}
    assert seen[0].body["generationConfig"] == sampling
    constrained = {"responseMimeType": "application/json", "responseJsonSchema": schema}
    assert seen[1].body["generationConfig"] == sampling | constrained
    assert seen[1].body["contents"][0]["parts"][-1]["text"].endswith("Is it night?")


UNSAFE = [{"category": "HARM", "probability": "HIGH", "blocked": True}, {"category": "OK", "probability": "LOW"}]


@pytest.mark.parametrize(
    ("answers", "status", "said"),
    [
        ([candidate("a street", reason="MAX_TOKENS")], "truncated", None),
        ([candidate(reason="MAX_TOKENS")], "error", "raise max_tokens"),
        (
            [candidate("some", reason="SAFETY", safetyRatings=UNSAFE)],
            "blocked",
            "held the answer back: SAFETY (HARM HIGH)",
        ),
        ([candidate(reason="RECITATION")], "blocked", "RECITATION"),
        ([{"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}], "blocked", "the request: PROHIBITED_CONTENT"),
        ([candidate(reason="OTHER", finishMessage="no idea")], "error", "ended with OTHER: no idea"),
        ([candidate(" ")], "error", "the answer is empty"),
        ([{}], "error", "no candidate"),
        ([503, 500, candidate("a street")], "success", None),
        ([400], "error", "the server answered 400"),
    ],
)
def test_what_comes_back_is_told_apart(
    answering: Any, window: Any, answers: Any, status: str, said: str | None
) -> None:
    def answer(asked: Any, number: int) -> Any:
        found = answers[number]
        return (found, {}, "broken") if isinstance(found, int) else (200, {}, found)

    with answering(answer) as (url, seen):
        caption = asked_of(url).load().caption(window(1))
    assert len(seen) == len(answers)
    assert (caption.status, caption.text) == (status, "a street" if status in ("success", "truncated") else None)
    assert said is None if caption.failure is None else said is not None and said in caption.failure


def test_what_is_too_large_is_not_sent(answering: Any) -> None:
    with answering(lambda asked, number: (200, {}, candidate("a street"))) as (url, seen):
        caption = asked_of(url).load().caption(CaptionRequest([bytes(8_000_000)] * 2, [0.0, 0.5]))
    assert seen == [] and "lower captions.max_frames" in str(caption.failure)


def test_it_is_named_by_its_model_and_reached_where_google_has_it() -> None:
    config = GeminiCaptionsConfig(model="gemini-2.5-pro", revision="2026-11")
    assert config.identity() == ("gemini-2.5-pro", "2026-11") and config.at_once == 8
    url = "https://generativelanguage.googleapis.com/v1beta"
    assert config.servers() == (Server(url, "GEMINI_API_KEY", None, "x-goog-api-key"),)
    with pytest.raises(ValueError, match="model"):
        GeminiCaptionsConfig(model="../other?key=a")
