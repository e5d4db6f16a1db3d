"""`curate semdedup`: SemDeDup, with the parameters and files of cosmos-curate's dedup step."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from curate_cli.command import OK, Json, Root, existing_root, of_video_graph
from curate_cli.printing import escaped, print_document, results
from gpu_kernels.errors import UserError
from gpu_kernels.models.files import Device

if TYPE_CHECKING:
    from curate_assets.video.semdedup import PairsFound, Summary


def semdedup(
    output: Annotated[str, typer.Option(help="Folder, or URI of one, for the centroids and tables.")],
    source: Annotated[
        str | None,
        typer.Option("--input", help="Parquet file or folder, or its URI. Default: selected clips of the root."),
    ] = None,
    table: Annotated[str, typer.Option(help="Of the root, the table with the vectors.")] = "clip_embeddings",
    id_column: Annotated[str, typer.Option(help="Of the files, the column with ids.")] = "id",
    vector_column: Annotated[str, typer.Option(help="Of the files, the column with vectors.")] = "embedding",
    clusters: Annotated[int, typer.Option(min=1, help="Clusters of k-means.")] = 4,
    iterations: Annotated[int, typer.Option(min=1, help="Most iterations of k-means.")] = 100,
    mini_batch: Annotated[
        bool,
        typer.Option(
            "--mini-batch", help="Each iteration goes by other random rows, not by all: quicker for millions."
        ),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of k-means.")] = 42,
    device: Annotated[Device, typer.Option(help="What k-means goes through the vectors on.")] = "cpu",
    eps: Annotated[
        list[float] | None,
        typer.Option(help="Rows more similar than 1 - EPS to one before them go; may be repeated. Default: 0.01."),
    ] = None,
    pairs: Annotated[
        float | None,
        typer.Option(min=0.5, max=1, help="Also find all pairs of this cosine or more, across clusters, too."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Remove the files of an earlier run first.")] = False,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Find semantic duplicates within clusters of k-means, as SemDeDup does, among clips or in files of others.

    Changes nothing in the root: what it finds lies in the output folder.
    """
    from curate_assets.graph.shared_work import share_of
    from curate_assets.graphs import GRAPH
    from curate_assets.settings.presets import ShardSettings
    from curate_assets.video.named_vectors import selected_parts
    from curate_assets.video.search.looked_for import vector_table
    from curate_assets.video.semdedup import run_semdedup
    from curate_assets.video.vector_files import parts_in_files
    from curate_resources.storage.root import Storage, root_uri
    from curate_resources.tables.lance_tables import Tables
    from curate_resources.tables.vector_clusters import Training

    if source is None:
        of_video_graph("semdedup")
        tables = Tables(existing_root(root))
        parts = selected_parts(tables, vector_table(tables, GRAPH, table).name)
    else:
        within = f"{root_uri(source).rstrip('/')}/"
        if f"{root_uri(output).rstrip('/')}/".startswith(within):
            raise UserError(
                f"--output {output} lies in --input {source}, and would be read as vectors: name another one"
            )
        parts = parts_in_files(Storage(root_uri(source)), id_column, vector_column)
    share = share_of(ShardSettings.read(Storage(root_uri(root))).whole)
    training = Training(iterations, seed, mini_batch, device)
    found, near = run_semdedup(
        parts, Storage(root_uri(output)), clusters, training, eps or [0.01], overwrite, pairs, share
    )
    _print_summaries(found, near, output, as_json)
    return OK


def _print_summaries(found: "list[Summary]", near: "PairsFound | None", output: str, as_json: bool) -> None:
    """What each bound keeps, and how many pairs there are."""
    if as_json:
        pairs = None if near is None else asdict(near)
        print_document({"output": output, "summaries": [asdict(each) for each in found], "pairs": pairs})
        return
    console = results()
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("eps", "kept", "removed", "total"):
        table.add_column(column, justify="right")
    for each in found:
        table.add_row(f"{each.eps:g}", f"{each.kept:,}", f"{each.removed:,}", f"{each.total:,}")
    console.print(table)
    if near is not None:
        known = "" if near.recall is None else f"; at least {near.recall:.2%} of all are found"
        console.print(
            f"{near.pairs:,} pairs of {near.least:g} or more, {near.across_clusters:,} of them across clusters{known}"
        )
    console.print(f"files: {escaped(output)}", soft_wrap=True)
