"""`curate clean`: files and versions that nothing needs, and tables that are quick to read."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from curate_cli.command import OK, Json, Root, existing_root
from curate_cli.printing import escaped, print_document, results

if TYPE_CHECKING:
    from curate_resources.tables.orphans import Orphan
    from curate_resources.tables.upkeep import Tended


def clean(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would go.")] = False,
    older_than_hours: Annotated[
        float, typer.Option(min=0, help="Leave younger files: a run that is under way writes files before their rows.")
    ] = 24.0,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Remove files that nothing needs, and old versions of tables: of killed runs, earlier settings or removed shards;
    and compact and index the tables. Files and tables of assets that others added to the root stay.

    With --older-than-hours 0 nothing may run at the same time.
    """
    from curate_assets.graphs import GRAPH
    from curate_assets.settings.resolve import resolve_config
    from curate_resources.tables.lance_tables import Tables
    from curate_resources.tables.orphans import forget_versions, orphans
    from curate_resources.tables.upkeep import tended

    storage = existing_root(root)
    unneeded = GRAPH.unneeded(Tables(storage), resolve_config(storage))
    found = sorted(orphans(storage, GRAPH.tables, older_than_hours * 3600, unneeded), key=lambda orphan: orphan.path)
    if not dry_run:
        for orphan in found:
            storage.delete(orphan.path)
    freed = 0 if dry_run else forget_versions(storage, older_than_hours * 3600, GRAPH.tables.keys())
    done = None if dry_run else tended(storage, GRAPH.tables)
    _print_cleaned(found, freed, done, as_json)
    return OK


def _print_cleaned(found: "Sequence[Orphan]", freed: int, done: "Tended | None", as_json: bool) -> None:
    """Which files are gone, or would be, how many bytes of old table versions were freed, and what became of tables."""
    size, dry_run = sum(orphan.bytes for orphan in found), done is None
    if as_json:
        files = [orphan.path for orphan in found]
        tables = {} if done is None else asdict(done)
        print_document({"removed": not dry_run, "bytes": size, "table_bytes": freed, "files": files, **tables})
        return
    console = results()
    for orphan in found if dry_run else []:
        console.print(escaped(orphan.path), soft_wrap=True)
    removed = "would be removed" if dry_run else "were removed"
    console.print(f"{len(found)} files that nothing needs, {size / (1 << 20):.1f} MiB, {removed}")
    if done is not None:
        console.print(f"{freed / (1 << 20):.1f} MiB of old table versions were removed")
        for what, tables in (("compacted", done.compacted), ("indexed", done.indexed), ("in use, left", done.busy)):
            if tables:
                console.print(f"{what}: {', '.join(tables)}")
