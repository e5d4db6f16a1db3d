"""Windows as vLLM takes them: frames scaled and cut into patches here, and a prompt whose length is known."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gpu_kernels.captioners.frames import cut, decoded, fitted_size, scaled
from gpu_kernels.captioners.types import MINIMUM_NEW_TOKENS, CaptionRequest, PreparedCaptionsConfig

_SPACING_OF_ONE_FRAME = 0.5  # a single frame has none; nothing is computed from it


@dataclass(frozen=True)
class Patches:
    """A video as Qwen2.5-VL embeds it, and its prompt. The engine would die of one whose parts do not belong together.

    Attributes:
        rows: uint8 patches in the order of `frames.cut`, which the model normalises itself.
        grid: (t, h, w), counted in patches.
        seconds: from one pair of frames to the next.
        token_ids: the prompt's, with `place_id` for each merge x merge block of patches.

    Raises:
        ValueError: they do not belong together.
    """

    rows: np.ndarray
    grid: tuple[int, int, int]
    seconds: float
    token_ids: list[int]
    place_id: int
    merge: int

    def __post_init__(self) -> None:
        places, rows = self.token_ids.count(self.place_id), self.rows.shape[0]
        if self.rows.dtype != np.uint8 or rows != math.prod(self.grid):
            raise ValueError(f"{rows} patches of {self.rows.dtype} are not the uint8 ones of a grid of {self.grid}")
        if places != self.places or set(self.token_ids[self.offset : self.offset + places]) != {self.place_id}:
            raise ValueError(f"the prompt has {places} places in a row for a video that needs {self.places}")

    @property
    def places(self) -> int:
        """Tokens that stand for the video."""
        return math.prod(self.grid) // self.merge**2

    @property
    def offset(self) -> int:
        """Where they begin."""
        return self.token_ids.index(self.place_id)

    @cached_property
    def digest(self) -> str:
        """Of all that the model makes of the video: what the engine keeps of one is found again by it."""
        content = hashlib.sha256(repr((self.rows.shape, self.grid, self.seconds)).encode())
        content.update(self.rows.data)
        return content.hexdigest()


@dataclass(frozen=True)
class Prepared:
    """A window that fits: what the engine is given, a digest of the pixels in it, and the tokens that it is."""

    prompt: Any
    digest: str
    tokens: int


@dataclass(frozen=True)
class _Video:
    """Frames [n, H, W, 3] of the size planned, the seconds between two of them, and the prompt's text and tokens, with
    one place for all of them."""

    frames: np.ndarray
    seconds: float
    text: str
    token_ids: list[int]
    tokens: int


class WindowPreparation:
    """Makes the windows of one model ready, in any number of threads.

    Qwen2.5-VL is handed patches. Qwen3-VL, which reads a time before each pair of frames, is handed frames of the size
    planned here, and vLLM prepares them.

    Args:
        folder, network: the model's, and its configuration as transformers has it.
        as_prompt: makes of patches what the engine is given.
        most_tokens: of a window with its answer.
    """

    def __init__(
        self,
        folder: Path,
        network: Any,
        config: PreparedCaptionsConfig,
        as_prompt: Callable[[Patches], Any],
        most_tokens: int,
    ) -> None:
        from transformers import AutoTokenizer

        self._config, self._as_prompt, self._most_tokens = config, as_prompt, most_tokens
        self._vision = network.vision_config
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._place_id: int = network.video_token_id
        self._place: str = self._tokenizer.convert_ids_to_tokens(self._place_id)
        self._form = self.as_patches if network.model_type == "qwen2_5_vl" else self.as_frames

    def __call__(self, window: CaptionRequest) -> Prepared:
        """What the engine is given.

        Raises:
            OSError: a frame cannot be decoded.
            ValueError: frames differ in size, or the window is longer than the model takes.
        """
        frames = decoded(window.frames)
        vision = self._vision
        factor = vision.patch_size * vision.spatial_merge_size
        height, width = frames[0].shape[:2]
        height, width = fitted_size(height, width, len(frames), factor, self._config.max_pixels)
        pairs = -(-len(frames) // vision.temporal_patch_size)
        text = self.text(window.prompt or self._config.prompt)
        token_ids: list[int] = self._tokenizer(text)["input_ids"]
        length = len(token_ids) - 1 + pairs * (height // factor) * (width // factor)
        if length + MINIMUM_NEW_TOKENS > self._most_tokens:
            raise ValueError(
                f"{len(frames)} frames of {width}x{height} and the prompt are {length} tokens, which leaves no room "
                f"for an answer in captions.max_model_len ({self._most_tokens}): raise it, or set max_frames"
            )
        seconds = (window.times_s[-1] - window.times_s[0]) / max(len(frames) - 1, 1)
        return self._form(
            _Video(scaled(frames, height, width), seconds or _SPACING_OF_ONE_FRAME, text, token_ids, length)
        )

    def as_patches(self, video: _Video) -> Prepared:
        vision = self._vision
        merge, pair = vision.spatial_merge_size, vision.temporal_patch_size
        rows, grid = cut(video.frames, vision.patch_size, pair, merge)
        before = video.token_ids.index(self._place_id)
        places = [self._place_id] * (math.prod(grid) // merge**2)
        token_ids = video.token_ids[:before] + places + video.token_ids[before + 1 :]
        patches = Patches(rows, grid, pair * video.seconds, token_ids, self._place_id, merge)
        return Prepared(self._as_prompt(patches), patches.digest, len(token_ids))

    def as_frames(self, video: _Video) -> Prepared:
        count = len(video.frames)
        metadata = {
            "fps": 1 / video.seconds,
            "duration": count * video.seconds,
            "total_num_frames": count,
            "frames_indices": list(range(count)),
            "video_backend": "opencv",
            "do_sample_frames": False,
        }
        prompt = {
            "prompt": video.text,
            "multi_modal_data": {"video": (video.frames, metadata)},
            "mm_processor_kwargs": {"do_resize": False},
        }
        return Prepared(prompt, _digest(video.frames), video.tokens)

    def text(self, prompt: str) -> str:
        """The whole prompt, with one place for a video.

        Raises:
            ValueError: it has another number of places.
        """
        content = [{"type": "video"}, {"type": "text", "text": prompt}]
        text: str = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        if text.count(self._place) != 1:
            raise ValueError(
                f"the chat template and the prompt hold {text.count(self._place)} places for a video, not one"
            )
        return text


def _digest(pixels: np.ndarray) -> str:
    """SHA-256 of the frames [n, H, W, 3] as the engine is given them, as hex."""
    content = hashlib.sha256(repr(pixels.shape).encode())
    content.update(pixels.data)
    return content.hexdigest()
