"""The words that a question is about, and the part of a text in which they were found."""

import re
import unicodedata
from collections.abc import Sequence

_WORD = re.compile(r"\w+")
_SHOWN = 90
"""Characters of a snippet, about."""
_ENDING = 3
"""Letters that two forms of a word may differ by at their ends."""


_OF_SENTENCES = frozenset(
    """a an and are as at be but by for from has have in into is it its of on or that the their then there these they
    this to was were which while with""".split()
)


def meant_words(words: str) -> str:
    """The words that say what is looked for, without those that any English sentence has. In short texts, such as
    labels, these are rare, and would count as if they said something; if there are no others, they are kept."""
    text = unicodedata.normalize("NFC", words)  # else the accents that a Mac sends apart would end words
    left = _WORD.sub(lambda word: "" if word[0].casefold() in _OF_SENTENCES else word[0], text)
    return " ".join(left.split()) if _WORD.search(left) else text


def snippet(text: str | Sequence[str], words: str) -> str:
    """What is shown of a text, or of a list of labels: around the first of the words, or its beginning."""
    wanted = folded_words(words)
    if not isinstance(text, str):
        having = [each for each in text if any(alike(_folded(word), wanted) for word in _WORD.findall(each))]
        return ", ".join(having or text[:1])
    flat = " ".join(text.split())
    place = next((each.start() for each in _WORD.finditer(flat) if alike(_folded(each[0]), wanted)), 0)
    start = max(0, place - _SHOWN // 3)
    if start:
        start = flat.find(" ", start, place) + 1 or start
    end = min(len(flat), start + _SHOWN)
    if end < len(flat):
        end = max(flat.rfind(" ", place + 1, end), place + 1)
    return ("…" if start else "") + flat[start:end] + ("…" if end < len(flat) else "")


def folded_words(text: str) -> list[str]:
    """The words of a text, without case and accents."""
    return [_folded(word) for word in _WORD.findall(text)]


def _folded(word: str) -> str:
    return "".join(each for each in unicodedata.normalize("NFKD", word.casefold()) if not unicodedata.combining(each))


def alike(word: str, wanted: Sequence[str]) -> bool:
    """Whether a word is one of some, or another form of it."""
    return any(word == each or _same_stem(word, each) for each in wanted)


def _same_stem(one: str, other: str) -> bool:
    common = 0
    while common < min(len(one), len(other)) and one[common] == other[common]:
        common += 1
    return common >= 3 and max(len(one), len(other)) - common <= _ENDING and min(len(one), len(other)) - common <= 1
