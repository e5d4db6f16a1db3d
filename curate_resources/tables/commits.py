"""Commits to Lance tables that other writers, or a bad network, may spoil."""

import random
from collections.abc import Callable
from typing import TypeVar

from curate_resources.storage.retries import with_retries
from curate_resources.storage.store_errors import refusal

_MOST_CONFLICTS = 30
"""Lance plans again by itself a few times; many writers at once need more patience."""

_MOST_BROKEN = 6
"""So often a bucket may fail in the middle of a commit, each after the repetitions of every single request."""

_T = TypeVar("_T")


def committed(commit: Callable[[], _T], local: bool) -> _T:
    """The result of `commit`, which is tried again, from reading what is there on, when others were first.

    In a bucket also when it breaks: what broke may have come through, and `commit` has to look first.

    Raises:
        OSError: the last attempt's.
    """

    def unless_others_were_first() -> _T:
        return with_retries(
            commit, _conflict, _MOST_CONFLICTS, lambda number: random.uniform(0, 0.05 * 2 ** min(number, 6))
        )

    attempts = 1 if local else _MOST_BROKEN
    return with_retries(unless_others_were_first, _broken, attempts, lambda number: 0.2 * 2**number)


def _conflict(error: BaseException) -> bool:
    return isinstance(error, OSError) and "conflict" in str(error).lower()


def _broken(error: BaseException) -> bool:
    if isinstance(error, FileNotFoundError) or _conflict(error):
        return False
    return isinstance(error, OSError) and refusal(str(error)) is None
