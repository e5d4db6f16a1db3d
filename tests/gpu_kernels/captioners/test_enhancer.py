"""Captions rewritten by servers, and by a tiny language model of random weights in this process."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from curate_assets.settings.resolve import validated
from gpu_kernels.captioners.enhancer import ENHANCERS, NoEnhancementConfig
from gpu_kernels.captioners.prompts import prompt_of, variants
from gpu_kernels.captioners.texts import EnhancedCaptionsConfig, without_thoughts
from gpu_kernels.captioners.transformers_text import LanguageModelConfig
from gpu_kernels.captioners.types import Caption, CaptionRequest, prompt_hash
from gpu_kernels.errors import UserError


def configured(**settings: Any) -> EnhancedCaptionsConfig:
    return validated({"enhanced_captions": settings}).enhanced_captions  # pyright: ignore[reportAttributeAccessIssue]


def text_alone(asked: str) -> CaptionRequest:
    return CaptionRequest([], [], asked, text_only=True)


def test_a_server_is_asked_for_text_by_text_alone(answering: Any) -> None:
    answer = {"choices": [{"message": {"content": "A brown dog."}, "finish_reason": "stop"}]}
    with answering(lambda asked, number: (200, {}, answer | {"usage": {"prompt_tokens": 9}})) as (url, seen):
        captioner = configured(backend="openai", endpoint=f"{url}/v1", model="m").load()
        assert captioner is not None
        said = captioner.caption(text_alone("Rewrite this: A dog."), "key")
        nothing = captioner.caption(CaptionRequest([], []), "key")
    assert (said.text, said.status, said.prompt_tokens) == ("A brown dog.", "success", 9)
    assert nothing.status == "skipped"
    assert [asked.body["messages"] for asked in seen] == [[{"role": "user", "content": "Rewrite this: A dog."}]]
    assert seen[0].body["max_tokens"] == 2048
    candidate = {"candidates": [{"content": {"parts": [{"text": "A brown dog."}]}, "finishReason": "STOP"}]}
    with answering(lambda asked, number: (200, {}, candidate)) as (url, seen):
        captioner = configured(backend="gemini", endpoint=url, model="g").load()
        assert captioner is not None and captioner.caption(text_alone("Rewrite this: A dog.")).text == "A brown dog."
    assert seen[0].body["contents"][0]["parts"] == [{"text": "Rewrite this: A dog."}]


def test_a_variant_is_one_of_the_prompts_for_texts() -> None:
    assert variants("enhanced") == {"default", "surveillance"}
    assert configured() == NoEnhancementConfig() and configured().load() is None
    assert configured(prompt_variant="default").settings() == configured().settings()
    watching = configured(prompt_variant="surveillance")
    assert watching.prompt == prompt_of("surveillance", "enhanced") != configured().prompt
    assert prompt_hash(watching) != prompt_hash(configured())
    for kind in ENHANCERS.kinds.values():
        assert kind.model_fields.keys().isdisjoint({"window_frames", "max_frames", "frames_as", "preset"})
        assert kind.model_fields["max_tokens"].default == 2048


@pytest.mark.parametrize(
    ("said", "text", "status"),
    [
        ("A dog.", "A dog.", "success"),
        ("<think>Hm, a dog?</think>\n\nA dog.", "A dog.", "success"),
        ("Hm, a dog?</think>A dog.", "A dog.", "success"),  # of templates that begin the thought themselves
        ("<think>Hm, a dog? Or", None, "error"),
        ("<think>Hm.</think> ", None, "error"),
    ],
)
def test_what_a_model_thinks_is_no_caption(said: str, text: str | None, status: str) -> None:
    read = without_thoughts(Caption(said, "success", None, 9, 3))
    assert (read.text, read.status, read.output_tokens) == (text, status, 3)
    assert (read.failure is None) == (text is not None)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tiny_models: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.tiny_qwen2(tmp_path_factory.mktemp("models") / "tiny-qwen2")


def test_a_language_model_writes_the_likeliest_tokens(folder: Path) -> None:
    """As a loop does that takes the greatest logit each time."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    config = LanguageModelConfig(model=str(folder), device="cpu", max_tokens=16, repetition_penalty=1)
    assert config.identity()[0] == folder.name or config.identity()[0] == str(folder)
    model = config.load()
    asked = "Rewrite this: a dog walks along the street"
    said = model.caption(text_alone(asked))
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    network: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": asked}], tokenize=False, add_generation_prompt=True
    )
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    prompt_tokens = ids.shape[1]
    with torch.inference_mode():
        while ids.shape[1] < prompt_tokens + 16 and ids[0, -1] != tokenizer.eos_token_id:
            ids = torch.cat([ids, network(ids).logits[:, -1].argmax(-1, keepdim=True)], 1)
    written = ids[0, prompt_tokens:]
    assert (said.prompt_tokens, said.output_tokens) == (prompt_tokens, len(written))
    assert said.text == tokenizer.decode(written, skip_special_tokens=True).strip()
    assert said.status == ("success" if ids[0, -1] == tokenizer.eos_token_id else "truncated")


def test_an_answer_depends_on_its_own_text_and_seed_alone(folder: Path) -> None:
    model = LanguageModelConfig(model=str(folder), device="cpu", max_tokens=16, temperature=1, top_p=0.95).load()
    asked = [f"a dog walks {n} times" for n in range(3)]
    first = [model.caption(text_alone(each)).text for each in asked]
    assert len({*first}) == 3
    assert [model.caption(text_alone(each)).text for each in reversed(asked)] == first[::-1]


def test_what_a_language_model_cannot_do_is_said(folder: Path, tmp_path: Path) -> None:
    short = LanguageModelConfig(model=str(folder), device="cpu", max_tokens=4090).load()
    said = short.caption(text_alone("a dog walks along the street"))
    assert said.status == "error" and "more than the 4096 that the model takes" in (said.failure or "")
    mute = tmp_path / "mute"
    mute.mkdir()
    for file in folder.iterdir():
        if file.name != "chat_template.jinja":
            (mute / file.name).write_bytes(file.read_bytes())
    with pytest.raises(UserError, match="has no chat template"):
        LanguageModelConfig(model=str(mute), device="cpu").load()
    with pytest.raises(ValueError, match="commit"):
        LanguageModelConfig(model="owner/name")
