"""Answers read from what a model wrote: one JSON object, as it is or repaired.

The repairs are those of NVIDIA Cosmos-Curate, so that the same text gives the same answers.
"""

import json
import re
from typing import Any

from gpu_kernels.captioners.questions import NO, YES, Question, Questions, same_key

_THOUGHT_ENDS = "</think>"
_ANSWER_TAGS = re.compile(r"</?answer>")
_COMMA_MISSING = re.compile(r'("|\btrue|\bfalse|\bnull|\d)([ \t]*\r?\n\s*")')


def read_answers(text: str | None, questions: Questions) -> dict[str, str | None] | None:
    """The answers to some questions by key; None for one that is missing or is none of its choices.

    Returns:
        None: the text is malformed, it holds no JSON object.
    """
    found = read_object(text) if text is not None else None
    if found is None:
        return None
    said = {same_key(key): value for key, value in found.items()}
    return {key: _choice(question, said.get(same_key(key))) for key, question in questions.items()}


def read_object(text: str) -> dict[str, Any] | None:
    """The first JSON object in a text, as it is or repaired; None: there is none."""
    text = _ANSWER_TAGS.sub("", text.rpartition(_THOUGHT_ENDS)[2])
    start = text.find("{")
    if start < 0:
        return None
    try:
        return json.JSONDecoder().raw_decode(text, start)[0]
    except (ValueError, RecursionError):
        pass
    repaired = _COMMA_MISSING.sub(r"\1,\2", text[start:].replace('\\"', '"'))
    try:
        return json.loads(_balanced(repaired))
    except (ValueError, RecursionError):
        return None


def _balanced(text: str) -> str:
    """Up to the brace that closes the one it begins with; nothing where none does."""
    depth = 0
    for position, character in enumerate(text):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            return text[: position + 1]
    return ""


def _choice(question: Question, said: Any) -> str | None:
    if isinstance(said, bool):
        said = YES if said else NO
    word = str(said).strip().rstrip(".").casefold()
    return next((each for each in question.choices if each.strip().casefold() == word), None)
