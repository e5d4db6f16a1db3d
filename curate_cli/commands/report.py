"""`curate report`: the page of the dataset as it stands."""

from typing import Annotated

import typer

from curate_cli.command import OK, Json, Root, existing_root, of_video_graph
from curate_cli.printing import escaped, open_page, print_document, results


def report(
    show: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = True,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Write the report of the dataset as it stands, and open it."""
    from curate_assets.graph.renaming import settings_under
    from curate_assets.graphs import GRAPH
    from curate_assets.settings.resolve import resolve_config
    from curate_assets.video.assets.dataset_report import DATASET_REPORT, write_report
    from curate_resources.tables.lance_tables import Tables

    of_video_graph("report")
    storage = existing_root(root)
    seen = GRAPH.asset(DATASET_REPORT.name).seen
    config = settings_under(resolve_config(storage), seen)
    written = write_report(Tables(storage).under(seen), config, tuple(GRAPH.tables.values()))
    _print_report(written.uri, show and not as_json, as_json)
    return OK


def _print_report(uri: str, show: bool, as_json: bool) -> None:
    """Where the report is."""
    if as_json:
        print_document({"report": uri})
        return
    results().print(f"report: {escaped(uri)}")
    if show:
        open_page(uri)
