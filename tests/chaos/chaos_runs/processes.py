"""Finding processes and ending them, as the kernel knows them."""

import os
import re
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def kill(pids: Iterable[int]) -> None:
    """SIGKILL; those that are gone already are not minded."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def children(pid: int) -> list[int]:
    """Ids of the processes that a process started and that still run."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return [child for child in found if _fields(child)]


def descendants(pid: int) -> list[int]:
    """Children, their children, and so on."""
    below = children(pid)
    return below + [each for child in below for each in descendants(child)]


def runs(pid: int) -> bool:
    """Whether it is there and no zombie: a child whose parent was killed waits for another to reap it."""
    return bool(_fields(pid))


def command(pid: int) -> str:
    """The command line; empty when the process is gone."""
    return _read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace")


def marked(variable: str) -> list[int]:
    """Processes that run and inherited `NAME=value` in their environment."""
    return [pid for pid in _all() if variable.encode() in _read(pid, "environ").split(b"\0")]


def running(pattern: str) -> list[int]:
    """Processes that run and whose command line has a pattern."""
    return [pid for pid in _all() if re.search(pattern, command(pid))]


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of processes that run."""
    return sum(sum(map(int, fields[11:13])) for pid in pids if (fields := _fields(pid))) / _TICKS


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Look again until something holds; whether it does."""
    deadline = time.monotonic() + seconds
    while not (holds := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds


def _all() -> list[int]:
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if _fields(pid)]


def _fields(pid: int) -> list[str]:
    """What /proc tells of a process from its state on; nothing for one that is gone or only waited for."""
    fields = _read(pid, "stat").decode(errors="replace").rpartition(")")[2].split()
    return fields if fields and fields[0] != "Z" else []


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""
