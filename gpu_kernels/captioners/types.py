"""What every backend is asked and gives: storyboard frames of a window in, a caption out."""

import asyncio
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from pydantic import Field, model_validator

from gpu_kernels.backends import KEY as BACKEND
from gpu_kernels.captioners.presets import PRESETS, CaptionPreset
from gpu_kernels.captioners.prompts import Variant, prompt_in, prompt_of, variants
from gpu_kernels.errors import UserError
from gpu_kernels.models.files import Device
from gpu_kernels.models.resolve import check_hub_pin, pinned_model
from gpu_kernels.models.section import ModelSection, Wanted
from gpu_kernels.strict import Unrepeated

FRAME_TIMES = "The {count} images are frames of one clip in order, taken {times} seconds after it starts.\n\n"
"""Goes before the prompt that a server is sent, where frames are images."""

MINIMUM_NEW_TOKENS = 16
"""An answer of the loaded model has at least this many, so that it is never empty."""


@dataclass(frozen=True)
class CaptionRequest:
    """One window: its frames as JPEG bytes, in order, and their times in seconds from the window's start.

    Attributes:
        prompt: what is asked about it in place of the section's prompt.
        schema: the JSON schema of the answer; backends that cannot constrain an answer ignore it.
        text_only: whether `prompt` says all, and there are no frames.
    """

    frames: list[bytes]
    times_s: list[float]
    prompt: str | None = None
    schema: Mapping[str, Any] | None = None
    text_only: bool = False

    def __post_init__(self) -> None:
        if len(self.frames) != len(self.times_s):
            raise ValueError(f"{len(self.frames)} frames but {len(self.times_s)} times")
        if self.text_only and (self.frames or not self.prompt):
            raise ValueError("a request of text alone has a prompt and no frames")


@dataclass(frozen=True)
class Caption:
    """What came of one request. `text` is None unless the status is success or truncated; `failure` says why.

    Attributes:
        model: that answered, where only its server knows its name.
        seconds: from asking to the answer; measured by who asks.
    """

    text: str | None
    status: Literal["success", "truncated", "blocked", "error", "skipped"]
    failure: str | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    model: str | None = None
    seconds: float | None = field(default=None, compare=False)


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

    def caption(self, window: CaptionRequest, key: str = "") -> Caption:
        """The caption of a window; called by `CaptionsConfig.at_once` threads. A window that fails gets the status
        `error`, one without frames `skipped`.

        Args:
            key: names the request to a server.
        """
        ...


@runtime_checkable
class Closing(Protocol):
    """A captioner that has something to let go of."""

    def close(self) -> None:
        """Let go of it; requests that are still out may fail."""
        ...


class EngineDied(Exception):
    """An engine ended, and with it all requests that were out."""


class CaptionEngine(ABC):
    """A model that is asked about many windows at a time, by one event loop.

    Attributes:
        model, revision: as of a `Captioner`.
        window: requests that keep it busy.
    """

    model: str
    revision: str
    window: int

    @abstractmethod
    async def caption(self, window: CaptionRequest, key: str) -> Caption:
        """The caption of a window; as `Captioner.caption`.

        Raises:
            EngineDied: the engine ended, whoever was to blame.
        """

    @abstractmethod
    async def reopen(self) -> None:
        """Make it ready again after it died."""

    async def close(self) -> None:  # noqa: B027
        """Let go of everything."""


class ThreadedCaptioner(CaptionEngine):
    """A plain captioner, asked in threads. It does not die by itself."""

    def __init__(self, captioner: Captioner, at_once: int) -> None:
        self.model, self.revision, self.window = captioner.model, captioner.revision, at_once
        self._captioner = captioner
        self._threads = ThreadPoolExecutor(at_once, "captions")

    async def caption(self, window: CaptionRequest, key: str) -> Caption:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._captioner.caption, window, key)

    async def reopen(self) -> None:
        raise AssertionError("a captioner without processes of its own does not die")

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        if isinstance(self._captioner, Closing):
            self._captioner.close()


NO_FRAMES = Caption(None, "skipped", "the window has no frames")


