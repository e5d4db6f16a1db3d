"""Models that caption well, each with what it needs and how it is to be asked.

`captions.preset` names one. What a preset says goes before the defaults, and what the settings say before the preset.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from pydantic import Field

from gpu_kernels.strict import StrictModel

_WEIGHTS_SERVED = ("openai",)
"""Backends for weights that a server loads."""
_WEIGHTS_LOADED = (*_WEIGHTS_SERVED, "vllm")
"""Backends for weights of a family that vLLM is also given in the worker."""


class CaptionPreset(StrictModel):
    """A model and its settings."""

    name: str
    model: str
    """A hub's `owner/name`, which is also how servers of it call it unless they are told another; or a service's."""
    backends: tuple[str, ...] = _WEIGHTS_SERVED
    """Those that can ask it."""
    commit_begins: str | None = Field(default=None, pattern=r"^[0-9a-f]{8}$")
    """How the hub's commit begins that NVIDIA Cosmos-Curator pins. The rest is not known here: a backend that loads
    weights needs the whole of it as `revision`."""
    weights_billion: float | None = None
    """How many weights it has, by its name; None: a service."""
    stored_as: Literal["bf16", "fp8"] = "bf16"
    gpus: int = 1
    """The fewest that serve it, of 80 GB each."""
    environment: str | None = "vllm"
    """The environment of `pixi.toml` with a server for it."""
    licence: str = "not checked: see the model's page"
    gate: str | None = None
    """What has to be accepted before the hub gives it, as far as is known; None: nothing is known of it."""
    frames_per_second: float = 2
    """The rate of frames that it is to be shown: `captions.frames_per_second`."""
    captions: Mapping[str, Any] = {}
    """Settings of that section that are not the defaults."""

    @property
    def memory_gib(self) -> float | None:
        """What the weights alone take; the cache and what is computed come on top."""
        if self.weights_billion is None:
            return None
        return round(self.weights_billion * 1e9 * {"bf16": 2, "fp8": 1}[self.stored_as] / 2**30, 1)


_LONG = {"max_tokens": 8192}
_COSMOS3 = _LONG | {
    "temperature": 0.7,
    "top_p": 0.8,
    "top_k": 20,
    "repetition_penalty": 1.0,
    "presence_penalty": 1.5,
}
_APACHE, _NVIDIA = "Apache-2.0", "NVIDIA Open Model License"

_ALL = (
    CaptionPreset(
        name="qwen2_5_vl_7b",
        model="Qwen/Qwen2.5-VL-7B-Instruct",
        backends=(*_WEIGHTS_LOADED, "transformers"),
        commit_begins="cc594898",
        weights_billion=8.3,
        licence=_APACHE,
        captions=_LONG,
    ),
    CaptionPreset(
        name="qwen3_vl_30b",
        model="Qwen/Qwen3-VL-30B-A3B-Instruct",
        backends=_WEIGHTS_LOADED,
        commit_begins="4b184fbd",
        weights_billion=30,
        licence=_APACHE,
        captions=_LONG,
    ),
    CaptionPreset(
        name="qwen3_vl_30b_fp8",
        model="Qwen/Qwen3-VL-30B-A3B-Instruct-FP8",
        backends=_WEIGHTS_LOADED,
        commit_begins="d9748a51",
        weights_billion=30,
        stored_as="fp8",
        licence=_APACHE,
        captions=_LONG,
    ),
    CaptionPreset(
        name="qwen3_vl_235b",
        model="Qwen/Qwen3-VL-235B-A22B-Instruct",
        backends=_WEIGHTS_LOADED,
        commit_begins="326b2e35",
        weights_billion=235,
        gpus=8,
        licence=_APACHE,
        captions=_LONG,
    ),
    CaptionPreset(
        name="qwen3_vl_235b_fp8",
        model="Qwen/Qwen3-VL-235B-A22B-Instruct-FP8",
        backends=_WEIGHTS_LOADED,
        commit_begins="7fbcd8c9",
        weights_billion=235,
        stored_as="fp8",
        gpus=4,
        licence=_APACHE,
        captions=_LONG,
    ),
    CaptionPreset(
        name="qwen3_5_27b_fp8",
        model="Qwen/Qwen3.5-27B-FP8",
        commit_begins="97f5941b",
        weights_billion=27,
        stored_as="fp8",
        captions=_LONG,
    ),
    CaptionPreset(
        name="qwen3_6_27b",
        model="Qwen/Qwen3.6-27B",
        commit_begins="6a9e13bd",
        weights_billion=27,
        licence=_APACHE,
        captions=_LONG,
    ),
    CaptionPreset(
        name="qwen3_6_27b_fp8",
        model="Qwen/Qwen3.6-27B-FP8",
        commit_begins="e89b16eb",
        weights_billion=27,
        stored_as="fp8",
        licence=_APACHE,
        captions=_LONG,
    ),
    CaptionPreset(
        name="nemotron_nano_12b_vl",
        model="nvidia/NVIDIA-Nemotron-Nano-12B-v2-VL-BF16",
        commit_begins="5f7b7fac",
        weights_billion=12,
        captions=_LONG,
    ),
    CaptionPreset(
        name="cosmos_reason1_7b",
        model="nvidia/Cosmos-Reason1-7B",
        backends=_WEIGHTS_LOADED,
        commit_begins="0caf724f",
        weights_billion=7,
        captions=_LONG,
    ),
    CaptionPreset(
        name="cosmos_reason2_8b",
        model="nvidia/Cosmos-Reason2-8B",
        backends=_WEIGHTS_LOADED,
        commit_begins="b9806227",
        weights_billion=8,
        licence=_NVIDIA,
        gate="contact details, on the model's page",
        captions=_LONG,
    ),
    CaptionPreset(
        name="cosmos3_nano",
        model="nvidia/Cosmos3-Nano",
        commit_begins="138d071c",
        weights_billion=16,
        frames_per_second=4,
        captions=_COSMOS3,
    ),
    CaptionPreset(
        name="cosmos3_super",
        model="nvidia/Cosmos3-Super",
        commit_begins="3965ceee",
        weights_billion=64,
        gpus=4,
        frames_per_second=4,
        captions=_COSMOS3,
    ),
    CaptionPreset(
        name="smolvlm2_2b",
        model="HuggingFaceTB/SmolVLM2-2.2B-Instruct",
        backends=(*_WEIGHTS_SERVED, "transformers"),
        weights_billion=2.2,
        licence=_APACHE,
    ),
    CaptionPreset(
        name="gemini",
        model="gemini-2.5-pro",
        backends=("gemini",),
        gpus=0,
        environment=None,
        licence="Google's terms",
        captions=_LONG,
    ),
)

PRESETS: Mapping[str, CaptionPreset] = MappingProxyType({preset.name: preset for preset in _ALL})
"""By name."""
