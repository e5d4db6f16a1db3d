from typing import Any

import pytest

from curate_assets.graph.platform import ConfigError
from curate_assets.settings.resolve import merged, validated
from gpu_kernels.captioners.captioner import CAPTIONERS
from gpu_kernels.captioners.presets import PRESETS
from gpu_kernels.captioners.types import prompt_hash

GIVEN: dict[str, dict[str, Any]] = {
    "openai": {"endpoint": "http://h/v1"},
    "transformers": {"revision": "0123456789abcdef0123456789abcdef01234567"},
    "vllm": {"revision": "0123456789abcdef0123456789abcdef01234567"},
    "gemini": {},
}


def captions(**settings: Any) -> Any:
    finer = {"frames_per_second": 4}
    return validated({"captions": settings, "storyboards": finer}).captions  # pyright: ignore[reportAttributeAccessIssue]


def test_every_preset_makes_a_section_of_each_of_its_backends_and_survives_being_passed_on() -> None:
    for preset in PRESETS.values():
        assert preset.backends and set(preset.backends) <= set(CAPTIONERS.kinds)
        for backend in preset.backends:
            config = captions(backend=backend, preset=preset.name, **GIVEN[backend])
            assert config.model == preset.model
            asked = {"frames_per_second": preset.frames_per_second, **preset.captions}
            assert {key: getattr(config, key) for key in asked} == asked
            spelled = captions(backend=backend, model=preset.model, **GIVEN[backend], **asked)
            assert config.settings() == spelled.settings()
            assert captions(**config.model_dump(mode="json")) == config


def test_a_preset_says_how_a_model_is_sampled_and_settings_go_before_it(answering: Any, window: Any) -> None:
    seen = {"choices": [{"message": {"content": "a street"}, "finish_reason": "stop"}]}
    with answering(lambda asked, number: (200, {}, seen)) as (url, requests):
        asked = {"backend": "openai", "preset": "cosmos3_nano", "endpoint": url}
        config = captions(**asked, temperature=0.5, model="mine")
        config.load().caption(window(1))
        captions(backend="openai", model="mine", endpoint=url).load().caption(window(1))
    sampled = [{key: value for key, value in each.body.items() if key != "messages"} for each in requests]
    assert sampled == [
        {"model": "mine", "max_tokens": 8192, "temperature": 0.5, "top_p": 0.8, "top_k": 20, "presence_penalty": 1.5},
        {"model": "mine", "max_tokens": 1024, "temperature": 0.1, "top_p": 0.001, "repetition_penalty": 1.05},
    ]
    hashes = {prompt_hash(captions(**asked, **change)) for change in ({}, {"top_k": 5}, {"presence_penalty": 0})}
    assert len(hashes) == 3


def test_a_preset_that_needs_several_gpus_is_divided_among_them_where_it_is_loaded() -> None:
    given = {"backend": "vllm", "preset": "qwen3_vl_235b", **GIVEN["vllm"]}
    assert captions(**given).gpus == 8 and captions(**given, tensor_parallel_size=4).gpus == 4


def test_a_run_without_captions_forgets_the_preset() -> None:
    stored = {"captions": {"backend": "gemini", "preset": "gemini"}}
    assert validated(merged(stored, {"captions": {"backend": "none"}})) == validated({})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"backend": "openai", "preset": "qwen"}, "captions: there is no preset 'qwen'; there are qwen2_5_vl_7b, "),
        (
            {"preset": "gemini"},
            "captions.preset: backend none has no such setting, openai, gemini, transformers and vllm have it",
        ),
        ({"backend": "gemini", "preset": "cosmos3_nano"}, "captions: preset cosmos3_nano needs backend openai, and"),
        ({"backend": "transformers", "preset": "qwen2_5_vl_7b"}, "needs `revision`, the commit's 40"),
    ],
)
def test_a_preset_that_cannot_be_used_says_why(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        captions(**GIVEN["openai"] if settings.get("backend") == "openai" else {}, **settings)
    assert said in str(error.value)
