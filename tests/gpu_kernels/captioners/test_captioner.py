from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from gpu_kernels.captioners.captioner import CAPTIONERS, NoCaptionsConfig
from gpu_kernels.captioners.types import CaptionsConfig, prompt_hash

configured: Any = TypeAdapter(CAPTIONERS.annotation).validate_python


def served(endpoint: str, **settings: object) -> CaptionsConfig:
    return configured({"backend": "openai", "endpoint": endpoint, "model": "seer"} | settings)


def test_configurations_that_cannot_work_are_rejected() -> None:
    for settings, reason in [
        ({"backend": "openai", "model": "m"}, "endpoint"),
        ({"backend": "openai", "endpoint": "http://127.0.0.1/v1"}, "model"),
        ({"backend": "openai", "endpoint": "127.0.0.1:8000/v1", "model": "m"}, "begins with http"),
        ({"backend": "openai", "endpoint": "http://127.0.0.1/v1", "model": "m", "device": "cpu"}, "device"),
        ({"backend": "transformers"}, "model"),
        ({"backend": "transformers", "model": "owner/name"}, "commit"),
        ({"endpoint": "http://127.0.0.1/v1"}, "endpoint"),
        ({"window_frames": 64}, "remainder_frames"),
        ({"max_tokens": 15}, "16"),
    ]:
        with pytest.raises(ValidationError, match=reason):
            configured(settings)
    assert configured({"prompt": "What?"}) == NoCaptionsConfig(prompt="What?")
    assert NoCaptionsConfig().load() is None


def test_identity_and_prompt_hash_follow_what_shapes_a_caption(qwen_folder: Path) -> None:
    config = served("http://127.0.0.1:1/v1")
    assert config.identity() == ("seer", "endpoint")
    assert served("http://127.0.0.1:1/v1", revision="r7").identity() == ("seer", "r7")
    local: CaptionsConfig = configured({"backend": "transformers", "model": str(qwen_folder), "device": "cpu"})
    name, revision = local.identity()
    captioner = local.load()
    assert captioner is not None
    assert (captioner.model, captioner.revision) == (name, revision) == ("tiny-qwen", revision)

    assert prompt_hash(config) == prompt_hash(served("http://127.0.0.1:2/v1", concurrency=1, timeout_seconds=1))
    for change in (
        {"prompt": "?"},
        {"temperature": 0.2},
        {"top_p": 0.5},
        {"repetition_penalty": 1},
        {"max_tokens": 50},
    ):
        assert prompt_hash(served("http://127.0.0.1:1/v1", **change)) != prompt_hash(config)
