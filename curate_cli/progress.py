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
    from curate_resources.pipeline.events import Event


@contextmanager
def live_progress(quiet: bool) -> Generator[None, None, None]:
    """Show the shards of running plans as bars, and above them what else there is to be said."""
    from curate_assets.graphs import GRAPH
    from curate_resources.pipeline.events import listening

    units = GRAPH.units
    progress = _PacedProgress(
        units.files,
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn(f"{{task.completed:.0f}}/{{task.total:.0f}} {units.files.nouns}"),
        TimeElapsedColumn(),
        console=messages(quiet),
    )
    lines = _Lines(progress)
    said, events = logging.getLogger("curate.progress"), logging.getLogger("curate.events")
    said.setLevel(logging.INFO)
    said.propagate = events.propagate = False  # what is shown is not logged as well
    said.addHandler(lines)
    try:
        with progress, listening(_Bars(progress, units.parts)):
            yield
    finally:
        said.removeHandler(lines)


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


class _Lines(logging.Handler):
    """What is said in words, above the bars."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        self._progress.console.print(escaped(record.getMessage()), highlight=False)


class _Bars:
    """A bar for each plan, and below it one for each of its shards that is under way."""

    def __init__(self, progress: Progress, part: str) -> None:
        self._progress, self._part = progress, part
        self._plans: dict[str, TaskID] = {}
        self._shards: dict[tuple[str, str], TaskID] = {}
        self._done: dict[tuple[str, str], tuple[int, int]] = {}
        self._first_part = False

    def __call__(self, event: "Event") -> None:
        from curate_resources.pipeline.events import Announced, PartsSettled, UnitDone

        if isinstance(event, (PartsSettled, UnitDone)) and event.parts and not self._first_part:
            self._first_part = True
            self._progress.console.print(f"first {self._part} after {_process_seconds():.1f} s", highlight=False)
        if isinstance(event, Announced):
            self._show(event.plan, event.shard, 0, event.total)
            self._show_plan(event.plan, 0, 0.0)
        elif isinstance(event, UnitDone):
            self._show(event.plan, event.shard, event.done, event.total)
            self._show_plan(event.plan, event.failed, event.media_seconds)

    def _show(self, plan: str, shard: str, done: int, total: int) -> None:
        key = (plan, shard)
        self._done[key] = (done, total)
        if done and key not in self._shards:
            self._shards[key] = self._progress.add_task(f"  {escaped(shard)}", total=total)
        if key in self._shards:
            self._progress.update(self._shards[key], completed=done, visible=done < total)

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
