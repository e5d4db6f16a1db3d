"""`curate add`: videos into shards."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from curate_cli.command import OK, Json, Root
from curate_cli.printing import escaped, print_document, results

if TYPE_CHECKING:
    from curate_resources.sources.adding import Added


def add(
    source: Annotated[
        str, typer.Argument(help="A folder, a file, a ZIP of videos, or a URI such as s3://bucket/prefix.")
    ],
    name: Annotated[
        str | None, typer.Option(help="First part of the shards' names. Default: the folder's name.")
    ] = None,
    units_per_shard: Annotated[
        int,
        typer.Option("--videos-per-shard", "--units-per-shard", min=1, help="Most videos, or other units, in a shard."),
    ] = 100,
    gib_per_shard: Annotated[float, typer.Option(min=0.001, help="Most GiB in a shard.")] = 50.0,
    preset: Annotated[str | None, typer.Option(help="Settings of the new shards; see `curate preset list`.")] = None,
    forget_gone: Annotated[
        bool, typer.Option(help="Take files that are gone from the source out of their shards.")
    ] = False,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Put videos into shards and register these as partitions. Again: adds only what is new or changed."""
    from curate_assets.graphs import GRAPH
    from curate_assets.library import Library

    library = Library(root)
    added = library.add(source, name, units_per_shard, gib_per_shard, preset, forget_gone)
    _print_added(added, GRAPH.units.files.nouns, GRAPH.remark, library.storage.root, forget_gone, as_json)
    return OK


def _print_added(result: "Added", nouns: str, remark: str, root: str, forgotten: bool, as_json: bool) -> None:
    """What `curate add` did."""
    if as_json:
        print_document({"root": root, **asdict(result)})
        return
    console = results()
    renewed = f" ({result.renewed_files} at a new address)" if result.renewed_files else ""
    console.print(
        f"[bold]{result.new_files}[/bold] new {nouns} in {len(result.new_shards)} new shards, "
        f"{result.changed_files} changed, {result.known_files} known before{renewed}"
    )
    for reason, count in result.left_out.items():
        console.print(f"  [dim]left out:[/dim] {count} {reason}{_some(result.first_left_out.get(reason, ()), count)}")
    if result.gone_files:
        what = (
            "They are forgotten: their rows go when their shards are materialized again"
            if forgotten
            else "Their rows stay, and fail where the file has to be read again. Put them back, or give --forget-gone"
        )
        named = _some(result.first_gone, result.gone_files)
        console.print(f"  [yellow]gone:[/yellow] {result.gone_files} files of earlier shards{named}. {what}.")
    for shard in result.new_shards:
        console.print(f"  [green]+[/green] {shard}")
    for shard in result.changed_shards:
        console.print(f"  [yellow]~[/yellow] {shard}")
    if result.new_files or result.changed_files:
        console.print(f"Source files stay as they are. {remark}".rstrip())
    if result.new_shards or result.changed_shards:
        console.print("Next: [bold]curate materialize[/bold], or backfill in the Dagster UI.")


def _some(first: Sequence[str], count: int) -> str:
    if not first:
        return ""
    return escaped(f": {', '.join(first)}{', ...' if count > len(first) else ''}")
