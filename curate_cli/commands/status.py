"""`curate status`: the funnel from files to samples, and what is missing or failed."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from curate_cli.command import OK, Json, Root
from curate_cli.funnel import print_funnel
from curate_cli.printing import escaped, print_document

if TYPE_CHECKING:
    from curate_assets.status import Status


def status(root: Root = None, as_json: Json = False) -> int:
    """The funnel from files to samples, and what is missing or failed."""
    from curate_assets.status import status_of
    from curate_resources.storage import Storage, root_uri

    state = status_of(Storage(root_uri(root)))
    _print_status(state, as_json)
    return OK


def _print_status(state: "Status", as_json: bool) -> None:
    """What `curate status` found."""
    if as_json:
        print_document(asdict(state))
        return
    console = Console(highlight=False)
    console.print(f"[dim]root[/dim] {escaped(state.root)}   [dim]shards[/dim] {len(state.shards)}")
    print_funnel(state.funnel, console)
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
