"""`curate plan`: what a run would compute, why, and how long it would take."""

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
    chosen_shards,
    existing_root,
    given_settings,
)
from curate_cli.printing import escaped, print_document, results

if TYPE_CHECKING:
    from curate_assets.outlook import AssetOutlook, Outlook


def plan(
    select: Select = "*",
    shard: Shards = None,
    force: Annotated[bool, typer.Option(help="As if every row were to be computed.")] = False,
    config: ConfigFile = None,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Show what would be computed, why, and about how long it would take. Nothing is written, and nothing starts."""
    from curate_assets.asset_selection import selected
    from curate_assets.outlook import outlook
    from curate_assets.presets import ShardSettings
    from curate_resources.manifests import Manifests

    storage = existing_root(root)
    settings = ShardSettings.read(storage, given_settings(config))
    shards = chosen_shards(Manifests(storage), shard)
    ahead = outlook(settings, selected(select), shards, force)
    _print_ahead(ahead, as_json)
    return FAILED if any(asset.blocked for asset in ahead.assets) else OK


def _print_ahead(result: "Outlook", as_json: bool) -> None:
    """What `curate plan` foresees."""
    if as_json:
        print_document(asdict(result))
        return
    console = results()
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


def _expected_time(asset: "AssetOutlook") -> str:
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


def _why(asset: "AssetOutlook") -> str:
    several = len(asset.reasons) > 1
    lines = [f"{count} {reason}" if several else reason for reason, count in asset.reasons.items()]
    if asset.dropped:
        lines.append(f"{asset.dropped} rows go, because nothing has them any more")
    if asset.depends_on:
        videos = f", in {asset.uncounted} videos also on what they are cut into" if asset.uncounted else ""
        lines.append(f"depends on {', '.join(asset.depends_on)}{videos}")
    return escaped("; ".join(lines))
