"""Rewriting a text by a language model: what the backends have in common, and what is told from what they write."""

from abc import ABC
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field

from gpu_kernels.captioners.prompts import prompt_of
from gpu_kernels.captioners.types import AskedConfig, Caption

_THINKS, _THOUGHT = "<think>", "</think>"


class EnhancedCaptionsConfig(AskedConfig, ABC):
    """Which language model rewrites captions, and how it is asked."""

    prompts_of: ClassVar[str] = "enhanced"

    prompt: str = Field(default=prompt_of("default", "enhanced"), min_length=1)
    """What the model is asked; the caption comes after it."""
    prompt_variant: Literal["default", "surveillance"] | None = None
    """A prompt that comes with the platform, in place of one of your own: `surveillance` for captions of fixed cameras
    that watch traffic. Its text becomes `prompt`."""
    max_tokens: int = Field(default=2048, ge=16, le=8192)
    """Longest answer in tokens; a longer one is cut and marked `truncated`."""


def without_thoughts(caption: Caption) -> Caption:
    """What a model says after it has thought: an error where it only thought."""
    if caption.text is None or not (_THINKS in caption.text or _THOUGHT in caption.text):
        return caption
    if text := caption.text.rpartition(_THOUGHT)[2].strip() if _THOUGHT in caption.text else "":
        return replace(caption, text=text)
    failure = "the model thought and said nothing: raise max_tokens, or switch its thinking off"
    return replace(caption, text=None, status="error", failure=failure)
