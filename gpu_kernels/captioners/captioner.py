"""The captioners that there are."""

from typing import Literal

from gpu_kernels.backends import Backends
from gpu_kernels.captioners.gemini import GeminiCaptionsConfig
from gpu_kernels.captioners.openai import ServedCaptionsConfig
from gpu_kernels.captioners.transformers_vision import TransformersCaptionsConfig
from gpu_kernels.captioners.types import CaptionsConfig
from gpu_kernels.captioners.vllm_engine import VllmCaptionsConfig


class NoCaptionsConfig(CaptionsConfig):
    """No captions."""

    backend: Literal["none"] = "none"

    def identity(self) -> tuple[str, str]:
        return "none", "none"

    def load(self) -> None:
        return None


CAPTIONERS = Backends(
    CaptionsConfig,
    (NoCaptionsConfig, ServedCaptionsConfig, GeminiCaptionsConfig, TransformersCaptionsConfig, VllmCaptionsConfig),
    "curate.captioners",
)
