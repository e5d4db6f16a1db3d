"""Captions of clip windows: storyboard frames in, text out, from a served or a loaded vision-language model."""

import base64
import hashlib
import io
import json
import math
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np
from pydantic import Field, model_validator

from gpu_kernels.model_files import check_hub_pin, model_source, pinned_model, torch_device, whole_model
from gpu_kernels.strict import StrictModel

if TYPE_CHECKING:
    import requests
    import torch

_PROMPT = (
    "Describe this video clip in detail. Say who and what is visible, where it takes place, how people, objects and "
    "the camera move, and how lighting, colour and framing look. Then say what happens from beginning to end and what "
    "it seems to be about. Describe only what the frames show."
)
_FRAME_TIMES = "The {count} images are frames of one clip in order, taken {times} seconds after it starts.\n\n"
_RETRIED_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_MINIMUM_NEW_TOKENS = 16


class CaptionsConfig(StrictModel):
    """Which vision-language model captions clips, and how it is asked."""

    without_effect: ClassVar[frozenset[str]] = frozenset(
        {"endpoint", "api_key_env", "timeout_seconds", "attempts", "backoff_seconds", "concurrency", "device"}
    )

    backend: Literal["none", "openai", "transformers"] = "none"
    """`none`: no captions. `openai`: a server with the OpenAI chat API, such as vLLM's. `transformers`: a Qwen2.5-VL
    model loaded in the worker."""
    model: str | None = None
    """`openai`: the model's name on the server. `transformers`: a folder in the transformers format or a hub id
    `owner/name`."""
    revision: str | None = None
    """`openai`: a label of your own for what the server runs, as its API does not tell. `transformers`: the commit of a
    hub id (needed with one); with a folder it is optional and pins the folder's content."""
    endpoint: str | None = None
    """Base URL of the server, such as `http://127.0.0.1:8000/v1`."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable with the server's key; without it requests carry none."""
    prompt: str = Field(default=_PROMPT, min_length=1)
    """What the model is asked about each window."""
    max_tokens: int = Field(default=1024, ge=_MINIMUM_NEW_TOKENS, le=8192)
    """Longest answer in tokens; a longer one is cut and marked `truncated`."""
    temperature: float = Field(default=0.1, ge=0, le=2)
    """Sampling temperature. With 0, or with `top_p` at most 0.01, the `transformers` backend is greedy."""
    top_p: float = Field(default=0.001, gt=0, le=1)
    """Sampling keeps the likeliest tokens up to this total probability."""
    repetition_penalty: float = Field(default=1.05, gt=0, le=2)
    """Above 1 discourages repetition. Many servers know it, OpenAI's own does not: it is not sent when it is 1."""
    window_frames: int = Field(default=256, ge=4)
    """Frames of a clip that one caption covers."""
    remainder_frames: int = Field(default=128, ge=1)
    """A clip's last frames get a caption of their own if there are at least so many."""
    max_frames: int = Field(default=768, ge=4)
    """Most storyboard frames shown per window."""
    timeout_seconds: float = Field(default=300, gt=0)
    """Longest wait for the server's answer, per attempt."""
    attempts: int = Field(default=3, ge=1)
    """Tries per window when the server is busy, failing or silent."""
    backoff_seconds: float = Field(default=1, ge=0)
    """Pause before the second try, doubled before each further one; a server's Retry-After counts if it is longer."""
    concurrency: int = Field(default=8, ge=1)
    """Requests to the server at a time."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where a `transformers` model runs; `auto` is a GPU if torch sees one."""

    @model_validator(mode="after")
    def _settings_fit(self) -> "CaptionsConfig":
        if self.remainder_frames > self.window_frames:
            raise ValueError("remainder_frames must not exceed window_frames")
        if self.backend == "openai" and not (self.endpoint and self.model):
            raise ValueError("backend openai needs `endpoint` (the server's base URL) and `model` (its name there)")
        if self.backend == "transformers":
            if not self.model:
                raise ValueError("backend transformers needs `model`: a folder or a hub id `owner/name`")
            check_hub_pin(self.model, self.revision)
        return self


@dataclass(frozen=True)
class CaptionRequest:
    """One window: its frames as JPEG bytes, in order, and their times in seconds from the window's start."""

    frames: list[bytes]
    times_s: list[float]

    def __post_init__(self) -> None:
        if len(self.frames) != len(self.times_s):
            raise ValueError(f"{len(self.frames)} frames but {len(self.times_s)} times")


@dataclass(frozen=True)
class Caption:
    """What came of one request. `text` is None unless the status is success or truncated; `failure` says why."""

    text: str | None
    status: Literal["success", "truncated", "blocked", "error", "skipped"]
    failure: str | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None


