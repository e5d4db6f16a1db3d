"""The rows of a query as JSON, CSV or Parquet.

Parquet keeps every type. JSON and CSV have none for some values, which are written so that nothing is lost:

- bytes as base64, times as ISO 8601;
- decimals as numbers if a double holds them exactly, else as text;
- `NaN`, `Infinity` and `-Infinity` as these texts, since a JSON number cannot be one;
- in CSV, lists, structs and maps as JSON. An empty field is a null, and `""` an empty text.
"""

import base64
import json
import math
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import IO, Any, Literal

import pyarrow as pa
import pyarrow.types as of

from gpu_kernels.errors import UserError

Format = Literal["json", "csv", "parquet"]

_SUFFIXES: Mapping[str, Format] = {".json": "json", ".csv": "csv", ".parquet": "parquet"}


def format_of(output: str) -> Format:
    """The format that the end of a file's name or URI asks for.

    Raises:
        UserError: it asks for none of them.
    """
    name = output.partition("?")[0].lower()
    for suffix, kind in _SUFFIXES.items():
        if name.endswith(suffix):
            return kind
    raise UserError(f"{output} does not end in .json, .csv or .parquet: add --csv or --parquet to say what to write")


def write_rows(rows: pa.Table, kind: Format, file: IO[bytes]) -> None:
    """Write a query's rows as one document.

    Raises:
        UserError: Parquet has no type for a column.
    """
    if kind == "json":
        file.write(json_document(rows).encode())
    elif kind == "csv":
        import pyarrow.csv

        pyarrow.csv.write_csv(_flat(rows), file)
    else:
        import pyarrow.parquet

        try:
            pyarrow.parquet.write_table(rows, file)
        except pa.ArrowNotImplementedError as error:
            raise UserError(f"Parquet has no type for a column: {error}; cast it, for instance to varchar") from error


def json_document(rows: pa.Table) -> str:
    """The rows as a JSON list of objects."""
    plain = [{name: _plain(value) for name, value in row.items()} for row in rows.to_pylist()]
    return json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _flat(rows: pa.Table) -> pa.Table:
    """Rows in which columns that CSV has no text for are texts."""
    columns = [column if _is_flat(column.type) else _texts(column) for column in rows.columns]
    return pa.table(columns, names=rows.column_names)


def _is_flat(kind: pa.DataType) -> bool:
    simple = of.is_null(kind) or of.is_boolean(kind) or of.is_integer(kind) or of.is_floating(kind)
    timed = of.is_date(kind) or of.is_time(kind) or of.is_timestamp(kind)
    return simple or timed or of.is_decimal(kind) or of.is_string(kind)


def _texts(column: pa.ChunkedArray) -> pa.Array:
    def text(value: Any) -> str | None:
        plain = _plain(value)
        return plain if plain is None or isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)

    return pa.array([text(value) for value in column.to_pylist()], pa.string())


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, pa.MonthDayNano):
        return {"months": value.months, "days": value.days, "nanoseconds": value.nanoseconds}
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):  # a map's entries are tuples of key and value
        return [_plain(list(each) if isinstance(each, tuple) else each) for each in value]
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _number(value: Decimal) -> int | float | str:
    if value == value.to_integral_value():
        return int(value)
    return float(value) if Decimal(repr(float(value))) == value else str(value)
