from pathlib import Path

import pytest
from pydantic import ValidationError

from gpu_kernels.captioners.captioner import load_captioner, model_identity
from gpu_kernels.captioners.types import CaptionsConfig, prompt_hash


def served(endpoint: str, **settings: object) -> CaptionsConfig:
    return CaptionsConfig.model_validate({"backend": "openai", "endpoint": endpoint, "model": "seer"} | settings)


def loaded(folder: Path) -> CaptionsConfig:
    return CaptionsConfig.model_validate({"backend": "transformers", "model": str(folder), "device": "cpu"})


def test_configurations_that_cannot_work_are_rejected() -> None:
    for settings, reason in [
        ({"backend": "openai", "model": "m"}, "endpoint"),
        ({"backend": "openai", "endpoint": "http://127.0.0.1/v1"}, "model"),
        ({"backend": "transformers"}, "model"),
        ({"backend": "transformers", "model": "owner/name"}, "commit"),
        ({"window_frames": 64}, "remainder_frames"),
        ({"max_tokens": 15}, "16"),
    ]:
        with pytest.raises(ValidationError, match=reason):
            CaptionsConfig.model_validate(settings)
    with pytest.raises(ValueError, match="none"):
        load_captioner(CaptionsConfig())


def test_identity_and_prompt_hash_follow_what_shapes_a_caption(qwen_folder: Path) -> None:
    config = served("http://127.0.0.1:1/v1")
    assert model_identity(config) == ("seer", "endpoint")
    assert model_identity(served("http://127.0.0.1:1/v1", revision="r7")) == ("seer", "r7")
    name, revision = model_identity(loaded(qwen_folder))
    captioner = load_captioner(loaded(qwen_folder))
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
