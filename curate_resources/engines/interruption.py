"""Ctrl-C and SIGTERM end a command, even where a library swallows the signal.

Both raise KeyboardInterrupt in the main thread. Some code loses it: Dagster puts signals off between steps and may
forget them, and Python drops what is raised in callbacks and destructors. So a thread hears of every signal, too, and
sends it again until somebody says that the work is ending.
"""

import math
import signal
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

_AGAIN_SECONDS = 2.0

_meaning = "canceled; what was committed is kept"

_asked = threading.Event()
_expected = threading.Event()
_noticed_at = -math.inf
_told: socket.socket | None = None


def watch() -> None:
    """Begin to watch, in the main thread."""
    global _told
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    _told, _ = _listen()


@contextmanager
def watched() -> Generator[None]:
    """Watch while Dagster runs something and handles the signals itself; outside the main thread nothing is done."""
    global _told
    if _told is not None or threading.current_thread() is not threading.main_thread():
        yield
        return
    told, before = _listen()
    _told = told
    try:
        yield
    finally:
        _told = None
        notice()
        signal.set_wakeup_fd(before)
        told.close()


def asked() -> bool:
    """Whether whoever started this process wants it to end."""
    return _asked.is_set() and not _expected.is_set()


def meaning() -> str:
    """What the user is told after an interrupt."""
    return _meaning


def means(text: str) -> None:
    """From now on an interrupt has another meaning."""
    global _meaning
    _meaning = text


def expect() -> None:
    """From now on an interrupt is how this process ends, not a cancellation."""
    _expected.set()


def notice() -> None:
    """Say that the interrupt has arrived and the work is ending: the signal is not sent again."""
    global _noticed_at
    _noticed_at = time.monotonic()


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    _asked.set()
    raise KeyboardInterrupt


def _listen() -> tuple[socket.socket, int]:
    """Have a thread hear of signals, until the socket that is returned is closed; and what heard of them before."""
    heard, told = socket.socketpair()
    told.setblocking(False)
    threading.Thread(target=_insist, args=(heard,), daemon=True, name="interruption").start()
    return told, signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)


def _insist(heard: socket.socket) -> None:
    main = threading.main_thread().ident
    assert main is not None
    with heard:
        while number := heard.recv(1):
            if number[0] in (signal.SIGINT, signal.SIGTERM):
                break
        else:
            return
    _asked.set()
    earliest = time.monotonic() - _AGAIN_SECONDS  # the main thread may notice it before this one hears of it
    while True:
        time.sleep(_AGAIN_SECONDS)
        if _expected.is_set() or _noticed_at > earliest:
            return
        signal.pthread_kill(main, signal.SIGINT)
