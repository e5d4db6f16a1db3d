"""The backends that rewrite captions."""

from typing import Literal

from gpu_kernels.backends import Backends
from gpu_kernels.captioners.gemini import GeminiConfig
from gpu_kernels.captioners.openai import OpenAIConfig
from gpu_kernels.captioners.texts import EnhancedCaptionsConfig
from gpu_kernels.captioners.transformers_text import LanguageModelConfig


class NoEnhancementConfig(EnhancedCaptionsConfig):
    """Captions stay as they are."""

    backend: Literal["none"] = "none"

    def identity(self) -> tuple[str, str]:
        return "none", "none"

    def load(self) -> None:
        return None


class ServedEnhancementConfig(EnhancedCaptionsConfig, OpenAIConfig):
    """A server with the OpenAI chat API, such as vLLM's."""


class GeminiEnhancementConfig(EnhancedCaptionsConfig, GeminiConfig):
    """Google's Gemini, or a server with its API."""


ENHANCERS = Backends(
    EnhancedCaptionsConfig,
    (NoEnhancementConfig, ServedEnhancementConfig, GeminiEnhancementConfig, LanguageModelConfig),
    "curate.enhancers",
)
