"""Ending a process with all that it started, as long as that stayed in its session."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path


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
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError, IndexError):
            state, _, _, session = (entry / "stat").read_text().rsplit(")", 1)[1].split()[:4]
            if int(session) == leader and state != "Z":
                found.append(int(entry.name))
    return found
