"""What words ask for: phrases stand in quotation marks, and each has to be there as it is."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from curate_assets.video.search.snippets import alike, folded_words, meant_words

_QUOTED = re.compile(r"""["\u201c\u201d\u201e]([^"\u201c\u201d\u201e]*)["\u201c\u201d\u201e]""")


@dataclass(frozen=True)
class AskedWords:
    """Words that a text may have, and phrases that it has to have.

    Attributes:
        any_of: words, of which more count more.
        phrases: each some words in a row.
    """

    any_of: str
    phrases: tuple[str, ...] = ()

    @classmethod
    def of(cls, words: str) -> "AskedWords":
        """What is meant by words as somebody typed them. A quotation mark without another one is none."""
        phrases = tuple(each for each in _QUOTED.findall(words) if folded_words(each))
        if not phrases:
            return cls(meant_words(words))
        left = _QUOTED.sub(" ", words)
        return cls(meant_words(left) if folded_words(left) else "", phrases)

    def in_text(self, text: str | Sequence[str] | None) -> bool:
        """Whether a text, or one of a list of labels, has all phrases: their words in a row, in any form that full text
        finds."""
        texts = [text] if isinstance(text, str) else text or ()
        found = [folded_words(each) for each in texts]
        return all(any(_has(words, folded_words(phrase)) for words in found) for phrase in self.phrases)


def _has(words: Sequence[str], phrase: Sequence[str]) -> bool:
    return any(
        all(alike(word, [wanted]) for word, wanted in zip(words[start:], phrase, strict=False))
        for start in range(len(words) - len(phrase) + 1)
    )
