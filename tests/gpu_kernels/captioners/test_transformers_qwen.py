import json
import math
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil, smart_resize

from gpu_kernels.captioners.frames import cut, fitted_size
from gpu_kernels.captioners.transformers_qwen import normalised
from gpu_kernels.captioners.transformers_vision import TransformersCaptionsConfig
from gpu_kernels.captioners.types import Caption, Captioner, CaptionRequest


def loaded(folder: Path, **settings: Any) -> TransformersCaptionsConfig:
    return TransformersCaptionsConfig.model_validate(
        {"model": str(folder), "max_tokens": 24, "device": "cpu"} | settings
    )


def prepared(frames: np.ndarray, mean: Any, std: Any) -> tuple[np.ndarray, tuple[int, int, int]]:
    patches, grid = cut(frames, 14, 2, 2)
    return normalised(torch.from_numpy(patches), mean, std).numpy(), grid


def captions(captioner: Captioner, windows: list[CaptionRequest]) -> list[Caption]:
    return [captioner.caption(each) for each in windows]


def test_patches_equal_the_image_processor_on_a_still() -> None:
    """transformers' own image processor treats a picture as a video of two equal frames."""
    picture = np.random.default_rng(5).integers(0, 256, (56, 84, 3), dtype=np.uint8)
    processor = Qwen2VLImageProcessorPil(do_resize=False)
    expected = processor(images=Image.fromarray(picture), return_tensors="np")
    mean, std = processor.image_mean, processor.image_std
    patches, grid = prepared(np.stack([picture] * 2), mean, std)
    assert [list(grid)] == expected["image_grid_thw"].tolist()
    np.testing.assert_allclose(patches, expected["pixel_values"], atol=1e-5)

    # To the last bit what numpy computes before the cut, so rows are the same as when that was done.
    exact = (np.stack([picture] * 2).astype(np.float32) / 255 - np.float32(mean)) / np.float32(std)
    np.testing.assert_array_equal(patches, cut(exact, 14, 2, 2)[0])

    # Two such stills in a row are the two pictures' patches in a row; a single frame is repeated.
    other = 255 - picture
    film, grid = prepared(np.stack([picture, picture, other]), mean, std)
    assert grid == (2, 4, 6)
    np.testing.assert_array_equal(film, np.concatenate([patches, prepared(other[None], mean, std)[0]]))


def test_the_two_frames_of_a_pair_stay_apart_in_a_patch() -> None:
    frames = np.stack([np.full((28, 28, 3), value, dtype=np.uint8) for value in (0, 255)])
    patches, _ = prepared(frames, [0.0] * 3, [1.0] * 3)
    per_channel_and_frame = patches.reshape(4, 3, 2, 14 * 14)
    assert (per_channel_and_frame[:, :, 0] == 0).all()
    assert (per_channel_and_frame[:, :, 1] == 1).all()


@pytest.mark.parametrize("frames", [1, 4, 63, 64, 65, 200, 768])
def test_sizes_equal_the_published_resizing_within_the_budget(frames: int) -> None:
    budget = int(max(min(768 * 28**2, 24576 * 28**2 / frames * 2), 1.05 * 128 * 28**2))
    for height, width in [(1080, 1920), (2160, 3840), (720, 1280), (96, 160), (1920, 300), (317, 317), (42, 8000)]:
        expected = smart_resize(height, width, 28, 128 * 28**2, budget)
        assert fitted_size(height, width, frames) == expected
        # A limit of one's own holds however many frames there are.
        own = smart_resize(height, width, 28, 128 * 28**2, 200_000)
        assert fitted_size(height, width, frames, max_pixels=200_000) == own and math.prod(own) <= 200_000
    with pytest.raises(ValueError, match="elongated"):
        fitted_size(10, 2001, frames)


