"""`curate add`: videos into shards."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from curate_cli.command import OK, Json, Root
from curate_cli.printing import print_document, results

if TYPE_CHECKING:
    from curate_resources.manifests import Added


def add(
    source: Annotated[
        str, typer.Argument(help="A folder, a file, a ZIP of videos, or a URI such as s3://bucket/prefix.")
    ],
    name: Annotated[
        str | None, typer.Option(help="First part of the shards' names. Default: the folder's name.")
    ] = None,
    videos_per_shard: Annotated[int, typer.Option(min=1, help="Most videos in a shard.")] = 100,
    gib_per_shard: Annotated[float, typer.Option(min=0.001, help="Most GiB in a shard.")] = 50.0,
    preset: Annotated[
        str | None, typer.Option(help="Settings of the new shards: <root>/presets/<preset>.yaml, or cosmos.")
    ] = None,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Put videos into shards and register these as partitions. Again: adds only what is new or changed."""
    from curate_assets.presets import ShardSettings
    from curate_assets.runs import dagster_home, dagster_instance, register_shards
    from curate_resources.manifests import Manifests, shard_name
    from curate_resources.storage import Storage, root_uri

    storage = Storage(root_uri(root))
    dagster_home(storage.root)  # for its errors, before anything is written
    if preset is not None:
        ShardSettings.read(storage).preset(preset)  # for its errors
    manifests = Manifests(storage)
    size = int(gib_per_shard * (1 << 30))
    added = manifests.add(source, shard_name(name or source), videos_per_shard, size, preset)
    with dagster_instance(storage.root) as instance:
        register_shards(instance, manifests.shards())
    _print_added(added, storage.root, as_json)
    return OK


def _print_added(result: "Added", root: str, as_json: bool) -> None:
    """What `curate add` did."""
    if as_json:
        print_document({"root": root, **asdict(result)})
        return
    console = results()
    renewed = f" ({result.renewed_files} with a renewed URL)" if result.renewed_files else ""
    console.print(
        f"[bold]{result.new_files}[/bold] new videos in {len(result.new_shards)} new shards, "
        f"{result.changed_files} changed, {result.known_files} known before{renewed}, "
        f"{result.ignored_files} other files ignored"
    )
    for shard in result.new_shards:
        console.print(f"  [green]+[/green] {shard}")
    for shard in result.changed_shards:
        console.print(f"  [yellow]~[/yellow] {shard}")
    if result.new_files or result.changed_files:
        console.print(
            "Source files stay as they are. In what is made of them, HDR becomes SDR and 10 bits become 8; "
            "interlaced video is not deinterlaced."
        )
    if result.new_shards or result.changed_shards:
        console.print("Next: [bold]curate materialize[/bold], or backfill in the Dagster UI.")
