from pathlib import Path

import pytest

from curate_assets.graph.platform import ConfigError
from curate_assets.settings.resolve import validated
from gpu_kernels.captioners.captioner import NoCaptionsConfig
from gpu_kernels.captioners.openai import ServedCaptionsConfig
from gpu_kernels.captioners.prompts import VARIANTS, prompt_of
from gpu_kernels.captioners.types import CaptionsConfig, prompt_hash


def captions(**settings: object) -> CaptionsConfig:
    return validated({"captions": settings}).captions  # pyright: ignore[reportAttributeAccessIssue]


def test_stored_rows_keep_the_hash_of_the_prompt_that_they_were_asked() -> None:
    assert prompt_hash(NoCaptionsConfig()) == "6a493a54762ea948"
    served = ServedCaptionsConfig(endpoint="http://h/v1", model="m", prompt="What?", max_tokens=99)
    assert prompt_hash(served) == "ae84aa0edb41b22f"
    assert captions(prompt_variant="default").settings() == captions().settings()


def test_a_variant_is_asked_as_its_text() -> None:
    hashes = {prompt_hash(captions(prompt_variant=variant)) for variant in VARIANTS}
    assert len(hashes) == len(VARIANTS)
    for variant in VARIANTS:
        config = captions(prompt_variant=variant)
        assert config.prompt == prompt_of(variant) and "\n" not in config.prompt
        assert config.settings() == captions(prompt=prompt_of(variant)).settings()
        assert captions(**config.model_dump(mode="json")) == config


def test_a_prompt_of_a_file_holds_where_the_file_is_not(tmp_path: Path) -> None:
    file = tmp_path / "mine.md"
    file.write_text("\nWas geschieht hier?\n", "utf-8")
    config = captions(prompt_file=str(file))
    assert config.prompt == "Was geschieht hier?"
    assert config.settings() == captions(prompt="Was geschieht hier?").settings()
    file.unlink()
    assert captions(**config.model_dump(mode="json")) == config


def test_prompts_that_cannot_be_had_or_contradict_each_other_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "right").write_text("What?")
    for name, said in (
        ("none", "cannot be read: No such file"),
        ("empty", "is empty"),
        ("bytes", "is not text in UTF-8"),
    ):
        with pytest.raises(ConfigError, match=f"captions: prompt_file: the prompt {tmp_path / name} {said}"):
            captions(prompt_file=str(tmp_path / name))
    for both in (
        {"prompt": "Who?", "prompt_variant": "driving"},
        {"prompt": "Who?", "prompt_file": str(tmp_path / "right")},
        {"prompt_variant": "image", "prompt_file": str(tmp_path / "right")},
    ):
        with pytest.raises(ConfigError, match="only one can be set of prompt"):
            captions(**both)
    with pytest.raises(ConfigError, match="prompt_variant"):
        captions(prompt_variant="drivign")
    assert captions(prompt="Who?", prompt_variant=None, prompt_file=None).prompt == "Who?"
