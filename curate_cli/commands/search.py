"""`curate search`: clips by what is said, written or shown in them."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from curate_cli.command import OK, ConfigFile, Json, Root, Shards, existing_root, given_settings, of_video_graph
from curate_cli.printing import escaped, open_page, print_document, results
from gpu_kernels.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from curate_assets.video.search.found import Found, Match
    from curate_resources.tables.lance_tables import Tables


def search(
    words: Annotated[
        list[str] | None,
        typer.Argument(help="Words of captions, of text in the picture, of speech or of labels; in quotes, a phrase."),
    ] = None,
    like: Annotated[
        str | None, typer.Option(metavar="CLIP-OR-FILE", help="A clip's id, or a picture or video to look like.")
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            metavar="SQL", help="A condition on any column of the clips' tables, such as borders.border_share < 0.1."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most clips to show.")] = 20,
    shard: Shards = None,
    selected: Annotated[
        bool, typer.Option("--selected", help="Only clips that are kept: selected, no copies.")
    ] = False,
    by: Annotated[
        str | None, typer.Option(metavar="TABLE", help="Go by the vectors of this variant of clip_embeddings.")
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Make a page with pictures, and open it in a browser.")] = False,
    recall: Annotated[
        bool, typer.Option("--recall", help="Measure how much of the nearest searches of vectors find; needs no words.")
    ] = False,
    config: ConfigFile = None,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Find clips by words, by what captions mean, or by a picture, the best first."""
    from curate_assets.graphs import GRAPH
    from curate_assets.settings.presets import ShardSettings
    from curate_assets.video.report.search_page import write_search
    from curate_assets.video.search.found import Query
    from curate_assets.video.search.searching import search as searched
    from curate_resources.sources.manifests import Manifests
    from curate_resources.tables.lance_tables import Tables

    of_video_graph("search")
    storage = existing_root(root)
    tables = Tables(storage)
    asked = " ".join(words) if words else None
    if recall:
        if asked is not None or like is not None:
            raise UserError("--recall looks for stored vectors: give it no words and no --like")
        return _print_recall(tables, limit, as_json)
    settings = ShardSettings.read(storage, given_settings(config)).whole
    shards = Manifests(storage).chosen(shard) if shard else None
    found = searched(tables, GRAPH, settings, Query(asked, like, where, shards, selected, limit, by))
    page = write_search(tables, asked or f"like {like}", found) if show else None
    if as_json:
        print_document({**asdict(found), "page": page})
    else:
        print_found(found, results())
        if page is not None:
            results().print(f"page: {escaped(page)}", soft_wrap=True)
            open_page(page)
    return OK


def print_found(found: "Found", console: "Console") -> None:
    """The clips, each with what matched; then what could not be searched."""
    for place, hit in enumerate(found.hits, 1):
        name = hit.uri.rpartition("/")[2] or hit.video_id
        span = f"{hit.start_ns / 1e9:.1f}-{hit.end_ns / 1e9:.1f} s"
        console.print(
            f"{place:>3}  [bold]{hit.clip_id}[/bold]  {escaped(name)}  {span}  {hit.score:.4f}", soft_wrap=True
        )
        for match in hit.matches:
            console.print(f"     [dim]{_said(match)}[/dim]", soft_wrap=True)
    if not found.hits:
        console.print(f"No clip; searched: {', '.join(found.searched)}", soft_wrap=True)
    for note in found.notes:
        console.print(f"[dim]{escaped(note)}[/dim]", soft_wrap=True)


def _said(match: "Match") -> str:
    score = f"{match.score:.2f}" if match.by == "words" else f"cosine {match.score:.3f}"
    shown = f": {escaped(match.snippet)}" if match.snippet else ""
    return f"{match.field} #{match.rank} ({score}){shown}"


def _print_recall(tables: "Tables", limit: int, as_json: bool) -> int:
    """How much of the nearest is found, by table."""
    from curate_assets.graphs import GRAPH
    from curate_assets.video.search.measured import measured_recall
    from gpu_kernels.errors import NotThere

    found = measured_recall(tables, GRAPH, limit)
    if not found:
        raise NotThere("there are no vectors yet: `curate materialize --select clip_embeddings`")
    if as_json:
        print_document([asdict(each) for each in found])
        return OK
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("table", "vectors", "in the index", f"recall at {limit}", "worst query"):
        table.add_column(column, justify="left" if column == "table" else "right")
    for each in found:
        indexed = f"{each.indexed:,}" if each.indexed else "none: all are compared"
        table.add_row(each.table, f"{each.vectors:,}", indexed, f"{each.recall:.4f}", f"{each.worst:.2f}")
    results().print(table)
    return OK
