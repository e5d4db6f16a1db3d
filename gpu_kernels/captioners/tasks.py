"""What models that caption are asked besides: each of their backends, as a section of another task."""

import sys
from abc import ABC
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import Field, create_model, model_validator

from gpu_kernels.backends import Backends
from gpu_kernels.captioners.captioner import CAPTIONERS
from gpu_kernels.captioners.prompts import prompt_of
from gpu_kernels.captioners.types import CaptionsConfig

_CHOICE_OF_WINDOWS = ("window_frames", "remainder_frames")


class TaskConfig(CaptionsConfig, ABC):
    """A task with prompts of its own, in the folder `prompts_of`."""


class GivenWindowsConfig(TaskConfig, ABC):
    """A task about windows that others chose.

    Attributes:
        windows_of: who did, in words.
    """

    windows_of: ClassVar[str]

    @model_validator(mode="before")
    @classmethod
    def _same_windows(cls, given: Any) -> Any:
        for key in _CHOICE_OF_WINDOWS if isinstance(given, dict) else ():
            if given.get(key, default := cls.model_fields[key].default) != default:
                raise ValueError(f"{key} is that of {cls.windows_of}: set captions.{key}")
        return given


_Task = TypeVar("_Task", bound=TaskConfig)


def captioners_for(task: type[_Task], name: str, prompt: str, none: str, group: str) -> Backends[_Task]:
    """The backends that caption, for a task.

    Args:
        task: what its sections have in common. They are put into its module, where workers find them by name.
        name: stands in the names of their classes in place of `Captions`.
        prompt: what the docs say of the key `prompt`.
        none: what they say of the backend `none`.
        group: of entry points that bring further ones.
    """
    return Backends(task, [_section(task, kind, name, prompt, none) for kind in CAPTIONERS.kinds.values()], group)


def _section(task: type[_Task], kind: type[CaptionsConfig], name: str, prompt: str, none: str) -> type[_Task]:
    fields: dict[str, Any] = {
        "prompt": (str, Field(prompt_of("default", task.prompts_of), min_length=1, description=prompt)),
        "prompt_variant": (
            Literal["default"] | None,
            Field(default=None, description="A prompt that comes with the platform, in place of one of your own."),
        ),
    }
    without_effect = kind.without_effect | task.without_effect
    if issubclass(task, GivenWindowsConfig):
        unused = f"Of no use here: the windows are those of {task.windows_of}."
        defaults = {key: kind.model_fields[key].default for key in _CHOICE_OF_WINDOWS}
        fields |= {key: (int, Field(default, description=unused)) for key, default in defaults.items()}
        without_effect |= {*_CHOICE_OF_WINDOWS}
    named = kind.__name__.replace("Captions", name)
    made: Any = create_model(named, __base__=(kind, task), __module__=task.__module__, **fields)
    made.__doc__ = (kind.__doc__ or "").replace("No captions.", none)
    made.without_effect = without_effect
    setattr(sys.modules[task.__module__], named, made)
    return made
