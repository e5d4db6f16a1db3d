"""Runs a command and measures all of it, whatever processes it starts and leaves to themselves.

    python benchmarks/meter.py [--file FOLDER] [--line TEXT] [--out FILE] -- COMMAND ...

Appends one JSON line: wall seconds, CPU seconds of every process, the peak of their memory, the seconds until the first
file (`--file`: an .mp4 below FOLDER) or the first printed line with TEXT, and the exit code.

Ray's workers are waited for by nobody, so the CPU time of a parent and its children lacks most of what a run costs. The
command therefore gets a control group of its own; where none can be made, processes are sampled, which misses what
ends between two samples, and the line says so. Memory is proportional (PSS): shared pages count once, divided.
"""

# pyright: basic

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

SAMPLE_SECONDS = 1.0
GRACE_SECONDS = 8.0
"""How long processes may outlive the command before they are killed and counted as left behind."""

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Measured:
    """What one command cost.

    Attributes:
        exit_code: None if the time ran out.
        wall_s: until the command itself ended.
        cpu_s: user and system time of all its processes, those that outlive it included.
        cpu_by: "cgroup", or "samples" where that is a lower bound.
        first_s: seconds until `first` was seen; None if it never was.
        left_behind: processes that had to be killed after the command's end.
        other_cpu_s: CPU time that the rest of the machine used meanwhile; wall times count only while it is small.
    """

    exit_code: int | None
    wall_s: float
    cpu_s: float
    cpu_by: str
    peak_mib: int
    first_s: float | None
    left_behind: int
    other_cpu_s: float


class Group(Protocol):
    """The processes of one command."""

    kind: str

    def entering(self, command: Sequence[str]) -> list[str]:
        """The command that starts `command` as the group's first process."""
        ...

    def processes(self) -> list[int]:
        """The ids of those that live."""
        ...

    def cpu_seconds(self) -> float:
        """Used by all that ever were in it."""
        ...

    def close(self) -> None:
        """Remove it; it is empty."""
        ...


class ControlGroup:
    """Counted by the kernel: nothing escapes."""

    kind = "cgroup"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()

    def entering(self, command: Sequence[str]) -> list[str]:
        """See Group."""
        return ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(self._folder / "cgroup.procs"), *command]

    def processes(self) -> list[int]:
        """See Group."""
        return [int(line) for line in (self._folder / "cgroup.procs").read_text().split()]

    def cpu_seconds(self) -> float:
        """See Group."""
        version_1 = self._folder / "cpuacct.usage"
        if version_1.exists():
            return int(version_1.read_text()) / 1e9
        return int((self._folder / "cpu.stat").read_text().split()[1]) / 1e6

    def close(self) -> None:
        """See Group."""
        self._folder.rmdir()


class Samples:
    """Known by a variable in their environment, which they all inherit: a lower bound."""

    kind = "samples"

    def __init__(self, name: str) -> None:
        self._mark = f"MEASURED={name}"
        self._used: dict[tuple[int, str], float] = {}

    def entering(self, command: Sequence[str]) -> list[str]:
        """See Group."""
        return ["env", self._mark, *command]

    def processes(self) -> list[int]:
        """See Group."""
        found: list[int] = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and self._mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    stat = (entry / "stat").read_text().rpartition(")")[2].split()
                    self._used[int(entry.name), stat[19]] = (int(stat[11]) + int(stat[12])) / _TICKS
                    found.append(int(entry.name))
            except OSError:  # another's, or gone
                continue
        return found

    def cpu_seconds(self) -> float:
        """See Group."""
        return sum(self._used.values())

    def close(self) -> None:
        """See Group."""


def own_group() -> Group:
    """A control group below the one of this process, in either version of the interface; else samples."""
    name = f"measured-{os.getpid()}-{time.monotonic_ns()}"
    bases: list[Path] = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpuacct" in controllers.split(","):
            bases.insert(0, Path("/sys/fs/cgroup/cpuacct") / path.lstrip("/"))
        elif not controllers:
            bases.append(Path("/sys/fs/cgroup") / path.lstrip("/"))
    for base in bases:
        if (base / "cgroup.procs").exists() and os.access(base / "cgroup.procs", os.W_OK):
            try:
                return ControlGroup(base / name)
            except OSError:
                continue
    return Samples(name)


