"""What the commands print: tables and progress for people, one JSON document for programs."""

import json
import logging
import os
import sys
import tempfile
import webbrowser
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape as _escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from curate_assets.backfills import BackfillProgress
from curate_assets.outlook import AssetOutlook, Outlook
from curate_assets.runs import RunOutcome
from curate_assets.status import Status
from curate_assets.video.calibration import Calibration
from curate_assets.video.report.funnel import FunnelStep
from curate_resources.manifests import Added
from curate_resources.orphans import Orphan
from curate_resources.storage import is_local

if TYPE_CHECKING:
    import pyarrow as pa

    from curate_assets.doctor.check import Line
    from curate_assets.video.export import Exported

_SHOWN_ROWS = 200


def escaped(text: str) -> str:
    """Text in which square brackets are no markup, and control characters are shown instead of sent."""
    return _escape("".join(each if each.isprintable() or each == "\n" else ascii(each)[1:-1] for each in text))


def _document(value: Any) -> None:
    print(json.dumps(value, indent=1, default=str, ensure_ascii=False))


def added(result: Added, root: str, as_json: bool) -> None:
    """What `curate add` did."""
    if as_json:
        _document({"root": root, **asdict(result)})
        return
    console = Console(highlight=False)
    console.print(
        f"[bold]{result.new_files}[/bold] new videos in {len(result.new_shards)} new shards, "
        f"{result.changed_files} changed, {result.known_files} known before, {result.ignored_files} other files ignored"
    )
    for shard in result.new_shards:
        console.print(f"  [green]+[/green] {shard}")
    for shard in result.changed_shards:
        console.print(f"  [yellow]~[/yellow] {shard}")
    if result.new_shards or result.changed_shards:
        console.print("Next: [bold]curate materialize[/bold], or backfill in the Dagster UI.")


@contextmanager
def live_progress(root: str, quiet: bool) -> Generator[None, None, None]:
    """Show the shards of running plans as bars, fed by the `curate.progress` log.

    Meanwhile what native libraries and worker processes say on standard error goes to a log file: it would tear the
    display apart.
    """
    log = Path(root) / "logs" / "curate.log" if is_local(root) else Path(tempfile.gettempdir()) / "curate.log"
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


def outcomes(results: Sequence[RunOutcome], as_json: bool) -> None:
    """How the runs of `curate materialize` ended."""
    if as_json:
        _document([asdict(result) for result in results])
        return
    console = Console(highlight=False)
    for result in results:
        where = f" of {', '.join(result.shards)}" if result.shards else ""
        mark = "[red]failed[/red]" if result.error else "[green]done[/green]"
        console.print(f"{mark} {', '.join(result.assets)}{where}")
        if result.error:
            console.print(f"  [red]{escaped(result.error)}[/red]")
        for check in result.failed_checks:
            console.print(f"  [yellow]check failed:[/yellow] {escaped(check)}")
        for check in result.check_warnings:
            console.print(f"  [yellow]check warns:[/yellow] {escaped(check)}")