def test_the_same_frames_give_the_same_text_and_one_broken_frame_one_error(
    qwen_folder: Path, window: Any, jpeg: Any
) -> None:
    captioner = loaded(qwen_folder).load()
    broken = CaptionRequest([jpeg(1), b"\xff\xd8 no picture"], [0, 0.5])
    mixed = CaptionRequest([jpeg(1), jpeg(2, width=80)], [0, 0.5])
    first = captions(captioner, [window(1, 2), broken, window(3, 4), mixed, CaptionRequest([], [])])
    assert [caption.status for caption in first] == ["truncated", "error", "truncated", "error", "skipped"]
    assert "UnidentifiedImageError" in str(first[1].failure)
    assert "differ in size" in str(first[3].failure)
    # Alone, in another order, and after other windows: the same.
    again = captions(captioner, [window(3, 4), window(1, 2)])
    assert again == [first[2], first[0]]
    assert first[0].text != first[2].text
    assert first[0].output_tokens == 24


def test_an_answer_that_ends_by_itself_is_a_success(tiny_models: ModuleType, tmp_path: Path, window: Any) -> None:
    folder = tiny_models.tiny_qwen2_5_vl(tmp_path / "ends")
    settings = json.loads((folder / "generation_config.json").read_text())
    settings["eos_token_id"] = list(range(100, 400))  # most tokens end the answer, so it ends once it may
    (folder / "generation_config.json").write_text(json.dumps(settings))
    caption = loaded(folder, max_tokens=60).load().caption(window(1, 2))
    assert caption.status == "success"
    assert 16 < (caption.output_tokens or 0) < 60


def test_sampling_is_seeded_by_the_content(qwen_folder: Path, window: Any) -> None:
    captioner = loaded(qwen_folder, temperature=1, top_p=1).load()
    state = torch.random.get_rng_state()
    first, other = captions(captioner, [window(1, 2), window(3, 4)])
    assert torch.equal(state, torch.random.get_rng_state())
    assert captions(captioner, [window(1, 2)]) == [first]
    assert first.text != other.text
    greedy = loaded(qwen_folder).load().caption(window(1, 2))
    assert greedy.text != first.text


def test_inputs_count_tokens_and_times_as_the_model_does(qwen_folder: Path, window: Any) -> None:
    captioner: Any = loaded(qwen_folder).load()
    frames = window(1, 2, 3, 4, 5, 6)
    inputs = captioner.model_inputs(frames)
    video_id = Qwen2_5_VLConfig.from_pretrained(qwen_folder).video_token_id
    height, width = fitted_size(96, 160, 6)
    assert inputs["video_grid_thw"].tolist() == [[3, height // 14, width // 14]]
    video_tokens = 3 * (height // 28) * (width // 28)
    assert (inputs["input_ids"] == video_id).sum() == video_tokens
    assert (inputs["mm_token_type_ids"] == 2).sum() == video_tokens
    assert inputs["second_per_grid_ts"].tolist() == [1.0]  # two frames, half a second apart
    [caption] = captions(captioner, [frames])
    assert caption.prompt_tokens == inputs["input_ids"].shape[1]
    smaller: Any = loaded(qwen_folder, max_pixels=100_352).load()
    large = window(*range(1, 7), width=1280)
    assert math.prod(smaller.model_inputs(large)["video_grid_thw"][0, 1:]) * 14**2 <= 100_352
    asked = captioner.model_inputs(replace(frames, prompt="night?"))["input_ids"]
    assert (asked == video_id).sum() == video_tokens and asked.shape[1] < inputs["input_ids"].shape[1]


def test_pixels_and_times_reach_the_network(qwen_folder: Path, window: Any) -> None:
    captioner: Any = loaded(qwen_folder).load()
    network = Qwen2_5_VLForConditionalGeneration.from_pretrained(qwen_folder).eval()

    def logits(request: CaptionRequest) -> torch.Tensor:
        with torch.inference_mode():
            return network(**captioner.model_inputs(request)).logits[0, -1]

    frames = window(1, 2, 3, 4)
    reference = logits(frames)
    swapped = CaptionRequest(frames.frames[::-1], frames.times_s)
    slower = CaptionRequest(frames.frames, [4 * seconds for seconds in frames.times_s])
    assert torch.equal(logits(frames), reference)
    for changed in (window(1, 2, 3, 5), swapped, slower):
        assert (logits(changed) - reference).abs().max() > 1e-4
