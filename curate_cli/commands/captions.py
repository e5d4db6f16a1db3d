"""`curate captions`: what was said of clips, under their pictures."""

from typing import TYPE_CHECKING, Annotated

import typer

from curate_cli.command import OK, Json, Root, Shards, existing_root, of_video_graph
from curate_cli.printing import escaped, open_page, print_document, results

if TYPE_CHECKING:
    from curate_assets.video.report.caption_page import CaptionPage


def captions(
    shard: Shards = None,
    clip: Annotated[str | None, typer.Option(help="Captions of the clips whose id begins so.")] = None,
    search: Annotated[str | None, typer.Option(metavar="TEXT", help="Captions with this text.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Most windows to show, evenly from all.")] = 60,
    show: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = True,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Write a page of captions under pictures of their windows, and open it."""
    from curate_assets.graphs import GRAPH
    from curate_assets.video.report.caption_page import as_reported, caption_page, write_caption_page
    from curate_resources.sources.manifests import Manifests
    from curate_resources.tables.lance_tables import Tables

    of_video_graph("captions")
    storage = existing_root(root)
    tables = as_reported(Tables(storage), GRAPH)
    page = caption_page(tables, Manifests(storage).matching(shard) if shard else (), clip, search, count)
    _print_captions(page, write_caption_page(tables, page), show and not as_json, as_json)
    return OK


def _print_captions(page: "CaptionPage", uri: str, show: bool, as_json: bool) -> None:
    """The texts that count, and where the page is."""
    if as_json:
        print_document({"total": page.total, "windows": [each.document() for each in page.windows], "page": uri})
        return
    console = results()
    for window in page.windows:
        said = next(reversed(window.texts.values()), None)
        where = f"[dim]{escaped(window.clip_id)} {window.start_frame}–{window.end_frame}[/dim]"
        console.print(f"{where} {escaped(said) if said is not None else f'[dim]{window.status}[/dim]'}", soft_wrap=True)
    console.print(f"{page.total} windows; page: {escaped(uri)}", soft_wrap=True)
    if show:
        open_page(uri)
