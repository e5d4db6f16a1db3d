"""Values as the UI shows them: numbers that can be read, and rows as a table."""

import math
from collections.abc import Mapping
from typing import Any

import dagster as dg
import pyarrow as pa

from curate_assets.graph.whole_table import Markdown, StoredPath

_DIGITS = 6
_CELL = 300
"""Characters of a cell; a message of a decoder can be pages long."""


def readable(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata with a few significant digits: `0.666667`, not `0.6666666666666666`."""
    return {name: _readable(value) for name, value in metadata.items()}


def _readable(value: Any) -> Any:
    match value:
        case float():
            return float(f"{value:.{_DIGITS}g}")
        case Markdown():
            return dg.MetadataValue.md(value)
        case StoredPath():
            return dg.MetadataValue.path(value)
        case _:
            return value


def shown_rows(rows: pa.Table) -> dg.TableMetadataValue:
    """Rows as the UI shows them in place."""
    records = [dg.TableRecord({name: _cell(value) for name, value in row.items()}) for row in rows.to_pylist()]
    columns = [dg.TableColumn(field.name, str(field.type)) for field in rows.schema]
    return dg.TableMetadataValue(records=records, schema=dg.TableSchema(columns=columns))


def _cell(value: Any) -> str | int | float | bool | None:
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    text = str(value)  # JSON knows no nan, and the page no lists
    return text if len(text) <= _CELL else f"{text[: _CELL - 1]}…"
