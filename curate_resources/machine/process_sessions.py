"""Ending a process with all that it started, as long as that stayed in its session."""

import os
import signal
import time
from contextlib import suppress


def end_session(leader: int, patience: float) -> None:
    """Ask the leader of a session to end with SIGTERM. Whatever is left of the session after some seconds is killed."""
    with suppress(ProcessLookupError):
        os.kill(leader, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while members(leader) and time.monotonic() < deadline:
        with suppress(ChildProcessError):
            os.waitpid(leader, os.WNOHANG)
        time.sleep(0.1)
    for pid in members(leader):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def members(leader: int) -> list[int]:
    """The processes of a session that are alive."""
    import psutil

    found: list[int] = []
    for process in psutil.process_iter(["status"]):
        with suppress(OSError):
            if os.getsid(process.pid) == leader and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found
