import base64
import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil, smart_resize

from gpu_kernels.captioners.captioner import (
    CaptionRequest,
    CaptionsConfig,
    load_captioner,
    model_identity,
    prompt_hash,
)
from gpu_kernels.captioners.transformers_qwen import fitted_size, video_patches


def jpeg(seed: int, width: int = 160, height: int = 96) -> bytes:
    """A smooth random picture."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(encoded, "JPEG", quality=90)
    return encoded.getvalue()


def window(*seeds: int, **size: int) -> CaptionRequest:
    return CaptionRequest([jpeg(seed, **size) for seed in seeds], [0.5 * k for k in range(len(seeds))])


# --------------------------------------------------------------------------------------------- OpenAI-compatible


class _Server(BaseHTTPRequestHandler):
    """Answers chat completions with what it saw. The first picture's width chooses how it behaves."""

    seen: list[dict[str, Any]]
    lock: threading.Lock

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        parts = body["messages"][0]["content"]
        pictures = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
        assert all(url.startswith("data:image/jpeg;base64,") for url in pictures)
        sizes = [Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).size for url in pictures]
        width = sizes[0][0]
        with self.lock:
            earlier = sum(entry["width"] == width for entry in self.seen)
            entry = {"width": width, "path": self.path, "key": self.headers.get("Authorization"), "body": body}
            self.seen.append(entry)
        message: dict[str, Any] = {"content": f"{len(sizes)} pictures of {sizes[0]}"}
        finish = "stop"
        if width == BUSY_ONCE and earlier == 0:
            self.answer(429, {"error": "busy"})
            return
        if width == ALWAYS_FAILS:
            self.answer(500, {"error": "out of order"})
            return
        if width == REJECTED:
            self.answer(400, {"error": "bad request"})
            return
        if width == SILENT:
            self.close_connection = True
            return
        if width == LONG:
            finish = "length"
        elif width == FILTERED:
            message, finish = {"content": None}, "content_filter"
        elif width == REFUSED:
            message = {"content": None, "refusal": "no"}
        elif width == EMPTY:
            message = {"content": " "}
        usage = {"prompt_tokens": 100 * len(sizes), "completion_tokens": 7}
        self.answer(200, {"choices": [{"message": message, "finish_reason": finish}], "usage": usage})

    def answer(self, status: int, content: dict[str, Any]) -> None:
        payload = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


PLAIN, BUSY_ONCE, ALWAYS_FAILS, REJECTED, SILENT, LONG, FILTERED, REFUSED, EMPTY = range(40, 130, 10)


@pytest.fixture
def server() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    handler = type("Handler", (_Server,), {"seen": [], "lock": threading.Lock()})
    listening = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{listening.server_port}/v1/", handler.seen  # pyright: ignore[reportAttributeAccessIssue]
    listening.shutdown()
    thread.join()
    listening.server_close()


def served(endpoint: str, **settings: Any) -> CaptionsConfig:
    return CaptionsConfig.model_validate(
        {"backend": "openai", "endpoint": endpoint, "model": "seer", "backoff_seconds": 0, "concurrency": 4} | settings
    )


def test_every_window_gets_its_own_outcome_in_order(server: tuple[str, list[dict[str, Any]]]) -> None:
    endpoint, seen = server
    widths = [PLAIN, BUSY_ONCE, ALWAYS_FAILS, REJECTED, SILENT, LONG, FILTERED, REFUSED, EMPTY]
    captions = load_captioner(served(endpoint)).caption(
        [*(window(1, 2, 3, width=width) for width in widths), CaptionRequest([], [])]
    )
    assert [caption.status for caption in captions] == [
        *("success", "success", "error", "error", "error", "truncated", "blocked", "blocked", "error", "skipped")
    ]
    for width, caption in zip(widths, captions, strict=False):
        assert (caption.text == f"3 pictures of ({width}, 96)") == (caption.status in ("success", "truncated"))
        assert (caption.text is None) == (caption.failure is not None)
    assert "500" in str(captions[2].failure)
    assert "bad request" in str(captions[3].failure)
    assert (captions[0].prompt_tokens, captions[0].output_tokens) == (300, 7)
    tries = {width: sum(entry["width"] == width for entry in seen) for width in widths}
    assert tries == dict.fromkeys(widths, 1) | {BUSY_ONCE: 2, ALWAYS_FAILS: 3, SILENT: 3}


