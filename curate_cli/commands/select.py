"""`curate select`: what other thresholds would select."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from curate_cli.command import OK, Json, Root, Shards, existing_root, of_video_graph
from curate_cli.printing import duration, escaped, open_page, print_document, results

if TYPE_CHECKING:
    from curate_assets.video.what_if import WhatIf


def select(
    what_if: Annotated[
        list[str],
        typer.Option(
            metavar="KEY=VALUE",
            help="A threshold of clip_selection to try, such as motion_peak_min=0.001; null is off. May be repeated.",
        ),
    ],
    shard: Shards = None,
    count: Annotated[int, typer.Option(min=1, help="Most clips to show of those gained, and of those lost.")] = 24,
    show: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = True,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Tell which clips other thresholds would gain and lose, from stored scores; nothing is set or selected."""
    from curate_assets.settings.presets import side_by_side
    from curate_assets.video.calibration import SECTION
    from curate_assets.video.report.what_if_page import write_what_if
    from curate_assets.video.what_if import tried
    from curate_assets.video.what_if import what_if as compared
    from curate_resources.sources.manifests import Manifests
    from curate_resources.tables.lance_tables import Tables

    of_video_graph("select")
    settings = tried(what_if)
    storage = existing_root(root)
    tables = Tables(storage)
    configs = side_by_side(storage, {SECTION: settings}, Manifests(storage).chosen(shard))
    found = compared(tables, settings, configs, count)
    _print_what_if(found, write_what_if(tables, found), show and not as_json, as_json)
    return OK


def _print_what_if(found: "WhatIf", page: str, show: bool, as_json: bool) -> None:
    """Minutes and clips gained and lost, and the reasons."""
    if as_json:
        print_document({**asdict(found), "page": page})
        return
    console = results()
    for name, changed in (("gained", found.gained), ("lost", found.lost)):
        console.print(f"{name}: [bold]{changed.clips:,}[/bold] clips, {duration(changed.seconds)}")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in (f"of {found.clips:,} clips", "now", "then"):
        table.add_column(column, justify="right" if column in ("now", "then") else "left")
    table.add_row("[bold]selected[/bold]", *(f"{each:,}" for each in found.selected))
    for reason, numbers in found.reasons.items():
        table.add_row(reason, *(f"{each:,}" for each in numbers))
    console.print(table)
    console.print(f"page: {escaped(page)}", soft_wrap=True)
    console.print("Nothing was set: write the thresholds into curate.yaml to have them.")
    if show:
        open_page(page)
