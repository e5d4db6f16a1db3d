"""The rows that a worker made, with the columns that every row has."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from curate_resources.declarations.table import Row
from curate_resources.pipeline.fingerprints import Key, keys_of


def with_common_columns(
    made: "list[Row] | pa.Table",
    schema: pa.Schema,
    shard: str,
    stage: str,
    links: Sequence[str],
    print_of: Mapping[Key, str],
) -> pa.Table:
    """Rows that are good where they do not say, as their table has them.

    Args:
        stage: which made them, for their errors.
        links: the columns by which they belong to items; `print_of` has the fingerprints of these.
    """
    if isinstance(made, pa.Table):
        fingerprints = [print_of[key] for key in keys_of(made, links)]
        return _completed(made, schema, {"shard": shard, "status": "ok"}, fingerprints)
    rows = [
        {
            "status": "ok",
            **row,
            "error": {"stage": stage, "attempt": 1, **row["error"]} if row.get("error") else None,
            "shard": shard,
            "fingerprint": print_of[tuple(row[column] for column in links)],
        }
        for row in made
    ]
    return pa.Table.from_pylist(rows, schema=schema)


def _completed(rows: pa.Table, schema: pa.Schema, common: Mapping[str, str], fingerprints: Sequence[str]) -> pa.Table:
    count = rows.num_rows
    given = {name: pa.repeat(value, count) for name, value in common.items()}
    given |= {"fingerprint": pa.array(fingerprints), **{name: rows[name] for name in rows.column_names}}
    columns = [
        given[each.name].cast(each.type) if each.name in given else pa.nulls(count, each.type) for each in schema
    ]
    return pa.table(columns, schema=schema)
