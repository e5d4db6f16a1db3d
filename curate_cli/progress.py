"""The shards of running plans as bars."""

import logging
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from curate_cli.printing import escaped


@contextmanager
def live_progress(root: str, quiet: bool) -> Generator[None, None, None]:
    """Show the shards of running plans as bars, fed by the `curate.progress` log.

    Meanwhile what native libraries and worker processes say on standard error goes to a log file: it would tear the
    display apart.
    """
    from curate_resources.private_folder import private_folder
    from curate_resources.storage import is_local

    log = (Path(root) / "logs" if is_local(root) else private_folder("logs")) / "curate.log"
    with _native_noise_to(log) as terminal:
        console = Console(file=terminal, force_terminal=terminal.isatty(), quiet=quiet, highlight=False)
        progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.completed:.0f}/{task.total:.0f} videos"),
            TimeElapsedColumn(),
            console=console,
        )
        handler = _Bars(progress)
        logger = logging.getLogger("curate.progress")
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.addHandler(handler)
        try:
            with progress:
                yield
        finally:
            logger.removeHandler(handler)


@contextmanager
def _native_noise_to(log: Path) -> Generator[IO[str], None, None]:
    """Point file descriptor 2 at a file for a while; yields the terminal that it pointed at."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr.flush()
    terminal = os.fdopen(os.dup(2), "w")
    with log.open("ab", buffering=0) as file:
        os.dup2(file.fileno(), 2)
    try:
        yield terminal
    finally:
        sys.stderr.flush()
        terminal.flush()
        os.dup2(terminal.fileno(), 2)
        terminal.close()


class _Bars(logging.Handler):
    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress
        self._tasks: dict[tuple[str, str], TaskID] = {}
        self._first_clip = False

    def emit(self, record: logging.LogRecord) -> None:
        about = record.__dict__
        if about.get("settled") and not self._first_clip:
            self._first_clip = True
            self._progress.console.print(f"first clip after {_process_seconds():.1f} s", highlight=False)
        if "settled" in about and "shard" not in about:
            return
        if "shard" not in about:
            self._progress.console.print(escaped(record.getMessage()), highlight=False)
            return
        key = (about["plan"], about["shard"])
        if key not in self._tasks:
            description = f"[bold]{escaped(about['shard'])}[/bold] {escaped(about['plan'])}"
            self._tasks[key] = self._progress.add_task(description, total=about["total"])
        self._progress.update(self._tasks[key], completed=about["done"])


def _process_seconds() -> float:
    """Seconds since this process was started."""
    with open("/proc/self/stat") as stat, open("/proc/uptime") as uptime:
        started = int(stat.read().rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")
        return float(uptime.read().split()[0]) - started
