"""`curate sample`: clips chosen by their vectors, as a list that a selection can be limited to."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curate_cli.command import OK, Json, Root, existing_root, of_video_graph
from curate_cli.printing import escaped, print_document, results

if TYPE_CHECKING:
    from curate_assets.video.chosen_clips import ChosenClips

_COUNT = 100
_SHOWN = 10


def sample(
    diverse: Annotated[int | None, typer.Option(min=1, help="So many clips that are least like each other.")] = None,
    isolated: Annotated[int | None, typer.Option(min=1, help="So many clips that are like no others.")] = None,
    nearest_to: Annotated[
        Path | None,
        typer.Option(help="Clips like those that this CSV or JSONL file labels `keep`; those with a label, less."),
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="How many clips --nearest-to chooses. Default: 100.")] = None,
    listed: Annotated[
        Path | None, typer.Option("--from", help="The clips in the column clip_id of this CSV file.")
    ] = None,
    table: Annotated[str, typer.Option(help="The table with the vectors.")] = "clip_embeddings",
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Choose some of the selected clips, and write a list of them that `clip_selection.only` can name.

    Nothing is set: the list lies in the root, and the clips that are selected are the same as before.
    """
    from curate_assets.graphs import GRAPH
    from curate_assets.video.chosen_clips import (
        candidates,
        choose_diverse,
        choose_isolated,
        choose_listed,
        choose_nearest,
    )
    from curate_assets.video.clip_lists import clips_in, title_of
    from curate_assets.video.labelling.label_files import read_labels
    from curate_assets.video.search.looked_for import vector_table
    from curate_resources.tables.lance_tables import Tables
    from gpu_kernels.errors import UserError

    of_video_graph("sample")
    if sum(each is not None for each in (diverse, isolated, nearest_to, listed)) != 1:
        raise UserError("give one of --diverse, --isolated, --nearest-to and --from")
    if count is not None and nearest_to is None:
        raise UserError("--count is of --nearest-to: --diverse and --isolated take their number themselves")
    tables = Tables(existing_root(root))
    if listed is None:
        table = vector_table(tables, GRAPH, table).name
    if listed is not None:
        chosen = choose_listed(tables, clips_in(str(listed), _content(listed)), title_of(listed.stem))
    elif diverse is not None:
        chosen = choose_diverse(tables, candidates(tables, table), diverse)
    elif isolated is not None:
        chosen = choose_isolated(tables, candidates(tables, table), isolated)
    else:
        assert nearest_to is not None
        labels = read_labels(nearest_to.name, _content(nearest_to))
        chosen = choose_nearest(
            tables, candidates(tables, table), labels, title_of(f"like-{nearest_to.stem}"), count or _COUNT
        )
    _print_chosen(chosen, tables.storage.uri(chosen.path), table, as_json)
    return OK


def _content(file: Path) -> bytes:
    from gpu_kernels.errors import UserError

    try:
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from error


def _print_chosen(chosen: "ChosenClips", uri: str, table: str, as_json: bool) -> None:
    """Where the list is, what is in it, and how to use it."""
    if as_json:
        clips = [{"clip_id": clip, "value": value} for clip, value in zip(chosen.clips, chosen.values, strict=True)]
        about = {"name": chosen.name, "file": uri, "of": chosen.of, "without_vector": chosen.without_vector}
        print_document({**about, "clips": clips, "unknown": chosen.unknown})
        return
    console = results()
    for clip, value in [*zip(chosen.clips, chosen.values, strict=True)][:_SHOWN]:
        console.print(f"{clip}{'' if value is None else f'  [dim]{value:.4f}[/dim]'}")
    if len(chosen.clips) > _SHOWN:
        console.print(f"[dim]and {len(chosen.clips) - _SHOWN:,} more[/dim]")
    console.print(f"{len(chosen.clips):,} of {chosen.of:,} clips: {escaped(uri)}", soft_wrap=True)
    if chosen.without_vector:
        console.print(
            f"[yellow]{chosen.without_vector:,} more have no vector in {table}[/yellow], and cannot be chosen: "
            f"`curate materialize --select {table}`",
            soft_wrap=True,
        )
    if chosen.unknown:
        named = ", ".join(chosen.unknown[:_SHOWN]) + (", ..." if len(chosen.unknown) > _SHOWN else "")
        console.print(
            f"[yellow]left out: the root has no clip {escaped(named)} ({len(chosen.unknown):,} in all)[/yellow]; "
            "their ids are in the column clip_id of `clips`",
            soft_wrap=True,
        )
    console.print(f"To select these alone: [bold]clip_selection: {{only: {chosen.name}}}[/bold] in curate.yaml")
