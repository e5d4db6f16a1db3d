"""`curate backfill`: what is missing, stale or failed, made by Dagster's daemon or here."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from curate_cli.command import (
    FAILED,
    OK,
    ConfigFile,
    Json,
    Root,
    Select,
    Shards,
    existing_root,
    given_settings,
)
from curate_cli.outcomes import exit_code, print_outcomes
from curate_cli.printing import escaped, messages, print_document, print_nothing, results
from curate_cli.progress import live_progress

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from curate_assets.orchestration.backfills import BackfillProgress


def backfill(
    select: Select = "*",
    shard: Shards = None,
    failed: Annotated[bool, typer.Option(help="Shards with failed rows, and what could not be made of them.")] = False,
    missing: Annotated[bool, typer.Option(help="Shards with rows that are not there yet.")] = False,
    stale: Annotated[bool, typer.Option(help="Shards with rows that do not hold any more.")] = False,
    config: ConfigFile = None,
    here: Annotated[bool, typer.Option(help="Run in this process, without Dagster's daemon.")] = False,
    watch: Annotated[bool, typer.Option(help="Show the progress of every shard until the end.")] = False,
    status_of: Annotated[str | None, typer.Option("--status", metavar="ID", help="Show how far one is.")] = None,
    cancel: Annotated[str | None, typer.Option(metavar="ID", help="End one; committed shards stay.")] = None,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Make what `curate plan` says is missing or stale, as a backfill of Dagster. Only shards that need it are made.

    With --failed, --missing or --stale: only those that they name. With --status or --cancel: see to one that there is.
    """
    from curate_assets.operations.outlook import outlook
    from curate_assets.orchestration.asset_selection import selected
    from curate_assets.orchestration.backfills import cancel_backfill, launch_backfill, progress_of
    from curate_assets.orchestration.runs import dagster_instance, register_shards, run_targets
    from curate_assets.settings.presets import ShardSettings
    from curate_resources.sources.manifests import Manifests

    storage = existing_root(root)
    if (known := cancel or status_of) is not None:
        with dagster_instance(storage.root) as instance:
            if cancel is not None:
                cancel_backfill(instance, cancel)
            return _watched(instance, known, as_json) if watch else _shown(progress_of(instance, known), as_json)
    given = given_settings(config)
    settings = ShardSettings.read(storage, given)
    shards = Manifests(storage).chosen(shard)
    ahead = outlook(settings, selected(select), shards)
    targets = ahead.targets(
        missing=missing or not (failed or stale), stale=stale or not (failed or missing), failed=failed
    )
    if not targets:
        print_nothing("nothing is missing or stale" if not failed else "there is nothing of that kind", as_json)
        return OK
    curation = {"root": storage.root, **given}
    with dagster_instance(storage.root) as instance:
        register_shards(instance, Manifests(storage).shards())
        if here:
            with live_progress(as_json):
                outcomes = list(run_targets(instance, targets, curation))
            print_outcomes(outcomes, as_json)
            return exit_code(outcomes)
        launched, new = launch_backfill(instance, targets, curation, f"{select} of {len(shards)} shards")
        if not new:
            messages().print(
                f"backfill [bold]{launched}[/bold] is already on its way and makes all of this: none was started"
            )
        return _watched(instance, launched, as_json) if watch else _shown(progress_of(instance, launched), as_json)


def _watched(instance: "DagsterInstance", backfill_id: str, as_json: bool) -> int:
    from curate_assets.orchestration.backfills import followed
    from curate_resources.engines import interruption

    interruption.means(
        f"no longer watched; Dagster's daemon goes on with backfill {backfill_id}: "
        f"`curate backfill --status {backfill_id} --watch` follows it, `--cancel {backfill_id}` ends it"
    )
    *_, last = _bars(followed(instance, backfill_id), as_json)
    return _shown(last, as_json)


def _shown(progress: "BackfillProgress", as_json: bool) -> int:
    _print_progress(progress, as_json)
    return FAILED if progress.ended and not progress.succeeded else OK


def _print_progress(progress: "BackfillProgress", as_json: bool) -> None:
    """How far a backfill is, shard by shard."""
    if as_json:
        print_document({**asdict(progress), "succeeded": progress.succeeded})
        return
    console = results()
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


def _bars(states: "Iterator[BackfillProgress]", quiet: bool) -> "Iterator[BackfillProgress]":
    """Show a backfill's shards as bars; passes on what it shows."""
    console = messages(quiet)
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
