"""Judges of captions: the backends that caption, asked which of two captions of a window is better."""

import hashlib
import json
from abc import ABC
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from pydantic import Field

from gpu_kernels.captioners.answers import read_object
from gpu_kernels.captioners.tasks import GivenWindowsConfig, captioners_for

Winner = Literal["first", "second", "tie"]

_WINNERS: tuple[Winner, ...] = get_args(Winner)
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


class JudgeConfig(GivenWindowsConfig, ABC):
    """Which vision-language model judges captions for `curate compare captions`, and how it is asked."""

    prompts_of: ClassVar[str] = "judge"
    windows_of: ClassVar[str] = "the captions that are compared"
    without_effect: ClassVar[frozenset[str]] = frozenset({"baselines", "baseline_windows"})

    guided: bool = True
    """Whether a backend that can is made to keep to the form of the answer. Without it, for servers that do not know
    `response_format`, what the model writes is repaired where it has to be."""
    baselines: dict[str, str] = Field(default_factory=dict[str, str])
    """By a table of captions, such as `captions_detailed`, the one that it should be no worse than, such as `captions`:
    after a shard was made, the judge compares windows of both for the check `regressions_few`."""
    baseline_windows: int = Field(default=30, ge=1)
    """Most windows of a shard that are judged for this check, evenly from those with different captions."""

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


JUDGES = captioners_for(
    JudgeConfig,
    "Judge",
    prompt="What the judge is told; the two captions and the form of the answer come after it.",
    none="Captions cannot be compared.",
    group="curate.judges",
)
