"""The backends that answer questions: those that caption, with what goes before the questions in place of a prompt."""

from abc import ABC
from typing import ClassVar, Literal

from pydantic import Field, create_model

from gpu_kernels.backends import Backends
from gpu_kernels.captioners.captioner import CAPTIONERS
from gpu_kernels.captioners.prompts import prompt_of
from gpu_kernels.captioners.types import CaptionsConfig


class AnswersConfig(CaptionsConfig, ABC):
    """Which vision-language model answers questions about clips, and how it is asked."""

    prompts_of: ClassVar[str] = "answers"

    guided: bool = True
    """Whether a server or an engine is made to keep to the form of the answer. Without it, for those that do not know
    how, what the model writes is repaired where it has to be."""


def _answering(kind: type[CaptionsConfig]) -> type[AnswersConfig]:
    """The settings of a captioner, for answers. It is in this module by its name, so that workers find it."""
    introduction = Field(prompt_of("default", "answers"), min_length=1, description="What goes before the questions.")
    variant = Field(default=None, description="A text that comes with the platform, in place of one of your own.")
    name = kind.__name__.replace("Captions", "Answers")
    made = create_model(
        name,
        __base__=(kind, AnswersConfig),
        __module__=__name__,
        prompt=(str, introduction),
        prompt_variant=(Literal["default"] | None, variant),
    )
    made.__doc__ = (kind.__doc__ or "").replace("captions", "answers")
    return globals().setdefault(name, made)


ANSWERERS = Backends(AnswersConfig, [_answering(kind) for kind in CAPTIONERS.kinds.values()], "curate.answerers")
