"""`curate plan`: what a run would compute, why, and how long it would take."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

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
from curate_cli.printing import escaped, print_document, results

if TYPE_CHECKING:
    from curate_assets.operations.outlook import AssetOutlook, Outlook
    from curate_resources.sources.gone import Gone


def plan(
    select: Select = "*",
    shard: Shards = None,
    force: Annotated[bool, typer.Option(help="As if every row were to be computed.")] = False,
    show_all: Annotated[bool, typer.Option("--all", help="Also show assets with nothing to do.")] = False,
    config: ConfigFile = None,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Show what would be computed, why, and about how long it would take. Nothing is written, and nothing starts."""
    from curate_assets.library import Library
    from curate_resources.sources.gone import gone_sources
    from curate_resources.sources.manifests import Manifests

    existing_root(root)  # before the settings: without a root these are of no use
    library = Library(root, given_settings(config))
    ahead = library.plan(select, shard, force)
    gone = gone_sources(Manifests(library.storage), ahead.shards)
    _print_ahead(ahead, gone, show_all, as_json)
    return FAILED if any(asset.blocked for asset in ahead.assets) else OK


def _print_ahead(result: "Outlook", gone: "Gone", show_all: bool, as_json: bool) -> None:
    """What `curate plan` foresees."""
    if as_json:
        print_document({**asdict(result), "gone": asdict(gone)})
        return
    console = results()
    console.print(f"[dim]root[/dim] {escaped(result.root)}   [dim]shards[/dim] {len(result.shards)}")
    if gone.files:
        console.print(f"[yellow]{escaped(str(gone))}[/yellow]")
    shown = [asset for asset in result.assets if show_all or not _nothing_to_do(asset)]
    if shown:
        console.print(_table(shown, {asset.name: asset for asset in result.assets}))
    for read in result.sources_read:
        why = f"for {', '.join(read.tables)} only, without {', '.join(read.kept)}" if read.kept else "again"
        console.print(f"[yellow]{read.stage} reads the sources of {read.items} {read.of} {why}[/yellow]")
    for error, assets in _blocked(result.assets).items():
        shards = sorted({shard for asset in assets for shard, why in asset.blocked.items() if why == error})
        names = ", ".join(asset.name for asset in assets)
        where = ", ".join(shards[:3]) + (f" and {len(shards) - 3} more" if len(shards) > 3 else "")
        console.print(f"[red]cannot be made:[/red] {names} of {escaped(where)}: {escaped(error)}")
    hidden = len(result.assets) - len(shown)
    if all(asset.idle for asset in result.assets):
        console.print(f"Nothing is missing, and nothing changed: {result.reuse} are kept.")
        if not shown:
            return
    elif hidden:
        console.print(f"[dim]{hidden} more assets have nothing to do: --all shows them[/dim]")
    more = f" to {result.compute + result.maybe}" if result.maybe else ""
    time = _span(result.seconds, result.most_seconds)
    known = ("" if time.startswith("up to") else "about ") + time if time else "less than a second"
    start = f", {_duration(result.ray_start_seconds)} of it to start Ray" if result.ray_start_seconds else ""
    unknown = f"; no estimate yet for {', '.join(result.unknown)}" if result.unknown else ""
    console.print(f"[bold]{result.compute}{more}[/bold] to compute, {result.reuse} are kept; {known}{start}{unknown}")


def _table(assets: Sequence["AssetOutlook"], known: Mapping[str, "AssetOutlook"]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("asset", no_wrap=True)
    for column in ("compute", "keep", "shards", "time"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("why", overflow="fold")
    for asset in assets:
        shards = len({*asset.shards, *asset.retried})
        most = f" to {asset.compute + asset.maybe}" if asset.maybe else ""
        compute = f"{asset.compute}{most}" if asset.compute or most else ""
        keep, time = str(asset.reuse or ""), _expected_time(asset)
        table.add_row(asset.name, compute, keep, str(shards or ""), time, _why(asset, known))
    return table


def _nothing_to_do(asset: "AssetOutlook") -> bool:
    return asset.idle and not asset.retried and not asset.dropped


def _first_causes(asset: "AssetOutlook", known: Mapping[str, "AssetOutlook"]) -> list[str]:
    """What an asset depends on, without what changes only because of others of these: `--json` has them all."""
    return [
        name
        for name in asset.depends_on
        if name not in known or known[name].compute or not {*known[name].depends_on}.intersection(asset.depends_on)
    ]


def _blocked(assets: Sequence["AssetOutlook"]) -> dict[str, list["AssetOutlook"]]:
    """By the reason that keeps them from being made, the assets; one reason often blocks many."""
    found: dict[str, list[AssetOutlook]] = {}
    for asset in assets:
        for error in dict.fromkeys(asset.blocked.values()):
            found.setdefault(error, []).append(asset)
    return found


def _expected_time(asset: "AssetOutlook") -> str:
    """The most that an asset takes, in the width of a table's column."""
    if asset.seconds is None or asset.most_seconds is None:
        return "?"
    if asset.most_seconds < 1:
        return ""
    return f"{'≤ ' if asset.most_seconds - asset.seconds >= 1 else ''}{_duration(asset.most_seconds)}"


def _span(least: float, most: float) -> str:
    """A time, or from what to what; empty where it is below a second."""
    if most < 1:
        return ""
    if most - least < 1:
        return _duration(most)
    return f"{_duration(least)} to {_duration(most)}" if least >= 1 else f"up to {_duration(most)}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _why(asset: "AssetOutlook", known: Mapping[str, "AssetOutlook"]) -> str:
    several = len(asset.reasons) > 1
    lines = [f"{count}: {reason}" if several else reason for reason, count in asset.reasons.items()]
    if asset.dropped:
        lines.append(f"{asset.dropped} rows will be deleted: their item is gone or rejected, or their asset is off")
    if asset.depends_on:
        videos = f"; {asset.uncounted} videos are not split yet" if asset.uncounted else ""
        lines.append(f"depends on {', '.join(_first_causes(asset, known))}{videos}")
    return escaped("\n".join(lines))