def test_the_request_carries_frames_times_prompt_settings_and_key(
    server: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint, seen = server
    monkeypatch.setenv("SEER_KEY", "open sesame")
    config = served(endpoint, prompt="What is this?", api_key_env="SEER_KEY", repetition_penalty=1, max_tokens=99)
    frames = window(1, 2)
    load_captioner(config).caption([frames])
    [entry] = seen
    body = entry["body"]
    *pictures, text = body["messages"][0]["content"]
    assert [base64.b64decode(part["image_url"]["url"].split(",")[1]) for part in pictures] == frames.frames
    assert "What is this?" in text["text"]
    assert "0.00, 0.50" in text["text"]
    assert (entry["path"], entry["key"]) == ("/v1/chat/completions", "Bearer open sesame")
    settings = {name: value for name, value in body.items() if name != "messages"}
    assert settings == {"model": "seer", "max_tokens": 99, "temperature": 0.1, "top_p": 0.001}


def test_an_absent_server_is_an_error_per_window() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as closed:
        port = closed.server_port
    captions = load_captioner(served(f"http://127.0.0.1:{port}/v1")).caption([window(1), window(2)])
    assert [caption.status for caption in captions] == ["error", "error"]


# --------------------------------------------------------------------------------------------------- transformers


@pytest.fixture(scope="module")
def qwen_folder(tiny_models: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.tiny_qwen2_5_vl(tmp_path_factory.mktemp("models") / "tiny-qwen")


def loaded(folder: Path, **settings: Any) -> CaptionsConfig:
    return CaptionsConfig.model_validate(
        {"backend": "transformers", "model": str(folder), "max_tokens": 24, "device": "cpu"} | settings
    )


def test_patches_equal_the_image_processor_on_a_still() -> None:
    """transformers' own image processor treats a picture as a video of two equal frames."""
    picture = np.random.default_rng(5).integers(0, 256, (56, 84, 3), dtype=np.uint8)
    processor = Qwen2VLImageProcessorPil(do_resize=False)
    expected = processor(images=Image.fromarray(picture), return_tensors="np")
    mean, std = (np.asarray(values, np.float32) for values in (processor.image_mean, processor.image_std))
    patches, grid = video_patches(np.stack([picture] * 2), mean, std)
    assert [list(grid)] == expected["image_grid_thw"].tolist()
    np.testing.assert_allclose(patches, expected["pixel_values"], atol=1e-5)

    # Two such stills in a row are the two pictures' patches in a row; a single frame is repeated.
    other = 255 - picture
    film, grid = video_patches(np.stack([picture, picture, other]), mean, std)
    assert grid == (2, 4, 6)
    np.testing.assert_array_equal(film, np.concatenate([patches, video_patches(other[None], mean, std)[0]]))


def test_the_two_frames_of_a_pair_stay_apart_in_a_patch() -> None:
    frames = np.stack([np.full((28, 28, 3), value, dtype=np.uint8) for value in (0, 255)])
    patches, _ = video_patches(frames, np.zeros(3, np.float32), np.ones(3, np.float32))
    per_channel_and_frame = patches.reshape(4, 3, 2, 14 * 14)
    assert (per_channel_and_frame[:, :, 0] == 0).all()
    assert (per_channel_and_frame[:, :, 1] == 1).all()


@pytest.mark.parametrize("frames", [1, 4, 63, 64, 65, 200, 768])
def test_sizes_equal_the_published_resizing_within_the_budget(frames: int) -> None:
    budget = int(max(min(768 * 28**2, 24576 * 28**2 / frames * 2), 1.05 * 128 * 28**2))
    for height, width in [(1080, 1920), (2160, 3840), (720, 1280), (96, 160), (1920, 300), (317, 317), (42, 8000)]:
        expected = smart_resize(height, width, 28, 128 * 28**2, budget)
        assert fitted_size(height, width, frames) == expected
    with pytest.raises(ValueError, match="elongated"):
        fitted_size(10, 2001, frames)


def test_the_same_frames_give_the_same_text_and_one_broken_frame_one_error(qwen_folder: Path) -> None:
    captioner = load_captioner(loaded(qwen_folder))
    broken = CaptionRequest([jpeg(1), b"\xff\xd8 no picture"], [0, 0.5])
    mixed = CaptionRequest([jpeg(1), jpeg(2, width=80)], [0, 0.5])
    first = captioner.caption([window(1, 2), broken, window(3, 4), mixed, CaptionRequest([], [])])
    assert [caption.status for caption in first] == ["truncated", "error", "truncated", "error", "skipped"]
    assert "UnidentifiedImageError" in str(first[1].failure)
    assert "differ in size" in str(first[3].failure)
    # Alone, in another order, and after other windows: the same.
    again = captioner.caption([window(3, 4), window(1, 2)])
    assert again == [first[2], first[0]]
    assert first[0].text != first[2].text
    assert first[0].output_tokens == 24


def test_an_answer_that_ends_by_itself_is_a_success(tiny_models: ModuleType, tmp_path: Path) -> None:
    folder = tiny_models.tiny_qwen2_5_vl(tmp_path / "ends")
    settings = json.loads((folder / "generation_config.json").read_text())
    settings["eos_token_id"] = list(range(100, 400))  # most tokens end the answer, so it ends once it may
    (folder / "generation_config.json").write_text(json.dumps(settings))
    [caption] = load_captioner(loaded(folder, max_tokens=60)).caption([window(1, 2)])
    assert caption.status == "success"
    assert 16 < (caption.output_tokens or 0) < 60


def test_sampling_is_seeded_by_the_content(qwen_folder: Path) -> None:
    captioner = load_captioner(loaded(qwen_folder, temperature=1, top_p=1))
    state = torch.random.get_rng_state()
    first, other = captioner.caption([window(1, 2), window(3, 4)])
    assert torch.equal(state, torch.random.get_rng_state())
    assert captioner.caption([window(1, 2)]) == [first]
    assert first.text != other.text
    [greedy] = load_captioner(loaded(qwen_folder)).caption([window(1, 2)])
    assert greedy.text != first.text


def test_inputs_count_tokens_and_times_as_the_model_does(qwen_folder: Path) -> None:
    captioner: Any = load_captioner(loaded(qwen_folder))
    frames = window(1, 2, 3, 4, 5, 6)
    inputs = captioner.model_inputs(frames)
    video_id = Qwen2_5_VLConfig.from_pretrained(qwen_folder).video_token_id
    height, width = fitted_size(96, 160, 6)
    assert inputs["video_grid_thw"].tolist() == [[3, height // 14, width // 14]]
    video_tokens = 3 * (height // 28) * (width // 28)
    assert (inputs["input_ids"] == video_id).sum() == video_tokens
    assert (inputs["mm_token_type_ids"] == 2).sum() == video_tokens
    assert inputs["second_per_grid_ts"].tolist() == [1.0]  # two frames, half a second apart
    [caption] = captioner.caption([frames])
    assert caption.prompt_tokens == inputs["input_ids"].shape[1]


def test_pixels_and_times_reach_the_network(qwen_folder: Path) -> None:
    captioner: Any = load_captioner(loaded(qwen_folder))
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


# --------------------------------------------------------------------------------------------------- configuration


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
