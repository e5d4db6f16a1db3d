"""The shards of running plans as bars."""

import logging
import os
from collections.abc import Generator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from curate_cli.printing import escaped, messages


@contextmanager
def live_progress(quiet: bool) -> Generator[None, None, None]:
    """Show the shards of running plans as bars, fed by the `curate.progress` log."""
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.completed:.0f}/{task.total:.0f} videos"),
        TimeElapsedColumn(),
        console=messages(quiet),
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
