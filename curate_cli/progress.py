"""The shards of running plans as bars."""

import logging
import os
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from curate_cli.printing import duration, escaped, messages

if TYPE_CHECKING:
    from curate_resources.declarations.units import UnitFiles


@contextmanager
def live_progress(quiet: bool) -> Generator[None, None, None]:
    """Show the shards of running plans as bars, fed by the `curate.progress` log."""
    from curate_assets.graphs import GRAPH

    units = GRAPH.units
    progress = _PacedProgress(
        units.files,
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn(f"{{task.completed:.0f}}/{{task.total:.0f}} {units.files.nouns}"),
        TimeElapsedColumn(),
        console=messages(quiet),
    )
    handler = _Bars(progress, units.parts)
    logger = logging.getLogger("curate.progress")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)
    try:
        with progress:
            yield
    finally:
        logger.removeHandler(handler)


class _PacedProgress(Progress):
    """With a line below the bars: how fast it goes, the time left, and what has failed so far."""

    def __init__(self, units: "UnitFiles", *columns: ProgressColumn, console: Console) -> None:
        super().__init__(*columns, console=console)
        self._units = units

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bars and the line."""
        yield from super().get_renderables()
        plans = [task for task in self.tasks if "failed" in task.fields]
        if plans:
            yield _pace(self._units, plans[-1], sum(task.fields["failed"] for task in plans))


def _pace(units: "UnitFiles", plan: Task, failed: int) -> Text:
    """Of the plan that is under way, without what is not known yet."""
    parts: list[str] = []
    if plan.completed and plan.elapsed:
        parts.append(_rate(plan.completed / plan.elapsed, units.nouns))
        if watched := plan.fields["media_seconds"]:
            parts.append(f"{watched / plan.elapsed:.1f} h of {units.noun} per hour")
        if not plan.finished:
            left = (plan.total or 0.0) - plan.completed
            parts.append(f"{duration(plan.elapsed / plan.completed * left)} left")
    elif not plan.finished:
        parts.append(f"the first {units.noun} is under way")
    parts.append(f"{failed} failed")
    return Text(", ".join(parts), style="yellow" if failed else "")


def _rate(per_second: float, nouns: str) -> str:
    for factor, unit in ((1, "s"), (60, "min")):
        if per_second * factor >= 1:
            return f"{per_second * factor:.1f} {nouns}/{unit}"
    return f"{per_second * 3600:.1f} {nouns}/h"


class _Bars(logging.Handler):
    """A bar for each plan, and below it one for each of its shards that is under way."""

    def __init__(self, progress: Progress, part: str) -> None:
        super().__init__()
        self._progress, self._part = progress, part
        self._plans: dict[str, TaskID] = {}
        self._shards: dict[tuple[str, str], TaskID] = {}
        self._done: dict[tuple[str, str], tuple[int, int]] = {}
        self._first_part = False

    def emit(self, record: logging.LogRecord) -> None:
        about = record.__dict__
        if about.get("settled") and not self._first_part:
            self._first_part = True
            self._progress.console.print(f"first {self._part} after {_process_seconds():.1f} s", highlight=False)
        if "settled" in about and "shard" not in about:
            return
        if "shard" not in about:
            self._progress.console.print(escaped(record.getMessage()), highlight=False)
            return
        plan, key = about["plan"], (about["plan"], about["shard"])
        self._done[key] = (about["done"], about["total"])
        self._show_plan(plan, about.get("failed", 0), about.get("media_seconds", 0.0))
        if about["done"] and key not in self._shards:
            self._shards[key] = self._progress.add_task(f"  {escaped(about['shard'])}", total=about["total"])
        if key in self._shards:
            going_on = about["done"] < about["total"]
            self._progress.update(self._shards[key], completed=about["done"], visible=going_on)

    def _show_plan(self, plan: str, failed: int, media_seconds: float) -> None:
        if plan not in self._plans:
            stages = plan.split(" > ")
            description = f"[bold]{escaped(' to '.join(dict.fromkeys((stages[0], stages[-1]))))}[/bold]"
            self._plans[plan] = self._progress.add_task(description, failed=0, media_seconds=0.0)
        task = next(each for each in self._progress.tasks if each.id == self._plans[plan])
        own = [counts for (name, _), counts in self._done.items() if name == plan]
        self._progress.update(
            task.id,
            completed=sum(done for done, _ in own),
            total=sum(total for _, total in own),
            failed=task.fields["failed"] + failed,
            media_seconds=task.fields["media_seconds"] + media_seconds,
        )


def _process_seconds() -> float:
    """Seconds since this process was started."""
    with open("/proc/self/stat") as stat, open("/proc/uptime") as uptime:
        started = int(stat.read().rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")
        return float(uptime.read().split()[0]) - started