def measure(
    command: Sequence[str],
    log: Path,
    first: Callable[[], bool] | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = 1500,
) -> Measured:
    """Run a command to its end, or to its timeout, and end what it leaves behind.

    Args:
        log: takes what it prints, to both streams.
        first: asked once a second whether the first result is there.
        environment: all of it; None for this process's own.
    """
    group = own_group()
    busy, started = _machine_cpu(), time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            group.entering(command), stdout=output, stderr=subprocess.STDOUT, env=environment, stdin=subprocess.DEVNULL
        )
    exit_code = None
    try:
        peak, first_s = _watched(group, process, first, started, timeout)
        wall, exit_code = time.monotonic() - started, process.poll()
    finally:  # also when this process is interrupted
        left_behind = _end(group, GRACE_SECONDS if exit_code is not None else 0.0)
        process.wait()
        cpu = group.cpu_seconds()
        group.close()
    return Measured(
        exit_code=exit_code,
        wall_s=round(wall, 2),
        cpu_s=round(cpu, 2),
        cpu_by=group.kind,
        peak_mib=peak >> 20,
        first_s=None if first_s is None else round(first_s, 2),
        left_behind=left_behind,
        other_cpu_s=round(_machine_cpu() - busy - cpu, 1),
    )


def _watched(
    group: Group, process: "subprocess.Popen[bytes]", first: Callable[[], bool] | None, started: float, timeout: float
) -> tuple[int, float | None]:
    """Sample until the command ends or its time is over; peak memory in bytes, and when the first result was there."""
    peak, first_s = 0, None
    while True:
        ended = process.poll() is not None
        peak = max(peak, memory(group.processes()))
        if first is not None and first_s is None and first():
            first_s = time.monotonic() - started
        left = timeout - (time.monotonic() - started)
        if ended or left <= 0:
            return peak, first_s
        with suppress(subprocess.TimeoutExpired):
            process.wait(min(SAMPLE_SECONDS, left))


def memory(processes: Iterable[int]) -> int:
    """Proportional memory of processes, in bytes."""
    total = 0
    for pid in processes:
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) << 10 for line in rollup.splitlines() if line.startswith("Pss:"))
    return total


def file_below(folder: Path, suffix: str = ".mp4") -> Callable[[], bool]:
    """Whether there is a file of that suffix anywhere below a folder."""
    return lambda: any(name.endswith(suffix) for _, _, names in os.walk(folder) for name in names)


def line_with(log: Path, text: str) -> Callable[[], bool]:
    """Whether a command that writes to `log` has printed a text."""
    return lambda: text.encode() in log.read_bytes()


def _end(group: Group, grace: float) -> int:
    """Wait for the group to empty, then kill what is left; how many that were."""
    deadline = time.monotonic() + grace
    while group.processes() and time.monotonic() < deadline:
        time.sleep(0.2)
    killed: set[int] = set()
    while alive := group.processes():
        for pid in alive:
            try:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
            except ProcessLookupError:
                continue
        time.sleep(0.1)
    return len(killed)


def _machine_cpu() -> float:
    """Seconds that all cores together have not been idle since the machine started."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / _TICKS


def main() -> int:
    """Parse the command line."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what is measured ends with this
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="file that the line is appended to; printed where not said")
    parser.add_argument("--log", type=Path, default=Path("/dev/null"), help="file for what the command prints")
    parser.add_argument("--file", type=Path, help="the first .mp4 below this folder is the first result")
    parser.add_argument("--line", help="the first printed line with this text is the first result; needs --log")
    parser.add_argument("--timeout", type=float, default=1500)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    first = file_below(arguments.file) if arguments.file else None
    first = line_with(arguments.log, arguments.line) if arguments.line else first
    measured = measure(command, arguments.log, first, timeout=arguments.timeout)
    line = json.dumps({**asdict(measured), "command": command})
    if arguments.out:
        with arguments.out.open("a") as out:
            out.write(line + "\n")
    else:
        print(line)
    return 0 if measured.exit_code == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
