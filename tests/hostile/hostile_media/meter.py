"""What the processes below this one use while it works on a file."""

import os
import threading
from dataclasses import dataclass
from pathlib import Path

_PERIOD_SECONDS = 0.02
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Usage:
    """The most that one process used: resident memory in MiB, CPU seconds."""

    peak_mib: float = 0.0
    cpu_seconds: float = 0.0


class Meter:
    """Samples all descendants. The kernel keeps each one's peak, so only the end of a short life can be missed."""

    def __init__(self) -> None:
        self._usage = Usage()
        self._before: dict[int, float] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def take(self) -> Usage:
        """The largest since the last call; of processes that live on, what they used since then."""
        with self._lock:
            usage, self._usage = self._usage, Usage()
            self._before = {pid: seen[1] for pid in descendants() if (seen := _seen(pid))}
        return usage

    def close(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(_PERIOD_SECONDS):
            with self._lock:
                for pid in descendants():
                    if seen := _seen(pid):
                        self._usage.peak_mib = max(self._usage.peak_mib, seen[0])
                        seconds = seen[1] - self._before.get(pid, 0.0)
                        self._usage.cpu_seconds = max(self._usage.cpu_seconds, seconds)


def descendants() -> list[int]:
    """Ids of all programs below this one that still run; one that is about to be started still looks like this one."""
    found, waiting = list[int](), [os.getpid()]
    while waiting:
        below = _children(waiting.pop())
        found += below
        waiting += below
    return [pid for pid in found if _seen(pid) and _command(pid) != _command(os.getpid()) and _in_this_session(pid)]


def _in_this_session(pid: int) -> bool:
    try:
        return os.getsid(pid) == os.getsid(0)  # a cluster that other tests share is a session of its own
    except ProcessLookupError:
        return False


def _children(pid: int) -> list[int]:
    try:
        lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return []
    return [int(child) for text in lists for child in text.split()]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _seen(pid: int) -> tuple[float, float] | None:
    """Peak of the resident memory in MiB and CPU seconds; None of a process that has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        times = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    if "VmHWM:" not in status:
        return None
    return int(status.split("VmHWM:")[1].split()[0]) / 1024, (int(times[11]) + int(times[12])) / _TICKS
