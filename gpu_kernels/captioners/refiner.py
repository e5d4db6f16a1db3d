"""The backends that refine captions: those that caption, asked with the first caption beside the frames."""

from abc import ABC
from typing import ClassVar

from gpu_kernels.captioners.tasks import GivenWindowsConfig, captioners_for


class RefinedCaptionsConfig(GivenWindowsConfig, ABC):
    """Which vision-language model looks at windows again with their first caption, and how it is asked."""

    prompts_of: ClassVar[str] = "refined"
    windows_of: ClassVar[str] = "the first captions"


REFINERS = captioners_for(
    RefinedCaptionsConfig,
    "Refinement",
    prompt="What the model is asked about each window; the first caption comes after it.",
    none="Captions stay as they are.",
    group="curate.refiners",
)
