"""`curate export`: the training set and its tables as one ZIP."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from curate_cli.command import OK, Json, Root, Shards, existing_root, of_video_graph
from curate_cli.printing import escaped, print_document, results

if TYPE_CHECKING:
    from curate_assets.video.export import Exported


def export(
    to: Annotated[str, typer.Option(help="A file, a URI such as s3://bucket/set.zip, or a URL presigned for PUT.")],
    shard: Shards = None,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Write the training set and its tables as one ZIP, whole or not at all; the same set gives the same bytes."""
    from curate_assets.graphs import GRAPH
    from curate_assets.settings.resolve import resolve_config
    from curate_assets.video.assets.training_dataset import TRAINING_DATASET, TrainingDatasetConfig
    from curate_assets.video.export import export_dataset
    from curate_resources.sources.manifests import Manifests
    from curate_resources.tables.lance_tables import Tables

    of_video_graph("export")
    storage = existing_root(root)
    shards = frozenset(Manifests(storage).chosen(shard)) if shard else None
    version = resolve_config(storage).section(TRAINING_DATASET.name, TrainingDatasetConfig).version
    _print_exported(export_dataset(GRAPH, Tables(storage), version, to, shards), as_json)
    return OK


def _print_exported(result: "Exported", as_json: bool) -> None:
    """What `curate export` wrote."""
    if as_json:
        print_document(asdict(result))
        return
    results().print(
        f"{escaped(result.to)}: {result.samples} samples in {result.tars} tars, {len(result.tables)} tables, "
        f"{result.bytes / (1 << 20):.1f} MiB",
        soft_wrap=True,
    )