class Captioner(Protocol):
    """A model ready to caption."""

    @property
    def model(self) -> str:
        """The model's name, part of a caption's identity."""
        ...

    @property
    def revision(self) -> str:
        """What pins the model: a content hash, a hub commit, or the label given for a server."""
        ...

    def caption(self, windows: Sequence[CaptionRequest]) -> list[Caption]:
        """One caption per window, in order. A window that fails becomes a row with status `error` and stops no other;
        one without frames is `skipped`."""
        ...


def prompt_hash(config: CaptionsConfig) -> str:
    """16 hexadecimal digits over the prompt and the settings that shape an answer to it."""
    asked = config.model_dump(include={"prompt", "max_tokens", "temperature", "top_p", "repetition_penalty"})
    asked |= {"frame_times": _FRAME_TIMES, "min_tokens": _MINIMUM_NEW_TOKENS}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


def model_identity(config: CaptionsConfig) -> tuple[str, str]:
    """(model, revision) that `load_captioner` would report, without loading the model or asking the server; for
    backend none, ("none", "none"). A server without a `revision` label has "endpoint".

    Raises:
        FileNotFoundError, ValueError: a transformers model is not there or not pinned as asked.
    """
    if config.backend == "none":
        return "none", "none"
    assert config.model is not None
    if config.backend == "openai":
        return config.model, config.revision or "endpoint"
    return pinned_model(config.model, config.revision)


def load_captioner(config: CaptionsConfig) -> Captioner:
    """The captioner that `config` names; for transformers, with its weights loaded.

    Raises:
        FileNotFoundError, ValueError: as `model_identity`; backend none; or the model is not a whole Qwen2.5-VL.
    """
    if config.backend == "none":
        raise ValueError("captions are off: the captions backend is none")
    model, revision = model_identity(config)
    return (_OpenAICaptioner if config.backend == "openai" else _QwenCaptioner)(config, model, revision)


# --------------------------------------------------------------------------------------------- OpenAI-compatible


class _OpenAICaptioner:
    """Chat completions with the frames as JPEG data URIs, several requests at a time."""

    def __init__(self, config: CaptionsConfig, model: str, revision: str) -> None:
        assert config.endpoint is not None
        self.model = model
        self.revision = revision
        self._config = config
        self._url = config.endpoint.rstrip("/") + "/chat/completions"
        key = os.environ.get(config.api_key_env)
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    def caption(self, windows: Sequence[CaptionRequest]) -> list[Caption]:
        with ThreadPoolExecutor(max_workers=self._config.concurrency) as pool:
            return list(pool.map(self._caption_one, windows))

    def _caption_one(self, window: CaptionRequest) -> Caption:
        if not window.frames:
            return _NO_FRAMES
        try:
            return _caption_of_answer(self._answer(self._body(window)))
        except Exception as failure:
            return _failed(failure)

    def _body(self, window: CaptionRequest) -> dict[str, Any]:
        config = self._config
        times = ", ".join(f"{seconds:.2f}" for seconds in window.times_s)
        text = _FRAME_TIMES.format(count=len(window.frames), times=times) + config.prompt
        images = [
            {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{base64.b64encode(frame).decode()}"}}
            for frame in window.frames
        ]
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": [*images, {"type": "text", "text": text}]}],
            "max_tokens": config.max_tokens,
            "temperature": config.temperature,
            "top_p": config.top_p,
        }
        if config.repetition_penalty != 1:
            body["repetition_penalty"] = config.repetition_penalty
        return body

    def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
        import requests

        for attempt in range(1, self._config.attempts + 1):
            pause = self._config.backoff_seconds * 2 ** (attempt - 1)
            try:
                response = requests.post(
                    self._url, json=body, headers=self._headers, timeout=self._config.timeout_seconds
                )
            except (requests.ConnectionError, requests.Timeout):
                if attempt == self._config.attempts:
                    raise
            else:
                if response.ok:
                    return response.json()
                if response.status_code not in _RETRIED_STATUSES or attempt == self._config.attempts:
                    raise RuntimeError(f"the server answered {response.status_code}: {response.text[:300]}")
                pause = max(pause, min(_retry_after(response), self._config.timeout_seconds))
            time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")


def _retry_after(response: "requests.Response") -> float:
    """Seconds that the server asks to wait; 0 without a header in seconds."""
    asked = response.headers.get("Retry-After", "")
    return float(asked) if asked.isdecimal() else 0


