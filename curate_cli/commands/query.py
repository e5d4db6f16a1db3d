"""`curate query`: SQL over the tables."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from curate_cli.command import OK, Json, Root
from curate_cli.printing import escaped, print_document

if TYPE_CHECKING:
    import pyarrow as pa

_SHOWN_ROWS = 200


def query(
    sql: Annotated[str, typer.Argument(help="SQL over the tables, named as the assets; DuckDB's dialect.")],
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Run SQL over the tables."""
    from curate_assets.query import run_query
    from curate_resources.storage import Storage, root_uri

    _print_rows(run_query(Storage(root_uri(root)), sql), as_json)
    return OK


def _print_rows(result: "pa.Table", as_json: bool) -> None:
    """The result of a query."""
    if as_json:
        print_document(result.to_pylist())
        return
    table = Table(header_style="bold")
    for name in result.column_names:
        table.add_column(escaped(name), overflow="fold")
    for row in result.slice(0, _SHOWN_ROWS).to_pylist():
        table.add_row(*(escaped(_cell(value)) for value in row.values()))
    console = Console(highlight=False)
    console.print(table)
    if result.num_rows > _SHOWN_ROWS:
        console.print(f"{_SHOWN_ROWS} of {result.num_rows} rows; --json prints all")


def _cell(value: Any) -> str:
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, list) and len(value) > 8:
        return f"{str(value[:4])[:-1]}, ... {len(value)} values]"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)
