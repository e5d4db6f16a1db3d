"""Judges of captions: the backends that caption, asked which of two captions of a window is better."""

import hashlib
import json
from abc import ABC
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from pydantic import Field, create_model, model_validator

from gpu_kernels.backends import Backends
from gpu_kernels.captioners.answers import read_object
from gpu_kernels.captioners.captioner import CAPTIONERS
from gpu_kernels.captioners.prompts import prompt_of
from gpu_kernels.captioners.types import CaptionsConfig

Winner = Literal["first", "second", "tie"]

_WINNERS: tuple[Winner, ...] = get_args(Winner)
_OF_CAPTIONS = ("window_frames", "remainder_frames")
_FORM = (
    'Reply with one JSON object and nothing else: {"reason": "one sentence that names what decides", '
    f'"winner": "{"|".join(_WINNERS)}"}}'
)

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"reason": {"type": "string"}, "winner": {"type": "string", "enum": [*_WINNERS]}},
    "required": ["reason", "winner"],
    "additionalProperties": False,
}
"""Of an answer. The reason comes first: a model that has to give one decides by it."""


class JudgeConfig(CaptionsConfig, ABC):
    """Which vision-language model judges captions for `curate compare captions`, and how it is asked."""

    prompts_of: ClassVar[str] = "judge"

    guided: bool = True
    """Whether a backend that can is made to keep to the form of the answer. Without it, for servers that do not know
    `response_format`, what the model writes is repaired where it has to be."""

    @model_validator(mode="before")
    @classmethod
    def _same_windows(cls, given: Any) -> Any:
        for key in _OF_CAPTIONS if isinstance(given, dict) else ():
            if given.get(key, default := cls.model_fields[key].default) != default:
                raise ValueError(f"{key} is that of the captions that are compared: set captions.{key}")
        return given

    def question(self, first: str, second: str) -> str:
        """What is asked about two captions. They are quoted, so that neither can pass for the other or for a part of
        the question."""
        captions = "\n".join(
            f"{name}: {json.dumps(text, ensure_ascii=False)}" for name, text in (("first", first), ("second", second))
        )
        return f"{self.prompt}\n\n{captions}\n\n{_FORM}"

    def digest(self) -> str:
        """16 hexadecimal digits over all that its judgements depend on besides the window and the captions."""
        asked = [self.identity(), self.settings(), self.question("", "")]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Verdict:
    """Which of two captions is better, and why."""

    winner: Winner
    reason: str


def read_verdict(text: str) -> Verdict | None:
    """The verdict in what a judge wrote; None: there is none."""
    said = read_object(text) or {}
    winner = str(said.get("winner")).strip().rstrip(".").casefold()
    return Verdict(winner, str(said.get("reason") or "").strip()) if winner in _WINNERS else None


def _judging(kind: type[CaptionsConfig]) -> type[JudgeConfig]:
    """The settings of a captioner, for judgements. It is in this module by its name, so that workers find it."""
    unused = "Of no use here: the windows are those of the captions that are compared."
    said = "What the judge is told; the two captions and the form of the answer come after it."
    fields: dict[str, Any] = {"prompt": (str, Field(prompt_of("default", "judge"), min_length=1, description=said))}
    fields |= {key: (int, Field(kind.model_fields[key].default, description=unused)) for key in _OF_CAPTIONS}
    variant = Field(default=None, description="A prompt that comes with the platform, in place of one of your own.")
    name = kind.__name__.replace("Captions", "Judge")
    made = create_model(
        name,
        __base__=(kind, JudgeConfig),
        __module__=__name__,
        prompt_variant=(Literal["default"] | None, variant),
        **fields,
    )
    made.__doc__ = (kind.__doc__ or "").replace("No captions.", "Captions cannot be compared.")
    made.without_effect = kind.without_effect | {*_OF_CAPTIONS}
    return globals().setdefault(name, made)


JUDGES = Backends(JudgeConfig, [_judging(kind) for kind in CAPTIONERS.kinds.values()], "curate.judges")