def _caption_of_answer(answer: dict[str, Any]) -> Caption:
    choice = answer["choices"][0]
    message = choice["message"]
    usage = answer.get("usage") or {}
    tokens = (usage.get("prompt_tokens"), usage.get("completion_tokens"))
    if choice.get("finish_reason") == "content_filter":
        return Caption(None, "blocked", "the server's content filter stopped the answer", *tokens)
    if refusal := message.get("refusal"):
        return Caption(None, "blocked", f"the model refused: {refusal}", *tokens)
    text = (message.get("content") or "").strip()
    if not text:
        return Caption(None, "error", "the answer is empty", *tokens)
    return Caption(text, "truncated" if choice.get("finish_reason") == "length" else "success", None, *tokens)


_NO_FRAMES = Caption(None, "skipped", "the window has no frames")


def _failed(failure: Exception) -> Caption:
    return Caption(None, "error", f"{type(failure).__name__}: {failure}"[:1000])


# -------------------------------------------------------------------------------------------------- transformers


class _QwenCaptioner:
    """Qwen2.5-VL in this process, one window at a time, so that an answer cannot depend on its neighbours.

    Frames go in as a video. Their preparation is done here, because transformers' own video processor cannot be
    imported without torchvision.
    """

    def __init__(self, config: CaptionsConfig, model: str, revision: str) -> None:
        import torch
        from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer, Qwen2_5_VLForConditionalGeneration

        assert config.model is not None
        self.model = model
        self.revision = revision
        self._config = config
        self._device = torch_device(config.device)
        source, where = model_source(config.model, revision)
        family = AutoConfig.from_pretrained(source, **where).model_type
        if family != "qwen2_5_vl":
            raise ValueError(f"model {model!r} is a {family} model; captions need a qwen2_5_vl one")
        self._tokenizer: Any = AutoTokenizer.from_pretrained(source, **where)
        self._pixels: Any = AutoImageProcessor.from_pretrained(source, backend="pil", **where)
        dtype = torch.float32 if self._device.type == "cpu" else torch.bfloat16
        self._network = whole_model(Qwen2_5_VLForConditionalGeneration, source, model, dtype=dtype, **where)
        self._network.to(self._device)

    def caption(self, windows: Sequence[CaptionRequest]) -> list[Caption]:
        captions: list[Caption] = []
        for window in windows:
            try:
                captions.append(self._caption_one(window) if window.frames else _NO_FRAMES)
            except Exception as failure:
                captions.append(_failed(failure))
        return captions

    def _caption_one(self, window: CaptionRequest) -> Caption:
        import torch

        inputs = self.model_inputs(window)
        prompt_tokens = inputs["input_ids"].shape[1]
        seeded = [self._device] if self._device.type == "cuda" else []
        with torch.inference_mode(), torch.random.fork_rng(devices=seeded):
            torch.manual_seed(_seed(window, prompt_hash(self._config)))
            output = self._network.generate(
                **inputs,
                **self._sampling(),
                min_new_tokens=_MINIMUM_NEW_TOKENS,
                max_new_tokens=self._config.max_tokens,
                repetition_penalty=self._config.repetition_penalty,
            )
        answer = output[0, prompt_tokens:]
        ended = answer[-1].item() in np.atleast_1d(self._network.generation_config.eos_token_id)
        text = self._tokenizer.decode(answer, skip_special_tokens=True).strip()
        counts = (prompt_tokens, len(answer))
        if not text:
            return Caption(None, "error", "the answer is empty", *counts)
        return Caption(text, "success" if ended else "truncated", None, *counts)

    @property
    def _greedy(self) -> bool:
        # The likeliest token alone almost always exceeds so small a top_p: sampling would be a slower greedy choice.
        return self._config.temperature == 0 or self._config.top_p <= 0.01

    def _sampling(self) -> dict[str, Any]:
        if self._greedy:
            return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        return {"do_sample": True, "temperature": self._config.temperature, "top_p": self._config.top_p, "top_k": 0}

    def model_inputs(self, window: CaptionRequest) -> dict[str, "torch.Tensor"]:
        """The network's inputs for one window, on its device.

        Raises:
            OSError: a frame cannot be decoded.
            ValueError: frames differ in size, or the chat template has no place for a video.
        """
        import torch

        settings = self._pixels
        frames = _decoded(window.frames)
        factor = settings.patch_size * settings.merge_size
        height, width = fitted_size(frames[0].shape[0], frames[0].shape[1], len(frames), factor)
        patches, grid = video_patches(
            _resized(frames, height, width),
            np.asarray(settings.image_mean, dtype=np.float32),
            np.asarray(settings.image_std, dtype=np.float32),
            settings.patch_size,
            settings.temporal_patch_size,
            settings.merge_size,
        )
        input_ids = self._prompt_ids(math.prod(grid) // settings.merge_size**2)
        video_id = self._network.config.video_token_id
        # Spacing of the pairs of frames in seconds; the network's temporal position counts it.
        spacing = (window.times_s[-1] - window.times_s[0]) / max(len(frames) - 1, 1)
        inputs = {
            "input_ids": input_ids,
            "attention_mask": torch.ones_like(input_ids),
            "mm_token_type_ids": (input_ids == video_id).int() * 2,  # 0 is text, 2 is video
            "pixel_values_videos": torch.from_numpy(patches),
            "video_grid_thw": torch.tensor([grid]),
            "second_per_grid_ts": torch.tensor([settings.temporal_patch_size * spacing], dtype=torch.float32),
        }
        return {name: value.to(self._device) for name, value in inputs.items()}

    def _prompt_ids(self, video_tokens: int) -> "torch.Tensor":
        content = [{"type": "video"}, {"type": "text", "text": self._config.prompt}]
        text = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        place = self._tokenizer.convert_ids_to_tokens(self._network.config.video_token_id)
        if text.count(place) != 1:
            raise ValueError(f"the chat template and the prompt hold {text.count(place)} places for a video, not one")
        return self._tokenizer(text.replace(place, place * video_tokens), return_tensors="pt")["input_ids"]


def fitted_size(height: int, width: int, frames: int, factor: int = 28) -> tuple[int, int]:
    """(height, width) in multiples of `factor` at which Qwen2.5-VL sees each of `frames` frames, keeping the aspect
    ratio as nearly as multiples allow.

    A frame has at least 128 * factor**2 pixels and at most max(min(768 * factor**2, 24576 * factor**2 / frames * 2),
    1.05 * 128 * factor**2): more frames, fewer pixels each (the budget of Qwen's own preparation of videos).

    Raises:
        ValueError: one side is more than 200 times the other.
    """
    if max(height, width) > 200 * min(height, width):
        raise ValueError(f"a frame of {width}x{height} is too elongated")
    area = factor**2
    least = 128 * area
    most = int(max(min(768 * area, 24576 * area / frames * 2), 1.05 * least))
    fitted = [round(side / factor) * factor for side in (height, width)]
    if fitted[0] * fitted[1] > most:
        scale = math.sqrt(height * width / most)
        fitted = [max(1, math.floor(side / scale / factor)) * factor for side in (height, width)]
    elif fitted[0] * fitted[1] < least:
        scale = math.sqrt(least / (height * width))
        fitted = [math.ceil(side * scale / factor) * factor for side in (height, width)]
    return fitted[0], fitted[1]


def video_patches(
    frames: np.ndarray, mean: np.ndarray, std: np.ndarray, patch: int = 14, temporal: int = 2, merge: int = 2
) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Cut uint8 RGB frames [n, H, W, 3] into the patches that Qwen2.5-VL embeds.

    Values are scaled to 0..1 and normalised by `mean` and `std` per channel. `temporal` successive frames share a
    patch, the last frame repeated to fill up. Patches are ordered by time, then by merge x merge block row by row,
    then within the block. H and W are multiples of patch * merge.

    Returns:
        Float32 [t * h * w, 3 * temporal * patch * patch] and the grid (t, h, w), counted in patches.
    """
    if missing := -len(frames) % temporal:
        frames = np.concatenate([frames, np.repeat(frames[-1:], missing, axis=0)])
    pixels = (frames.astype(np.float32) / 255 - mean) / std
    count, height, width, channels = pixels.shape
    grid = (count // temporal, height // patch, width // patch)
    cut = pixels.reshape(
        grid[0], temporal, grid[1] // merge, merge, patch, grid[2] // merge, merge, patch, channels
    )  # t, frame, block row, row, y, block column, column, x, channel
    patches = cut.transpose(0, 2, 5, 3, 6, 8, 1, 4, 7)
    return np.ascontiguousarray(patches, dtype=np.float32).reshape(math.prod(grid), -1), grid


def _decoded(frames: Sequence[bytes]) -> list[np.ndarray]:
    from PIL import Image

    images = [np.asarray(Image.open(io.BytesIO(frame)).convert("RGB")) for frame in frames]
    if len({image.shape for image in images}) > 1:
        raise ValueError(f"the frames of one window differ in size: {sorted({image.shape[:2] for image in images})}")
    return images


def _resized(frames: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    from PIL import Image

    return np.stack(
        [np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC)) for frame in frames]
    )


def _seed(window: CaptionRequest, prompt: str) -> int:
    content = hashlib.sha256(prompt.encode())
    for frame in window.frames:
        content.update(hashlib.sha256(frame).digest())
    return int.from_bytes(content.digest()[:8], "little") >> 1
