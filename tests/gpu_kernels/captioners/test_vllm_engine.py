"""vLLM's engine behind ours, with a stand-in for AsyncLLM. `test_vllm_captions.py` has the real one."""

import asyncio
import hashlib
import random
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from curate_assets.graph.platform import ConfigError
from curate_assets.settings.resolve import validated
from curate_assets.video.graph import VIDEO
from gpu_kernels.captioners.asking import Asker
from gpu_kernels.captioners.frames import cut, decoded, resized
from gpu_kernels.captioners.types import MINIMUM_NEW_TOKENS, Caption, CaptionRequest, EngineDied
from gpu_kernels.captioners.vllm_engine import Vllm, VllmCaptionsConfig, VllmEngine
from gpu_kernels.captioners.vllm_windows import Patches
from gpu_kernels.errors import UserError


def seen(prompt: Any) -> str:
    """What an answer tells of the pixels that the engine was given."""
    return hashlib.sha256(repr(prompt.grid).encode() + prompt.rows.tobytes()).hexdigest()


class StandIn:
    """An AsyncLLM that answers in any order with what it saw; dead after its `dies_at`-th request."""

    def __init__(self, arguments: dict[str, Any], dies_at: int | None, **answer: Any) -> None:
        self.arguments, self.dies_at, self.answer = arguments, dies_at, answer
        self.asked: list[tuple[dict[str, Any], dict[str, Any], str]] = []
        self.errored = self.shut = False
        self.random = random.Random(0)

    async def generate(self, prompt: Any, sampling: Any, request_id: str) -> AsyncGenerator[Any]:
        self.asked.append((prompt, sampling, request_id))
        self.errored = self.errored or len(self.asked) == self.dies_at
        for _ in range(self.random.randrange(4)):
            await asyncio.sleep(0)
        if self.errored:
            raise RuntimeError("EngineCore encountered an issue")
        if "raises" in self.answer:
            raise self.answer["raises"]
        told = {"text": seen(prompt), "finish_reason": "stop", "token_ids": [1] * 20} | self.answer
        yield SimpleNamespace(
            request_id=told.get("request_id", request_id),
            prompt_token_ids=[0] * 30,
            outputs=[SimpleNamespace(**told)],
        )

    def shutdown(self, timeout: float) -> None:
        assert timeout > 0
        self.shut = True


class StandInVllm(Vllm):
    def __init__(self, dies_at: tuple[int, ...] = (), on_cpu: bool = True, **answer: Any) -> None:
        self.on_cpu, self.deaths, self.answer = on_cpu, list(dies_at), answer
        self.started: list[StandIn] = []

    def start(self, arguments: dict[str, Any]) -> StandIn:
        assert all(each.shut for each in self.started)
        self.started.append(StandIn(arguments, self.deaths.pop(0) if self.deaths else None, **self.answer))
        return self.started[-1]

    def patches(self, video: Patches) -> Patches:
        return video

    def sampling(self, settings: dict[str, Any], schema: dict[str, Any] | None) -> Any:
        return settings | {"schema": schema}


def engine(folder: Path, vllm: Vllm, **settings: Any) -> VllmEngine:
    return VllmEngine(VllmCaptionsConfig(model=str(folder), max_tokens=24, max_model_len=2048, **settings), vllm)


def one(folder: Path, request: CaptionRequest, settings: dict[str, Any] | None = None, **answer: Any) -> Any:
    vllm = StandInVllm(**answer)
    return asyncio.run(engine(folder, vllm, **(settings or {})).caption(request, "clip-0")), vllm


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"text": " a dog "}, Caption("a dog", "success", None, 30, 20)),
        ({"text": "a", "finish_reason": "length"}, Caption("a", "truncated", None, 30, 20)),
        ({"text": " "}, Caption(None, "error", "the answer is empty", 30, 20)),
        ({"finish_reason": "abort"}, Caption(None, "error", "the answer ended by abort", 30, 20)),
        ({"raises": ValueError("too long")}, Caption(None, "error", "ValueError: too long")),
    ],
)
def test_how_an_answer_ended_is_its_status(
    qwen_folder: Path, window: Any, answer: dict[str, Any], expected: Caption
) -> None:
    assert one(qwen_folder, window(1, 2), **answer)[0] == expected


def test_an_answer_to_another_request_is_no_answer(qwen_folder: Path, window: Any) -> None:
    caption, _ = one(qwen_folder, window(1, 2), request_id="clip-7-1-aa")
    assert (caption.text, caption.status) == (
        None,
        "error",
    ) and "answer to clip-7-1-aa came for clip-0" in caption.failure


def test_what_does_not_fit_fails_and_never_reaches_the_engine(qwen_folder: Path, window: Any, jpeg: Any) -> None:
    vllm = StandInVllm()
    asked = engine(qwen_folder, vllm)
    unfit = {
        "cannot identify image": CaptionRequest([b"\xff\xd8 no picture"], [0.0]),
        "differ in size": CaptionRequest([jpeg(1), jpeg(2, width=80)], [0, 0.5]),
        "no room for an answer in captions.max_model_len (2048)": window(*range(40)),
        "too elongated": window(1, width=1000, height=4),
        "hold 2 places for a video": CaptionRequest([jpeg(1)], [0.0], prompt="<|video_pad|>?"),
    }
    for said, request in unfit.items():
        caption = asyncio.run(asked.caption(request, "clip-0"))
        assert caption.status == "error" and said in (caption.failure or "")
    assert asyncio.run(asked.caption(CaptionRequest([], []), "")).status == "skipped"
    assert not vllm.started