def failed_caption(failure: Exception) -> Caption:
    """Of a window that could not be captioned, with the error as the reason."""
    return Caption(None, "error", f"{type(failure).__name__}: {failure}"[:1000])


class AskedConfig(ModelSection, ABC):
    """Which model is asked, and how.

    Attributes:
        prompts_of: the folder of the prompts that a field `prompt_variant` names.
    """

    prompts_of: ClassVar[str] = ""

    prompt: str
    """What the model is asked."""
    prompt_file: str | None = None
    """A text file with a prompt of your own, on the machine that reads the settings. Its text becomes `prompt`."""
    max_tokens: int = Field(default=1024, ge=MINIMUM_NEW_TOKENS, le=8192)
    """Longest answer in tokens; a longer one is cut and marked `truncated`."""
    temperature: float = Field(default=0.1, ge=0, le=2)
    """Sampling temperature. With 0, or with `top_p` at most 0.01, the `transformers` backend is greedy."""
    top_p: float = Field(default=0.001, gt=0, le=1)
    """Sampling keeps the likeliest tokens up to this total probability."""
    repetition_penalty: float = Field(default=1.05, gt=0, le=2)
    """Above 1 discourages repetition. Many servers know it, OpenAI's own does not: it is not sent when it is 1."""

    @model_validator(mode="before")
    @classmethod
    def _with_its_prompt(cls, given: Any) -> Any:
        """The text goes into `prompt`, and the file is forgotten: what these settings are passed on to may not have it,
        or not as it was."""
        if not isinstance(given, dict):
            return given
        variant, file = given.get("prompt_variant"), given.get("prompt_file")
        try:
            texts = [prompt_of(variant, cls.prompts_of)] if variant in variants(cls.prompts_of) else []
            texts += [prompt_in(str(file))] if file is not None else []
        except UserError as error:
            raise Unrepeated(f"prompt_file: {error}") from None
        if len({*texts, given.get("prompt", *texts[:1])}) > 1:
            raise Unrepeated(
                "only one can be set of prompt, prompt_variant and prompt_file; null takes one of the last two back",
            )
        return given | ({"prompt": texts[0], "prompt_file": None} if texts else {})

    @property
    def runs_on(self) -> Device | None:
        """The device of this machine that the model runs on; None: a server has its own."""
        return "cpu"

    @property
    def gpus(self) -> float:
        """Devices that it takes where it runs on GPUs."""
        return 1.0

    @property
    def at_once(self) -> int:
        """Requests that keep the model busy, from all clips and videos."""
        return 1

    @property
    def frame_times(self) -> str:
        """What a server is told of the frames, before the prompt; nothing where there are none."""
        return ""

    def settings(self) -> dict[str, Any]:
        """With null for the keys of other backends: rows that were stored when all had them keep their fingerprints."""
        found = {"model": None, "revision": None, **super().settings()}
        for key in ("preset", "prompt_variant", "prompt_file"):
            found.pop(key, None)  # what they stand for is in the others
        return found

    @abstractmethod
    def identity(self) -> tuple[str, str]:
        """(model, revision) of the captioner that `load` gives, found without loading the model or asking a server;
        ("none", "none") where there is none.

        Raises:
            FileNotFoundError, ValueError: a model is not there or not pinned as asked.
        """

    @abstractmethod
    def load(self) -> Captioner | CaptionEngine | None:
        """The captioner, with its weights loaded if it has any; None: nothing is captioned.

        Raises:
            FileNotFoundError, ValueError: as `identity`; or the model is not what the backend needs.
        """


class CaptionsConfig(AskedConfig, ABC):
    """Which vision-language model captions clips, and how it is asked."""

    unless_default: ClassVar[frozenset[str]] = frozenset({"frames_per_second"})

    prompt: str = Field(default=prompt_of("default"), min_length=1)
    """What the model is asked about each window."""
    prompt_variant: Variant | None = None
    """A prompt that comes with the platform, in place of one of your own: `driving` for cameras on vehicles,
    `surveillance` for fixed cameras that watch traffic, `image` for single pictures. Its text becomes `prompt`."""
    window_frames: int = Field(default=256, ge=4)
    """Frames of a clip that one request is about."""
    remainder_frames: int = Field(default=128, ge=1)
    """A clip's last frames get a request of their own if there are at least this many."""
    max_frames: int = Field(default=768, ge=4)
    """Most storyboard frames shown per window."""
    frames_per_second: float | None = Field(default=None, gt=0)
    """Storyboard frames shown per second of video; `null`: all that there are. More than the storyboard holds cannot be
    had: see [variants](operations.md#variants) of storyboards."""

    @model_validator(mode="after")
    def _windows_fit(self) -> "CaptionsConfig":
        if self.remainder_frames > self.window_frames:
            raise ValueError("remainder_frames must not exceed window_frames")
        return self

    @property
    def frame_times(self) -> str:
        """What a server is told of the frames, before the prompt."""
        return FRAME_TIMES


