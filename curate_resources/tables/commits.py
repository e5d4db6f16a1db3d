"""Commits to Lance tables that other writers, or a bad network, may spoil."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

_MOST_CONFLICTS = 30
"""Lance plans again by itself a few times; many writers at once need more patience."""

_MOST_BROKEN = 6
"""So often a bucket may fail in the middle of a commit, each after the repetitions of every single request."""

_T = TypeVar("_T")


def patiently(commit: Callable[[], _T], local: bool) -> _T:
    """The result of `commit`, which is tried again, from reading what is there on, when others were first.

    In a bucket also when it breaks: what broke may have come through, and `commit` has to look first.

    Raises:
        OSError: the last attempt's.
    """
    conflicts = broken = 0
    while True:
        try:
            return commit()
        except FileNotFoundError:
            raise
        except OSError as error:
            if "conflict" in str(error).lower():
                conflicts += 1
                pause = random.uniform(0, 0.05 * 2 ** min(conflicts, 6))
            else:
                broken += 1
                pause = 0.2 * 2**broken
            if conflicts == _MOST_CONFLICTS or broken == (1 if local else _MOST_BROKEN):
                raise
            time.sleep(pause)
