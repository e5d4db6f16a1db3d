"""`curate status`: the funnel from files to samples, and what is missing or failed."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.table import Table

from curate_cli.command import OK, Json, Root, existing_root
from curate_cli.funnel import print_funnel
from curate_cli.printing import escaped, print_document, results

if TYPE_CHECKING:
    from curate_assets.operations.status import Status
    from curate_resources.sources.gone import Gone


def status(root: Root = None, as_json: Json = False) -> int:
    """The funnel from files to samples, and what is missing or failed."""
    from curate_assets.operations.status import status_of
    from curate_resources.sources.gone import gone_sources
    from curate_resources.sources.manifests import Manifests

    storage = existing_root(root)
    state = status_of(storage)
    _print_status(state, gone_sources(Manifests(storage), state.shards), as_json)
    return OK


def _print_status(state: "Status", gone: "Gone", as_json: bool) -> None:
    """What `curate status` found."""
    if as_json:
        print_document({**asdict(state), "gone": asdict(gone)})
        return
    console = results()
    console.print(f"[dim]root[/dim] {escaped(state.root)}   [dim]shards[/dim] {len(state.shards)}")
    print_funnel(state.funnel, console)
    if gone.files:
        console.print(f"[yellow]{escaped(str(gone))}[/yellow]")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("asset", "ok", "empty", "failed", "made, nothing found", "never made"):
        table.add_column(column, justify="left" if column.startswith(("asset", "made", "never")) else "right")
    for asset in state.assets:
        numbers = [str(asset.rows.get(key, 0)) for key in ("ok", "empty", "failed")]
        table.add_row(asset.name, *numbers, _some(asset.without_rows), _some(asset.missing))
    console.print()
    console.print(table)
    if state.failed_rows:
        console.print(f"\n[yellow]{state.failed_rows} failed rows[/yellow], the first:")
        for failure in state.failures:
            console.print(
                f"  {failure.table} of {failure.shard}: {escaped(failure.subject)}: {escaped(failure.message)}"
            )


def _some(shards: Sequence[str]) -> str:
    more = f" and {len(shards) - 3} more" if len(shards) > 3 else ""
    return ", ".join(shards[:3]) + more
