"""Verdicts on a clip from a model's answers about its windows: the rules of NVIDIA Cosmos-Curate's semantic filter and
classifier.

Answers are kept and verdicts follow from them, so another threshold or another list asks nothing again.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

Answers = Mapping[str, str | None] | None
"""Of one window, by key; None: what the model wrote could not be read. A key that is missing or null counts as no."""


@dataclass(frozen=True)
class Verdict:
    """What speaks against a clip.

    Attributes:
        share: of its windows, those that are rejected or that have a blocked label; None without windows. Windows that
            could not be read are among all windows, and are not rejected.
        reasons: by window, the keys that speak against it, in order.
        passes: whether the clip is kept.
    """

    share: float | None
    reasons: tuple[tuple[str, ...], ...]
    passes: bool


def filtered(windows: Sequence[Answers], criteria: Collection[str], most: float = 0.5) -> Verdict:
    """The verdict of a filter, whose criteria speak against a window where the answer is yes.

    A clip does not pass if more than the share `most` of its windows is rejected, if no window could be read, or if it
    has no windows.
    """
    reasons = tuple(_of(answers, criteria, "yes") for answers in windows)
    share = _share(reasons)
    readable = any(answers is not None for answers in windows)
    return Verdict(share, reasons, share is not None and readable and share <= most)


def classified(
    windows: Sequence[Answers], allow: Collection[str] = (), block: Collection[str] = (), most: float = 0.5
) -> Verdict:
    """The verdict of a classifier, whose labels a window has where the answer is yes.

    A clip passes if any window has a label that is allowed, or all labels are since `allow` is empty, and if no more
    than the share `most` of its windows has one that is blocked. Without windows it passes only if neither is asked.
    """
    blocked = tuple(_of(answers, block, "yes") for answers in windows)
    share = _share(blocked)
    allowed = not allow or any(_of(answers, allow, "yes") for answers in windows)
    reasons = tuple(
        tuple(sorted({*_of(answers, allow, "no"), *hits})) for answers, hits in zip(windows, blocked, strict=True)
    )
    return Verdict(share, reasons, not (allow or block) if share is None else allowed and share <= most)


def labels_of(windows: Sequence[Answers], labels: Collection[str]) -> list[str]:
    """Every label that any window has, sorted."""
    return sorted({label for answers in windows for label in _of(answers, labels, "yes")})


def _of(answers: Answers, keys: Collection[str], answer: str) -> tuple[str, ...]:
    if answers is None:
        return ()
    return tuple(sorted(key for key in keys if (answers.get(key) or "no") == answer))


def _share(hits: Sequence[tuple[str, ...]]) -> float | None:
    return sum(map(bool, hits)) / len(hits) if hits else None
