"""What is wrong with a condition, in a sentence: DuckDB's own words without the SQL around them, and the types."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from curate_assets.graph.sql import QueryError

if TYPE_CHECKING:
    import duckdb

_LONGEST = 160
_OF_TYPES = ("cast", "convert", "compare", "type", "overload", "function matches")


def told(condition: str, error: "duckdb.Error", types: Mapping[str, pa.DataType]) -> QueryError:
    """The error of a condition.

    Args:
        types: of the columns that it names, by `table.column`.
    """
    said = str(error).partition("\n")[0]
    if said.startswith(("Binder Error: ", "Conversion Error: ", "Catalog Error: ", "Invalid Input Error: ")):
        said = said.partition(": ")[2]
    if len(said) > _LONGEST:
        said = f"{said[:_LONGEST]}…"
    remedies = [_said(name, kind) for name, kind in types.items()] if any(each in said for each in _OF_TYPES) else []
    return QueryError("; ".join([f"--where {condition.strip()}: {said.rstrip('.!')}", *remedies]))


def _said(name: str, kind: pa.DataType) -> str:
    """What a column holds, and how it is asked about."""
    if pa.types.is_list(kind):
        return f"{name} is a list: list_contains({name}, ...)"
    if pa.types.is_struct(kind):
        return f"{name} has fields: {name}.{kind.field(0).name}"
    if pa.types.is_string(kind):
        return f"{name} is text: compare it with text in single quotes"
    if pa.types.is_boolean(kind):
        return f"{name} is true or false: write {name}, or NOT {name}"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return f"{name} is a number ({kind}): compare it with one"
    return f"{name} is of type {kind}"
