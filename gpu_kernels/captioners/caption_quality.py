"""What is suspicious about a caption, by its words alone: by the rules of NVIDIA Cosmos-Curator, and texts that say
nothing.

A word is what stands between white space, in small letters, without the punctuation around it.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field, model_validator

from gpu_kernels.strict import StrictModel

TOO_SHORT, TOO_LONG = "too_short", "too_long"
REPETITIVE = "repetitive"
NEAR_DUPLICATE = "near_duplicate"
SAYS_NOTHING = "says_nothing"
FLAGS = (TOO_SHORT, TOO_LONG, REPETITIVE, NEAR_DUPLICATE, SAYS_NOTHING)

_AROUND = re.compile(r"^\W+|\W+$")


class CaptionQualityConfig(StrictModel):
    """Which captions are flagged. Flags reject nothing. The limits are those of NVIDIA Cosmos-Curator."""

    min_words: int = Field(default=4, ge=0)
    """A caption of fewer words is `too_short`."""
    max_words: int = Field(default=1024, ge=1)
    """A caption of more words is `too_long`."""
    word_share: float = Field(default=0.5, gt=0, le=1)
    """A caption is `repetitive` if one word makes up this share of it, from `word_share_from` words on."""
    word_share_from: int = Field(default=6, ge=1)
    """The fewest words for `word_share`."""
    trigram_times: int = Field(default=3, ge=2)
    """A caption is `repetitive` if any three words in a row occur this many times."""
    distinct_share: float = Field(default=0.4, ge=0, le=1)
    """A caption is `repetitive` if its different words are a smaller share of all its words, from
    `distinct_share_from` words on."""
    distinct_share_from: int = Field(default=8, ge=1)
    """The fewest words for `distinct_share`."""
    neighbour_similarity: float = Field(default=0.9, gt=0, le=1)
    """A caption is a `near_duplicate` of that of the window before or after if they share this much of all their
    different words."""
    refusals: list[str] = Field(
        default=[
            "I'm sorry",
            "I am sorry",
            "Sorry, I",
            "Sorry, but I",
            "I can't",
            "I cannot",
            "I'm unable",
            "I am unable",
            "I'm not able",
            "I am not able",
            "As an AI",
        ]
    )
    """A caption that begins with one of these `says_nothing`."""
    placeholders: list[str] = Field(
        default=["N/A", "NA", "None", "Null", "Unknown", "No caption", "No description", "No description available"]
    )
    """A caption that is one of these, and nothing else, `says_nothing`; so does one without words, and one that repeats
    the prompt."""

    @model_validator(mode="after")
    def _in_order(self) -> "CaptionQualityConfig":
        if self.min_words > self.max_words:
            raise ValueError("min_words must not exceed max_words")
        return self


@dataclass(frozen=True)
class CaptionQuality:
    """What was found in a caption.

    Attributes:
        words: how many there are.
        distinct_share: different words among all; None without words.
        neighbour_similarity: the greater of the two, words that it shares with a neighbouring caption among all
            different words of both; None without a neighbour.
        flags: of `FLAGS`, in their order.
    """

    words: int
    distinct_share: float | None
    neighbour_similarity: float | None
    flags: list[str]


def words_of(text: str) -> list[str]:
    """The words of a text."""
    pieces = (_AROUND.sub("", piece) for piece in text.casefold().replace("\u2019", "'").split())
    return [piece for piece in pieces if piece]


def caption_qualities(
    texts: Sequence[str | None], prompts: Sequence[str], config: CaptionQualityConfig
) -> list[CaptionQuality | None]:
    """The quality of the captions of a clip's windows, in order; None for a window without a caption.

    Args:
        prompts: by caption, what the model was asked.
    """
    words = [words_of(text) if text is not None else None for text in texts]
    found: list[CaptionQuality | None] = []
    for index, (own, prompt) in enumerate(zip(words, prompts, strict=True)):
        beside = [words[at] for at in (index - 1, index + 1) if 0 <= at < len(words)]
        found.append(
            _quality(own, [other for other in beside if other is not None], prompt, config) if own is not None else None
        )
    return found


def _quality(
    words: list[str], neighbours: list[list[str]], prompt: str, config: CaptionQualityConfig
) -> CaptionQuality:
    similarity = max((similarity_of(words, other) for other in neighbours), default=None)
    holds = {
        TOO_SHORT: len(words) < config.min_words,
        TOO_LONG: len(words) > config.max_words,
        REPETITIVE: _repetitive(words, config),
        NEAR_DUPLICATE: similarity is not None and similarity >= config.neighbour_similarity,
        SAYS_NOTHING: _says_nothing(words, words_of(prompt), config),
    }
    distinct = len(set(words)) / len(words) if words else None
    return CaptionQuality(len(words), distinct, similarity, [flag for flag in FLAGS if holds[flag]])


def similarity_of(words: Sequence[str], others: Sequence[str]) -> float:
    """Jaccard's index of the different words; 1 of two texts without any."""
    both = {*words, *others}
    return len({*words} & {*others}) / len(both) if both else 1.0


def _repetitive(words: Sequence[str], config: CaptionQualityConfig) -> bool:
    count = len(words)
    if count >= config.word_share_from and max(Counter(words).values()) >= config.word_share * count:
        return True
    trigrams = Counter(zip(words, words[1:], words[2:], strict=False))
    if max(trigrams.values(), default=0) >= config.trigram_times:
        return True
    return count >= config.distinct_share_from and len(set(words)) < config.distinct_share * count


def _says_nothing(words: list[str], prompt: list[str], config: CaptionQualityConfig) -> bool:
    if not words or words in map(words_of, config.placeholders):
        return True
    if any(beginning and words[: len(beginning)] == beginning for beginning in map(words_of, config.refusals)):
        return True
    return bool(prompt) and any(words[at : at + len(prompt)] == prompt for at in range(len(words) - len(prompt) + 1))