def test_windows_keep_their_answers_when_the_engine_dies_and_is_started_again(qwen_folder: Path, window: Any) -> None:
    requests = [window(number, number + 1) for number in range(30)]
    vllm = StandInVllm(dies_at=(7, 2))
    asked = engine(qwen_folder, vllm, max_num_seqs=8)
    assert asked.window == 10

    async def run() -> list[Caption]:
        asker = Asker(asked, 1 << 24)

        async def ask(number: int) -> Caption:
            async def read() -> CaptionRequest:
                return requests[number]

            return await asker.ask(read, 1, f"clip-{number // 2}")

        answers = await asyncio.gather(*map(ask, range(30)))
        await asker.close()
        return answers

    answers = asyncio.run(run())
    assert [each.text for each in answers] == [seen(asked.prepared(each).prompt) for each in requests]
    assert len(vllm.started) == 3 and all(each.shut for each in vllm.started)
    for life, started in enumerate(vllm.started, 1):
        for prompt, _, request_id in started.asked:
            clip, attempt, digest = request_id.rsplit("-", 2)
            assert clip.startswith("clip-") and attempt == str(life) and digest == prompt.digest[:16]


def test_a_dead_engine_takes_its_request_along(qwen_folder: Path, window: Any) -> None:
    with pytest.raises(EngineDied, match="EngineCore encountered an issue"):
        one(qwen_folder, window(1, 2), dies_at=(1,))


def test_an_engine_that_does_not_start_is_tried_once(qwen_folder: Path, window: Any) -> None:
    class Refusing(StandInVllm):
        tries = 0

        def start(self, arguments: dict[str, Any]) -> StandIn:
            self.tries += 1
            raise RuntimeError("no room for the KV cache")

    vllm = Refusing()
    asked = engine(qwen_folder, vllm)
    for _ in range(2):
        with pytest.raises(UserError, match="does not start with model 'tiny-qwen': no room for the KV cache"):
            asyncio.run(asked.caption(window(1), ""))
    assert vllm.tries == 1


def test_frames_go_as_patches_of_the_planned_size_with_their_spacing(qwen_folder: Path, window: Any) -> None:
    request = window(1, 2, 3)
    _, vllm = one(qwen_folder, request)
    ((video, sampling, _),) = vllm.started[0].asked
    assert (video.grid, video.rows.shape, str(video.rows.dtype)) == ((2, 18, 30), (1080, 1176), "uint8")
    assert video.seconds == 1.0 and video.token_ids.count(video.place_id) == 270
    # The same frames at another time, other frames: what vLLM keeps of these is not theirs.
    slower = CaptionRequest(request.frames, [0, 1, 2])
    digests = [engine(qwen_folder, vllm).prepared(each).digest for each in (request, slower, window(1, 2, 4))]
    assert digests[0] == video.digest and len(set(digests)) == 3
    # They are those of the processor's own, when it is asked not to normalise: exact but for what torch rounds.
    frames = decoded(request.frames)
    expected, _ = cut(resized(frames, 252, 420), 14, 2, 2)
    assert np.abs(expected.astype(int) - video.rows).max() <= 2
    assert sampling == {
        "max_tokens": 24,
        "min_tokens": 16,
        "repetition_penalty": 1.05,
        "presence_penalty": 0,
        "temperature": 0.0,
        "schema": None,
    }


def test_qwen3_is_given_frames_of_the_planned_size(tiny_models: ModuleType, tmp_path: Path, window: Any) -> None:
    asked = engine(tiny_models.tiny_qwen3_vl(tmp_path / "tiny-qwen3"), StandInVllm())
    prompt = asked.prepared(window(1, 2, 3)).prompt
    pixels, metadata = prompt["multi_modal_data"]["video"]
    assert (pixels.shape, str(pixels.dtype)) == ((3, 288, 480, 3), "uint8")
    assert (metadata["fps"], metadata["frames_indices"], metadata["do_sample_frames"]) == (2.0, [0, 1, 2], False)
    assert prompt["mm_processor_kwargs"] == {"do_resize": False} and "multi_modal_uuids" not in prompt
    assert prompt["prompt"].count("<|video_pad|>") == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"rows": np.zeros((15, 1176), np.uint8)}, "15 patches of uint8"),
        ({"rows": np.zeros((16, 1176), np.float32)}, "16 patches of float32"),
        ({"grid": (1, 4, 8)}, r"16 patches of uint8 are not the uint8 ones of a grid of \(1, 4, 8\)"),
        ({"token_ids": [1, 7, 7, 7, 2]}, "3 places in a row for a video that needs 4"),
        ({"token_ids": [1, 7, 7, 2, 7, 7]}, "4 places in a row"),
    ],
)
def test_parts_that_do_not_belong_together_are_no_prompt(wrong: dict[str, Any], said: str) -> None:
    right: dict[str, Any] = {
        "rows": np.zeros((16, 1176), np.uint8),
        "grid": (1, 4, 4),
        "seconds": 1.0,
        "token_ids": [1, 7, 7, 7, 7, 2],
        "place_id": 7,
        "merge": 2,
    }
    assert (Patches(**right).offset, Patches(**right).places) == (1, 4)
    with pytest.raises(ValueError, match=said):
        Patches(**right | wrong)