def funnel(steps: Sequence[FunnelStep], console: Console) -> None:
    """The funnel as a table."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("step")
    table.add_column("count", justify="right")
    table.add_column("lost")
    for step in steps:
        count = "not materialized" if step.count is None else str(step.count)
        lost = ", ".join(f"{number} {reason}" for reason, number in step.lost.items() if number)
        table.add_row(step.name, count, escaped(lost))
    console.print(table)


def status(state: Status, as_json: bool) -> None:
    """What `curate status` found."""
    if as_json:
        _document(asdict(state))
        return
    console = Console(highlight=False)
    console.print(f"[dim]root[/dim] {escaped(state.root)}   [dim]shards[/dim] {len(state.shards)}")
    funnel(state.funnel, console)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("asset", "ok", "empty", "failed", "shards without rows"):
        table.add_column(column, justify="left" if column.startswith(("asset", "shards")) else "right")
    for asset in state.assets:
        missing = ", ".join(asset.missing[:3]) + (
            f" and {len(asset.missing) - 3} more" if len(asset.missing) > 3 else ""
        )
        numbers = [str(asset.rows.get(key, 0)) for key in ("ok", "empty", "failed")]
        table.add_row(asset.name, *numbers, missing)
    console.print()
    console.print(table)
    if state.failed_rows:
        console.print(f"\n[yellow]{state.failed_rows} failed rows[/yellow], the first:")
        for failure in state.failures:
            console.print(
                f"  {failure.table} of {failure.shard}: {escaped(failure.subject)}: {escaped(failure.message)}"
            )


def ahead(result: Outlook, as_json: bool) -> None:
    """What `curate plan` foresees."""
    if as_json:
        _document(asdict(result))
        return
    console = Console(highlight=False)
    console.print(f"[dim]root[/dim] {escaped(result.root)}   [dim]shards[/dim] {len(result.shards)}")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("asset", "compute", "up to", "keep", "missing", "failed", "shards", "time"):
        table.add_column(column, justify="left" if column == "asset" else "right", no_wrap=column == "asset")
    for asset in result.assets:
        most = asset.compute + asset.maybe if asset.maybe else 0
        shards = len({*asset.shards, *asset.retried})
        numbers = (asset.compute, most, asset.reuse, asset.missing, asset.failed, shards)
        table.add_row(asset.name, *(str(number or "") for number in numbers), _expected_time(asset))
    console.print(table)
    for asset in result.assets:
        if why := _why(asset):
            console.print(f"[bold]{asset.name}[/bold]: {why}")
        for shard, error in asset.blocked.items():
            console.print(f"[red]{asset.name} of {escaped(shard)} cannot be made:[/red] {escaped(error)}")
    if all(asset.idle for asset in result.assets):
        console.print("Nothing is missing, and nothing changed.")
        return
    more = f", up to {result.compute + result.maybe}" if result.maybe else ""
    time = _span(result.seconds, result.most_seconds)
    known = f"about {time}" if time else "less than a second"
    unknown = f" for the others; no estimate yet for {', '.join(result.unknown)}" if result.unknown else ""
    console.print(f"[bold]{result.compute}[/bold] to compute{more}, {result.reuse} are kept; {known}{unknown}")


def _expected_time(asset: AssetOutlook) -> str:
    known = asset.seconds is not None and asset.most_seconds is not None
    return _span(asset.seconds or 0.0, asset.most_seconds or 0.0) if known else "?"


def _span(least: float, most: float) -> str:
    """A time, or from what to what; empty where it is below a second."""
    if most < 1:
        return ""
    return _duration(most) if most - least < 1 else f"{_duration(least)} to {_duration(most)}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _why(asset: AssetOutlook) -> str:
    several = len(asset.reasons) > 1
    lines = [f"{count} {reason}" if several else reason for reason, count in asset.reasons.items()]
    if asset.dropped:
        lines.append(f"{asset.dropped} rows go, because nothing has them any more")
    if asset.depends_on:
        videos = f", in {asset.uncounted} videos also on what they are cut into" if asset.uncounted else ""
        lines.append(f"depends on {', '.join(asset.depends_on)}{videos}")
    return escaped("; ".join(lines))


def backfill(progress: BackfillProgress, as_json: bool) -> None:
    """How far a backfill is, shard by shard."""
    if as_json:
        _document({**asdict(progress), "succeeded": progress.succeeded})
        return
    console = Console(highlight=False)
    color = "green" if progress.succeeded else "red" if progress.ended else "yellow"
    console.print(
        f"backfill [bold]{progress.id}[/bold]: [{color}]{progress.status}[/{color}], {progress.running} runs going on, "
        f"{progress.failed_runs} failed"
    )
    for shard in progress.shards:
        failed = f", [red]{shard.failed} failed[/red]" if shard.failed else ""
        console.print(f"  {escaped(shard.shard or 'all shards')}: {shard.done} of {shard.total} assets{failed}")
    if progress.error:
        console.print(f"[red]{escaped(progress.error)}[/red]")
    if not progress.ended:
        console.print(f"`curate backfill --status {progress.id} --watch` follows it, `--cancel {progress.id}` ends it.")


def backfill_bars(states: Iterator[BackfillProgress], quiet: bool) -> Iterator[BackfillProgress]:
    """Show a backfill's shards as bars; passes on what it shows."""
    console = Console(stderr=True, quiet=quiet, highlight=False)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.completed:.0f}/{task.total:.0f} assets"),
    )
    with Progress(*columns, TimeElapsedColumn(), console=console) as bars:
        tasks: dict[str, TaskID] = {}
        for state in states:
            for shard in state.shards:
                name = shard.shard or "all shards"
                if name not in tasks:
                    tasks[name] = bars.add_task(f"[bold]{escaped(name)}[/bold]", total=shard.total)
                bars.update(tasks[name], completed=shard.done + shard.failed)
            yield state


def rows(result: "pa.Table", as_json: bool) -> None:
    """The result of a query."""
    if as_json:
        _document(result.to_pylist())
        return
    table = Table(header_style="bold")
    for name in result.column_names:
        table.add_column(escaped(name), overflow="fold")
    for row in result.slice(0, _SHOWN_ROWS).to_pylist():
        table.add_row(*(escaped(_cell(value)) for value in row.values()))
    console = Console(highlight=False)
    console.print(table)
    if result.num_rows > _SHOWN_ROWS:
        console.print(f"{_SHOWN_ROWS} of {result.num_rows} rows; --json prints all")


