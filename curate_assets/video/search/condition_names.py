"""What a condition in SQL names, by DuckDB's own parser."""

import json
from collections.abc import Iterator
from typing import Any

from curate_assets.graph.sql import QueryError, in_memory
from gpu_kernels.errors import UserError

_EXAMPLE = "give one condition, such as clips.end_ns - clips.start_ns > 5e9"

WITHOUT_COLUMN = frozenset({"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"})
"""Names that stand for a value where no column has them."""


def column_names(condition: str) -> Iterator[list[str]]:
    """The columns that a condition names, each as its parts. It has to be one by itself, and in parentheses, too: what
    closes them (`true) OR (true`) would take clips that other conditions leave out.

    Raises:
        QueryError: it is no condition.
    """
    if not condition.strip():
        raise UserError(f"--where is empty: {_EXAMPLE}")
    with in_memory() as connection:
        alone, enclosed = (
            json.loads(connection.execute("SELECT json_serialize_sql($1)", [text]).fetchall()[0][0])
            for text in (f"SELECT 1 WHERE {condition}\n", f"SELECT 1 WHERE ({condition}\n)")
        )
    if said := enclosed.get("error_message") or alone.get("error_message"):
        raise QueryError(f"--where {condition}: {said}")
    if len(alone["statements"]) != 1:
        raise UserError(f"--where {condition}: {_EXAMPLE}")
    yield from _names_in(enclosed["statements"][0])


def _names_in(node: Any) -> Iterator[list[str]]:
    if isinstance(node, dict):
        if node.get("class") == "COLUMN_REF":
            yield node["column_names"]
        if node.get("class") == "LAMBDA":
            own = {name[0] for name in _names_in(node["lhs"])}  # its parameters, which hide columns of their names
            yield from (name for name in _names_in(node["expr"]) if name[0] not in own)
            return
        if node.get("class") == "SUBQUERY":
            raise UserError("a condition of a search has no subqueries: `curate query` runs any SQL")
        for value in node.values():
            yield from _names_in(value)
    elif isinstance(node, list):
        for value in node:
            yield from _names_in(value)
