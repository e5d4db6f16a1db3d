"""The backends that refine captions: those that caption, asked with the first caption beside the frames."""

from abc import ABC
from typing import Any, ClassVar, Literal

from pydantic import Field, create_model, model_validator

from gpu_kernels.backends import Backends
from gpu_kernels.captioners.captioner import CAPTIONERS
from gpu_kernels.captioners.prompts import prompt_of
from gpu_kernels.captioners.types import CaptionsConfig

_OF_CAPTIONS = ("window_frames", "remainder_frames")


class RefinedCaptionsConfig(CaptionsConfig, ABC):
    """Which vision-language model looks at windows again with their first caption, and how it is asked."""

    prompts_of: ClassVar[str] = "refined"

    @model_validator(mode="before")
    @classmethod
    def _same_windows(cls, given: Any) -> Any:
        for key in _OF_CAPTIONS if isinstance(given, dict) else ():
            if given.get(key, default := cls.model_fields[key].default) != default:
                raise ValueError(f"{key} is that of the first captions: set captions.{key}")
        return given


def _refining(kind: type[CaptionsConfig]) -> type[RefinedCaptionsConfig]:
    """The settings of a captioner, for refinement. It is in this module by its name, so that workers find it."""
    unused = "Of no use here: the windows are those of `captions`."
    said = "What the model is asked about each window; the first caption comes after it."
    fields: dict[str, Any] = {"prompt": (str, Field(prompt_of("default", "refined"), min_length=1, description=said))}
    fields |= {key: (int, Field(kind.model_fields[key].default, description=unused)) for key in _OF_CAPTIONS}
    variant = Field(default=None, description="A prompt that comes with the platform, in place of one of your own.")
    name = kind.__name__.replace("Captions", "Refinement")
    made = create_model(
        name,
        __base__=(kind, RefinedCaptionsConfig),
        __module__=__name__,
        prompt_variant=(Literal["default"] | None, variant),
        **fields,
    )
    made.__doc__ = (kind.__doc__ or "").replace("No captions.", "Captions stay as they are.")
    made.without_effect = kind.without_effect | {*_OF_CAPTIONS}
    return globals().setdefault(name, made)


REFINERS = Backends(RefinedCaptionsConfig, [_refining(kind) for kind in CAPTIONERS.kinds.values()], "curate.refiners")