def _cell(value: Any) -> str:
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, list) and len(value) > 8:
        return f"{str(value[:4])[:-1]}, ... {len(value)} values]"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)


def report(uri: str, show: bool, as_json: bool) -> None:
    """Where the report is."""
    if as_json:
        _document({"report": uri})
        return
    Console(highlight=False).print(f"report: {escaped(uri)}")
    if show and is_local(uri):
        webbrowser.open(f"file://{uri}")


def calibration(found: Calibration, page: str, written: str | None, show: bool, as_json: bool) -> None:
    """The proposed thresholds, what they reject, and where they were written."""
    sample = len(found.sample)
    if as_json:
        _document(
            {
                "clips": found.clips,
                "sample": sample,
                "percentile": found.percentile,
                "rejected_now": found.rejected_now,
                "rejected": found.rejected,
                "proposals": [asdict(each) for each in found.proposals],
                "page": page,
                "written": written,
            }
        )
        return
    console = Console(highlight=False)
    console.print(f"{sample} of {found.clips} clips; each threshold is to reject {found.percentile:g}% of them")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("clip_selection", "now", "proposed", "rejects now", "rejects then", "alone"):
        table.add_column(column, justify="left" if column == "clip_selection" else "right")
    for each in found.proposals:
        shares = [f"{count / sample:.1%}" for count in (each.rejected_now, each.rejected, each.rejected_alone)]
        now = "off" if each.current is None else f"{each.current:.4g}"
        table.add_row(each.setting, now, f"[bold]{each.proposed:.4g}[/bold]", *shares)
    table.add_row("all together", "", "", f"{found.rejected_now / sample:.1%}", f"{found.rejected / sample:.1%}", "")
    console.print(table)
    console.print(f"page: {escaped(page)}", soft_wrap=True)
    if written:
        console.print(f"written to {escaped(written)}", soft_wrap=True)
        console.print("Next: [bold]curate materialize --select 'key:clip_selection+'[/bold]")
    else:
        console.print("Nothing was set: [bold]--write[/bold] does it.")
    if show and is_local(page):
        webbrowser.open(f"file://{page}")


def nothing(why: str, as_json: bool) -> None:
    """There was nothing to do."""
    if as_json:
        _document([])
        return
    Console(highlight=False).print(why)


def cleaned(found: Sequence[Orphan], freed: int, dry_run: bool, as_json: bool) -> None:
    """Which files are gone, or would be, and how many bytes of old table versions were freed."""
    size = sum(orphan.bytes for orphan in found)
    if as_json:
        _document(
            {"removed": not dry_run, "bytes": size, "table_bytes": freed, "files": [orphan.path for orphan in found]}
        )
        return
    console = Console(highlight=False)
    for orphan in found if dry_run else []:
        console.print(escaped(orphan.path), soft_wrap=True)
    console.print(f"{len(found)} media files, {size / (1 << 20):.1f} MiB {'would be' if dry_run else 'were'} removed")
    if not dry_run:
        console.print(f"{freed / (1 << 20):.1f} MiB of old table versions were removed")


def cluster(address: str | None, state: str, as_json: bool) -> None:
    """How the warm cluster stands."""
    if as_json:
        _document({"address": address, "state": state})
        return
    Console(highlight=False).print(f"cluster {address}: {state}" if address else f"cluster: {state}")


def exported(result: "Exported", as_json: bool) -> None:
    """What `curate export` wrote."""
    if as_json:
        _document(asdict(result))
        return
    Console(highlight=False).print(
        f"{escaped(result.to)}: {result.samples} samples in {result.tars} tars, {len(result.tables)} tables, "
        f"{result.bytes / (1 << 20):.1f} MiB",
        soft_wrap=True,
    )


_COLOURS = {"ok": "green", "warning": "yellow", "failed": "red"}


def examined(lines: "Iterable[Line]", as_json: bool) -> "list[Line]":
    """What `curate doctor` finds, line by line as it comes; returns all of it."""
    console = Console(highlight=False, quiet=as_json)
    seen: list[Line] = []
    for line in lines:
        seen.append(line)
        finding, colour = line.finding, _COLOURS[line.finding.status]
        console.print(
            f"[{colour}]{finding.status:<8}[/{colour}][bold]{line.name}[/bold]: {escaped(finding.found)}",
            soft_wrap=True,
        )
        if finding.remedy:
            console.print(f"        [dim]remedy:[/dim] {escaped(finding.remedy)}", soft_wrap=True)
    counts = {status: sum(line.finding.status == status for line in seen) for status in _COLOURS}
    if as_json:
        checks = [{"name": line.name, **asdict(line.finding), "seconds": round(line.seconds, 3)} for line in seen]
        _document({**counts, "checks": checks})
    else:
        console.print(", ".join(f"{number} {status}" for status, number in counts.items()))
    return seen
