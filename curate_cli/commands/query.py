"""`curate query`: SQL over the tables."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from curate_cli.command import OK, Json, Root, existing_root
from curate_cli.printing import escaped, print_document, results

if TYPE_CHECKING:
    import pyarrow as pa

    from curate_assets.operations.query_output import Format

_SHOWN_ROWS = 200


def query(
    sql: Annotated[str, typer.Argument(help="SQL over the tables, named as the assets; DuckDB's dialect.")],
    csv: Annotated[bool, typer.Option("--csv", help="Write CSV.")] = False,
    parquet: Annotated[bool, typer.Option("--parquet", help="Write Parquet, which needs --output.")] = False,
    output: Annotated[
        str | None,
        typer.Option(help="Write to a file, a URI such as s3://bucket/rows.parquet, or a URL presigned for PUT."),
    ] = None,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Run SQL over the tables, and print the rows or write them to a file as JSON, CSV or Parquet."""
    from curate_assets.operations.query import run_query
    from curate_assets.operations.query_output import format_of, write_rows
    from curate_resources.storage.root import file_writer
    from gpu_kernels.errors import UserError

    if csv + parquet + (as_json and output is None) > 1:
        raise UserError("give one of --json, --csv and --parquet")
    if parquet and output is None:
        raise UserError("--parquet needs --output FILE")
    kind: Format | None = "csv" if csv else "parquet" if parquet else format_of(output) if output else None
    rows = run_query(existing_root(root), sql)
    if output is not None and kind is not None:
        with file_writer(output) as file:
            write_rows(rows, kind, file)
        _print_written(output.partition("?")[0], rows.num_rows, as_json)
    elif kind is not None or as_json:
        write_rows(rows, kind or "json", sys.stdout.buffer)
    else:
        _print_rows(rows)
    return OK


def _print_written(output: str, rows: int, as_json: bool) -> None:
    """Where the rows are."""
    if as_json:
        print_document({"output": output, "rows": rows})
        return
    results().print(f"{rows} rows in {escaped(output)}", soft_wrap=True)


def _print_rows(rows: "pa.Table") -> None:
    """The rows as a table for people."""
    table = Table(header_style="bold")
    for name in rows.column_names:
        table.add_column(escaped(name), overflow="fold")
    for row in rows.slice(0, _SHOWN_ROWS).to_pylist():
        table.add_row(*(escaped(_cell(value)) for value in row.values()))
    console = results()
    console.print(table)
    if rows.num_rows > _SHOWN_ROWS:
        console.print(f"{_SHOWN_ROWS} of {rows.num_rows} rows; --json and --csv print all, --output writes them")


def _cell(value: Any) -> str:
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, list) and len(value) > 8:
        return f"{str(value[:4])[:-1]}, ... {len(value)} values]"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)
