"""Ctrl-C and SIGTERM end a command, even where a library swallows the signal.

Both raise KeyboardInterrupt in the main thread. Some code loses it: Dagster puts signals off between steps and may
forget them, and Python drops what is raised in callbacks and destructors. So a thread hears of every signal, too, and
sends it again until somebody says that the work is ending.
"""

import signal
import socket
import threading
from types import FrameType

_AGAIN_SECONDS = 2.0

_meaning = "canceled; what was committed is kept"

_asked = threading.Event()
_noticed = threading.Event()
_expected = threading.Event()


def watch() -> None:
    """Begin to watch, in the main thread."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    heard, told = socket.socketpair()
    told.setblocking(False)
    signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_insist, args=(heard, told), daemon=True, name="interruption").start()


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
    _noticed.set()


def notice() -> None:
    """Say that the interrupt has arrived and the work is ending: the signal is not sent again."""
    if asked():
        _noticed.set()


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    _asked.set()
    raise KeyboardInterrupt


def _insist(heard: socket.socket, _told: socket.socket) -> None:
    main = threading.main_thread().ident
    assert main is not None
    while heard.recv(1)[0] not in (signal.SIGINT, signal.SIGTERM):
        pass
    _asked.set()
    while not _noticed.wait(_AGAIN_SECONDS):
        signal.pthread_kill(main, signal.SIGINT)
