"""Settings of refinement: those of the captioners, with another prompt and without windows of their own."""

import pickle
from typing import Any

import pytest

from curate_assets.graph.platform import ConfigError
from curate_assets.settings.resolve import validated
from gpu_kernels.captioners.captioner import CAPTIONERS
from gpu_kernels.captioners.prompts import prompt_of
from gpu_kernels.captioners.refiner import REFINERS, RefinedCaptionsConfig
from gpu_kernels.captioners.types import prompt_hash

SERVED = {"backend": "openai", "model": "m", "endpoint": "http://h/v1"}


def configured(**settings: Any) -> RefinedCaptionsConfig:
    return validated({"refined_captions": settings}).refined_captions  # pyright: ignore[reportAttributeAccessIssue]


def test_every_captioner_refines_and_is_asked_to() -> None:
    assert REFINERS.kinds.keys() == CAPTIONERS.kinds.keys()
    config = configured(**SERVED)
    assert config.prompt == prompt_of("default", "refined")
    assert config.settings() == configured(**SERVED, prompt_variant="default").settings()
    assert pickle.loads(pickle.dumps(config)) == config == configured(**config.model_dump(mode="json"))
    first = CAPTIONERS.kinds["openai"].model_validate(SERVED)
    assert config.identity() == first.identity() and prompt_hash(config) != prompt_hash(first)
    assert configured().load() is None
    preset = configured(backend="openai", endpoint="http://h/v1", preset="qwen3_vl_30b", revision="r")
    assert preset.identity()[0] == "Qwen/Qwen3-VL-30B-A3B-Instruct"


def test_windows_are_those_of_the_first_captions() -> None:
    assert not {"window_frames", "remainder_frames"} & configured(**SERVED).settings().keys()
    with pytest.raises(ConfigError, match="set captions"):
        configured(**SERVED, window_frames=64)
    with pytest.raises(ConfigError, match="prompt_variant"):
        configured(**SERVED, prompt_variant="driving")
