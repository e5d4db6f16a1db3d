"""`curate clean`: files and versions that nothing needs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from curate_cli.command import OK, Json, Root, existing_root
from curate_cli.printing import escaped, print_document, results

if TYPE_CHECKING:
    from curate_resources.tables.orphans import Orphan


def clean(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would go.")] = False,
    older_than_hours: Annotated[
        float, typer.Option(min=0, help="Leave younger files: a run that is under way writes files before their rows.")
    ] = 24.0,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Remove media files that no row points at, and old versions of tables: of killed runs, or of earlier settings.
    Files and tables of assets that others added to the root stay.

    With --older-than-hours 0 nothing may run at the same time.
    """
    from curate_assets.graphs import GRAPH
    from curate_resources.tables.orphans import forget_versions, orphans

    storage = existing_root(root)
    found = sorted(orphans(storage, GRAPH.tables, older_than_hours * 3600), key=lambda orphan: orphan.path)
    if not dry_run:
        for orphan in found:
            storage.delete(orphan.path)
    freed = 0 if dry_run else forget_versions(storage, older_than_hours * 3600, GRAPH.tables.keys())
    _print_cleaned(found, freed, dry_run, as_json)
    return OK


def _print_cleaned(found: "Sequence[Orphan]", freed: int, dry_run: bool, as_json: bool) -> None:
    """Which files are gone, or would be, and how many bytes of old table versions were freed."""
    size = sum(orphan.bytes for orphan in found)
    if as_json:
        print_document(
            {"removed": not dry_run, "bytes": size, "table_bytes": freed, "files": [orphan.path for orphan in found]}
        )
        return
    console = results()
    for orphan in found if dry_run else []:
        console.print(escaped(orphan.path), soft_wrap=True)
    console.print(f"{len(found)} media files, {size / (1 << 20):.1f} MiB {'would be' if dry_run else 'were'} removed")
    if not dry_run:
        console.print(f"{freed / (1 << 20):.1f} MiB of old table versions were removed")
