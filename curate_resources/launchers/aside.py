"""Asking for what is good to know, beside the work: in a thread, now and then, and never waited for."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

_log = logging.getLogger("curate.engine")
_Answer = TypeVar("_Answer")
_SHARE = 0.1
"""Most of the time that is spent asking: whose answers are long in coming is asked less often."""
_MOST_SECONDS = 60.0


class Aside(Generic[_Answer]):
    """Asks something every so often.

    Attributes:
        every_seconds: at most this often.
    """

    def __init__(self, ask: Callable[[], _Answer], every_seconds: float) -> None:
        self._ask, self.every_seconds = ask, every_seconds
        self._thread: threading.Thread | None = None
        self._next = 0.0
        self._answers: list[_Answer] = []

    def take(self) -> _Answer | None:
        """The answer that came in since the last time, if any."""
        answer = self._answers.pop() if self._answers else None
        if (self._thread is None or not self._thread.is_alive()) and time.monotonic() >= self._next:
            self._start()
        return answer

    def last(self, seconds: float) -> _Answer | None:
        """A new answer, if it comes within some seconds."""
        ends = time.monotonic() + seconds
        if self._thread is not None:
            self._thread.join(seconds)
        if self._thread is None or not self._thread.is_alive():
            self._start().join(max(0.0, ends - time.monotonic()))
        return self._answers.pop() if self._answers else None

    def _start(self) -> threading.Thread:
        self._thread = threading.Thread(target=self._run, name="ask aside", daemon=True)
        self._thread.start()
        return self._thread

    def _run(self) -> None:
        began = time.monotonic()
        try:
            self._answers[:] = [self._ask()]
        except Exception as error:
            _log.debug("asked in vain: %s", error)
        now = time.monotonic()
        self._next = now + max(self.every_seconds, min((now - began) / _SHARE, _MOST_SECONDS))
