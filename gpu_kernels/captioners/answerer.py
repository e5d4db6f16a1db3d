"""The backends that answer questions: those that caption, with what goes before the questions in place of a prompt."""

from abc import ABC
from typing import ClassVar

from gpu_kernels.captioners.tasks import TaskConfig, captioners_for


class AnswersConfig(TaskConfig, ABC):
    """Which vision-language model answers questions about clips, and how it is asked."""

    prompts_of: ClassVar[str] = "answers"

    guided: bool = True
    """Whether a backend that can is made to keep to the form of the answer. Without it, for servers that do not know
    `response_format`, what the model writes is repaired where it has to be."""


ANSWERERS = captioners_for(
    AnswersConfig,
    "Answers",
    prompt="What goes before the questions.",
    none="No answers.",
    group="curate.answerers",
)
