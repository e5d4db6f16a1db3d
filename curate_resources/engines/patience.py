"""Waiting for a cluster: after half a minute people hear what for, and after a bound it is an error."""

import logging
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeVar

from gpu_kernels.errors import OperatingError

_progress = logging.getLogger("curate.progress")

SAY_SECONDS = 30.0
"""After this long, and from then on every minute, people hear what is waited for."""
_AGAIN_SECONDS = 60.0

_Answer = TypeVar("_Answer")


class ClusterUnreachable(OperatingError):
    """A cluster, or what runs jobs there, does not answer, or refuses; the message says where and why."""


class NoPlace(OperatingError):
    """A cluster that answers had no room for so long that the run gave up."""


class Wait:
    """One wait for something outside of this process; ask `go_on` while it lasts.

    Args:
        what: what is waited for, as in "waiting for {what}".
        most_seconds: how long at most; None: for ever.
        say_seconds: after how long people hear of it for the first time.
    """

    def __init__(self, what: str, most_seconds: float | None = None, say_seconds: float | None = None) -> None:
        self.what = what
        self._most, self._say_at = most_seconds, SAY_SECONDS if say_seconds is None else say_seconds
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long it has lasted."""
        return time.monotonic() - self._began

    def go_on(self, detail: str = "") -> bool:
        """Whether there is time left; says what is waited for when that is due."""
        seconds = self.seconds
        if self._most is not None and seconds >= self._most:
            return False
        if seconds >= self._say_at:
            self._say_at += _AGAIN_SECONDS
            # A warning is shown even where nobody shows progress.
            _progress.warning("waiting for %s: %.0f s so far%s", self.what, seconds, f"; {detail}" if detail else "")
        return True


def answered(what: str, ask: Callable[[], _Answer], most_seconds: float, remedy: str = "") -> _Answer:
    """What `ask` gives. It runs in a thread: most calls to a cluster can neither be interrupted nor given a bound.

    Args:
        what: who is to answer.
        remedy: what to do if nobody does.

    Raises:
        ClusterUnreachable: there was no answer in time. The call is left to itself.
    """
    done = threading.Event()
    result: list[_Answer] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            result.append(ask())
        except BaseException as error:
            errors.append(error)
        finally:
            done.set()

    wait = Wait(what, most_seconds)
    threading.Thread(target=run, name=f"ask {what}", daemon=True).start()
    while not done.wait(min(1.0, most_seconds)):
        if not wait.go_on():
            raise ClusterUnreachable(f"{what} has not answered for {wait.seconds:.0f} s{remedy and f': {remedy}'}")
    if errors:
        raise errors[0]
    return result[0]


@contextmanager
def saying(what: str) -> Generator[None, None, None]:
    """Say what is waited for while the block lasts, which ends by itself but cannot be asked in between."""
    over, wait = threading.Event(), Wait(what)

    def run() -> None:
        while not over.wait(1.0):
            wait.go_on()

    threading.Thread(target=run, name=f"wait for {what}", daemon=True).start()
    try:
        yield
    finally:
        over.set()
