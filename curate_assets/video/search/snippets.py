"""The part of a text in which words were found."""

import re
import unicodedata
from collections.abc import Sequence

_WORD = re.compile(r"\w+")
_SHOWN = 90
"""Characters of a snippet, about."""
_ENDING = 3
"""Letters that two forms of a word may differ by at their ends."""


def snippet(text: str | Sequence[str], words: str) -> str:
    """What is shown of a text, or of a list of labels: around the first of the words, or its beginning."""
    wanted = [_folded(word) for word in _WORD.findall(words)]
    if not isinstance(text, str):
        having = [each for each in text if any(_alike(_folded(word), wanted) for word in _WORD.findall(each))]
        return ", ".join(having or text[:1])
    flat = " ".join(text.split())
    place = next((each.start() for each in _WORD.finditer(flat) if _alike(_folded(each[0]), wanted)), 0)
    start = max(0, place - _SHOWN // 3)
    if start:
        start = flat.find(" ", start, place) + 1 or start
    end = min(len(flat), start + _SHOWN)
    if end < len(flat):
        end = max(flat.rfind(" ", place + 1, end), place + 1)
    return ("…" if start else "") + flat[start:end] + ("…" if end < len(flat) else "")


def _folded(word: str) -> str:
    return "".join(each for each in unicodedata.normalize("NFKD", word.casefold()) if not unicodedata.combining(each))


def _alike(word: str, wanted: Sequence[str]) -> bool:
    """Whether a word is one of some, or another form of it."""
    return any(word == each or _same_stem(word, each) for each in wanted)


def _same_stem(one: str, other: str) -> bool:
    common = 0
    while common < min(len(one), len(other)) and one[common] == other[common]:
        common += 1
    return common >= 3 and max(len(one), len(other)) - common <= _ENDING and min(len(one), len(other)) - common <= 1