def test_seeds_are_of_the_content_and_on_a_cpu_prompts_are_read_at_once_with_them(
    qwen_folder: Path, window: Any, jpeg: Any
) -> None:
    sampled = {"temperature": 1.0, "top_p": 0.9, "top_k": 20, "presence_penalty": 1.5}

    def seed(request: CaptionRequest) -> int:
        return one(qwen_folder, request, sampled)[1].started[0].asked[0][1]["seed"]

    question = CaptionRequest([jpeg(1)], [0.0], prompt="night?", schema={"type": "string"})
    assert seed(window(1)) == seed(window(1))
    assert len({seed(window(1)), seed(window(2)), seed(question)}) == 3
    (asked,) = one(qwen_folder, question, sampled)[1].started[0].asked
    assert sampled.items() <= asked[1].items()
    assert asked[1]["schema"] == {"type": "string"} and asked[1]["min_tokens"] == 0
    for settings, on_cpu, chunked in ((sampled, True, False), ({}, True, True), (sampled, False, True)):
        arguments = one(qwen_folder, window(1), settings, on_cpu=on_cpu)[1].started[0].arguments
        assert (arguments["enable_chunked_prefill"], arguments["enforce_eager"]) == (chunked, on_cpu)
        assert arguments["max_num_batched_tokens"] == (None if chunked else 2048)


def test_only_what_changes_an_answer_is_among_the_settings(qwen_folder: Path) -> None:
    config = VllmCaptionsConfig(model=str(qwen_folder), max_num_seqs=3, tensor_parallel_size=2, cpu_cache_gib=9)
    own = {"dtype": "auto", "quantization": None, "kv_cache_dtype": "auto"}
    assert config.settings() == VllmCaptionsConfig(model=str(qwen_folder)).settings()
    assert own.items() <= config.settings().items() and "max_model_len" not in config.settings()
    for bad, said in (
        ({"max_tokens": 512, "max_model_len": 512}, "max_tokens must be less than max_model_len"),
        ({"chunked_prefill": False, "max_num_batched_tokens": 512}, "at least max_model_len where chunked_prefill"),
        ({"device": "cpu", "tensor_parallel_size": 2}, "with device cpu it is 1"),
        ({"device": "cpu", "quantization": "fp8"}, "quantization fp8 needs a GPU"),
        ({"device": "cpu", "kv_cache_dtype": "fp8_e5m2"}, "kv_cache_dtype fp8 needs a GPU"),
        ({"max_num_batched_tokens": 256, "max_num_seqs": 512}, "at least max_num_seqs"),
        ({"model": "owner/name"}, "needs `revision`"),
    ):
        with pytest.raises(ValueError, match=said):
            VllmCaptionsConfig.model_validate({"model": str(qwen_folder)} | bad)


def test_a_window_that_leaves_less_room_than_an_answer_may_have_is_answered_shortly(
    qwen_folder: Path, window: Any
) -> None:
    asked = {"model": str(qwen_folder), "max_tokens": 400, "max_model_len": 512}
    vllm = StandInVllm()
    short = VllmEngine(VllmCaptionsConfig.model_validate(asked), vllm)
    assert asyncio.run(short.caption(window(1, 2), "clip-0")).status == "success"
    ((video, sampling, _),) = vllm.started[0].asked
    assert MINIMUM_NEW_TOKENS < sampling["max_tokens"] == 512 - len(video.token_ids) < 400


def test_each_worker_has_the_gpus_that_one_model_is_divided_among(qwen_folder: Path) -> None:
    captions = {"backend": "vllm", "model": str(qwen_folder), "device": "cuda", "tensor_parallel_size": 4}

    def needs(**caption: Any) -> Any:
        engine = {"stages": {"caption": {"environment": sys.executable, **caption}}}
        settings = validated({"captions": captions, "engine": engine})
        (stage,) = VIDEO.plan({"captions"}, settings, "/nowhere").stages
        return stage.needs

    assert (needs().gpus, needs().max_workers, needs().at_once) == (4, None, 160)
    copies = needs(workers=2, gpus=4)
    assert (copies.gpus, copies.min_workers, copies.max_workers) == (4, 2, 2)
    with pytest.raises(ConfigError, match=r"caption.gpus is 2, but its model is divided among 4: .*copies are workers"):
        needs(gpus=2)


def test_a_python_without_vllm_says_what_to_install_and_to_set(
    qwen_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(UserError, match=r"engine\.stages\.caption\.environment.*curate docs captioning"):
        VllmCaptionsConfig(model=str(qwen_folder)).load()