class ModelCaptionsConfig(CaptionsConfig, ABC):
    """A section that names a model, itself or by a preset."""

    preset: str | None = None
    """A model that `curate models list` shows as a preset: its name and how it is best asked, where these settings do
    not say it."""

    @model_validator(mode="before")
    @classmethod
    def _on_its_preset(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("preset") is None:
            return given
        name, backend = given["preset"], cls.model_fields[BACKEND].default
        if (preset := PRESETS.get(name) if isinstance(name, str) else None) is None:
            said = f"there is no preset {name!r}; there are {', '.join(PRESETS)}"
        elif backend not in preset.backends:
            said = f"preset {name} needs backend {' or '.join(preset.backends)}, and this is {backend}"
        else:
            return cls._of_preset(preset) | given
        raise Unrepeated(said)

    @classmethod
    def _of_preset(cls, preset: CaptionPreset) -> dict[str, Any]:
        """What a preset says for this backend."""
        return {"model": preset.model, "frames_per_second": preset.frames_per_second, **preset.captions}


class SampledConfig(AskedConfig, ABC):
    """A section of a backend that samples in all the usual ways."""

    unless_default: ClassVar[frozenset[str]] = frozenset({"top_k", "presence_penalty"})

    top_k: int = Field(default=0, ge=0)
    """Sampling keeps this many of the likeliest tokens; 0: all. A server is not sent a 0: OpenAI's own do not know
    it."""
    presence_penalty: float = Field(default=0, ge=-2, le=2)
    """Above 0 discourages tokens that were written already. A server is not sent a 0."""


class LoadedModelConfig(AskedConfig, ABC):
    """A section of a backend that loads its model in the worker."""

    without_effect: ClassVar[frozenset[str]] = frozenset({"device"})

    model: str = Field(min_length=1)
    """A folder in the transformers format, a hub id `owner/name`, or the name of a model that `curate models list`
    shows."""
    revision: str | None = None
    """The commit of a hub id (needed with one); with a folder it is optional and pins the folder's content."""
    device: Device = "auto"
    """Where the model runs; `auto` is a GPU if torch sees one."""

    @model_validator(mode="after")
    def _pinned(self) -> "LoadedModelConfig":
        check_hub_pin(self.model, self.revision)
        return self

    @property
    def runs_on(self) -> Device:
        return self.device

    def identity(self) -> tuple[str, str]:
        return pinned_model(self.model, self.revision)

    def models(self) -> tuple[Wanted, ...]:
        return (Wanted(self.model, self.revision),)


class PreparedCaptionsConfig(ModelCaptionsConfig, ABC):
    """A section of a backend whose frames are made ready in the worker."""

    unless_default: ClassVar[frozenset[str]] = frozenset({"max_pixels"})

    max_pixels: int | None = Field(default=None, ge=100_352, le=602_112)
    """Most pixels of a frame as the model sees it, however many frames there are; `null`: the budget of Qwen's own
    preparation, with Qwen2.5-VL 602,112 for up to 64 frames and fewer for more."""


def prompt_hash(config: AskedConfig) -> str:
    """16 hexadecimal digits over the prompt and the settings that shape an answer to it."""
    asked = config.model_dump(include={"prompt", "max_tokens", "temperature", "top_p", "repetition_penalty"})
    asked |= {key: value for key, value in config.settings().items() if key in config.came_later()}
    asked |= {"frame_times": config.frame_times, "min_tokens": MINIMUM_NEW_TOKENS}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
