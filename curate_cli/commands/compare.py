"""`curate compare`: which of two results is better."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from curate_cli.command import FAILED, OK, ConfigFile, Json, Root, existing_root, given_settings, of_video_graph, told
from curate_cli.printing import escaped, open_page, print_document, results

if TYPE_CHECKING:
    from curate_assets.video.comparison.comparison import Comparison

compare = typer.Typer(no_args_is_help=True, help="Compare two results.")


def captions(
    a: Annotated[str, typer.Argument(metavar="A", help="A table of captions, such as captions.")],
    b: Annotated[
        str | None, typer.Argument(metavar="[B]", help="Another one. Default: A, of the root that --with-root names.")
    ] = None,
    with_root: Annotated[str | None, typer.Option(metavar="ROOT", help="The root of B. Default: that of A.")] = None,
    sample: Annotated[int | None, typer.Option(min=1, help="Most windows to judge, evenly from all.")] = None,
    max_regressions: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            metavar="SHARE",
            help="End with 1 if the judged windows that are better in A are surely a greater share than this.",
        ),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Most pairs of each outcome on the page.")] = 30,
    show: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = True,
    config: ConfigFile = None,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Let a model judge, window by window, whether the captions of A or of B are better, and write a page of it."""
    from curate_assets.graphs import GRAPH
    from curate_assets.settings.resolve import resolve_config
    from curate_assets.video.comparison.comparison import compare_captions
    from curate_assets.video.comparison.pairs import caption_table
    from curate_assets.video.report.comparison_page import write_comparison_page
    from curate_resources.tables.lance_tables import Tables
    from gpu_kernels.errors import UserError

    of_video_graph("compare captions")
    storage = existing_root(root)
    other = existing_root(with_root) if with_root is not None else storage
    sides = [caption_table(GRAPH.tables, name) for name in (a, b or a)]
    if other == storage and sides[0] is sides[1]:
        raise UserError(f"{a} is to be compared with itself: name another table, or the other root by --with-root")
    tables = Tables(storage)
    settings = resolve_config(storage, given_settings(config))
    found = compare_captions((tables, sides[0]), (Tables(other), sides[1]), settings, sample)
    page = write_comparison_page(tables, found, count)
    exceeded = max_regressions is not None and found.exceeds(max_regressions)
    if as_json:
        print_document({**found.document(), "page": page, "exceeded": exceeded})
    else:
        _print_comparison(found, page, max_regressions if exceeded else None)
        if show:
            open_page(page)
    return FAILED if exceeded else OK


def _print_comparison(found: "Comparison", page: str, exceeded: float | None) -> None:
    """Counts, shares and cost; and where the page is."""
    counts, results_by, cost = found.pairs.counts, found.results, found.cost
    console = results()
    console.print(
        f"{counts['changed']} windows with different captions, {counts['unchanged']} with the same; "
        f"{counts['only_a'] + counts['only_b'] + counts['no_text']} cannot be compared "
        f"({counts['only_a']} only in A, {counts['only_b']} only in B, {counts['no_text']} without a text)"
    )
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(justify="right")
    disagreed = len(found.decided) - sum(each.agreed for each in found.decided)
    for number, said in (
        (results_by["a"], f"A better: {escaped(found.a)}"),
        (results_by["b"], f"B better: {escaped(found.b)}"),
        (results_by["tie"], f"ties, {disagreed} of them because the two orders disagree"),
        (results_by["failed"], "not judged"),
    ):
        table.add_row(f"[bold]{number}[/bold]", said)
    console.print(table)
    if found.regressions is not None and found.agreement is not None:
        lower, upper = found.bounds
        console.print(
            f"regressions (A better): {found.regressions:.1%}, at 95% confidence {lower:.1%} to {upper:.1%}; "
            f"the two orders agree on {found.agreement:.0%}"
        )
    if failures := [each.failure for each in found.judged if each.failure]:
        console.print(f"not judged: {escaped(failures[0])}", soft_wrap=True)
    console.print(
        f"asked {escaped(found.model)} {cost.requests} times, "
        f"{cost.prompt_tokens:,} tokens of questions and {cost.output_tokens:,} of answers"
    )
    if exceeded is not None:
        sure = "no window could be judged" if not found.decided else f"surely more regressions than {exceeded:.1%}"
        console.print(f"[red]failed:[/red] {sure}")
    console.print(f"page: {escaped(page)}", soft_wrap=True)


compare.command("captions")(told(captions))
