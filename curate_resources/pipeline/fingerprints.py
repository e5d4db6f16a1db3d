"""Which stored rows hold: fingerprints of what rows are made from and how.

Rows carry the fingerprint of their item: the recipe of their table, and the identities of the item and of all rows that
were read for it. The same fingerprint means the same rows.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from curate_resources.declarations.table import Recipe, Table

Key = tuple[Any, ...]


def joined_on(item: Table, other: Table) -> list[str]:
    """The columns by which rows of `other` belong to a row of `item`."""
    return [name for name in item.links if other.has(name)]


def keys_of(rows: pa.Table, columns: Sequence[str]) -> list[Key]:
    """The values of some columns, by row."""
    return list(zip(*(rows[name].to_pylist() for name in columns), strict=True)) if columns else [()] * rows.num_rows


def made_by(table: str, recipe: Recipe) -> str:
    """A recipe as it goes into the fingerprints of a table's rows."""
    model = list(recipe.model) if recipe.model else None
    return json.dumps([table, recipe.version, recipe.settings, model], sort_keys=True)


def made_from(item: Table, items: pa.Table, reads: Sequence[Table], rows_read: Mapping[str, pa.Table]) -> list[str]:
    """The identities of what each item's rows are made from."""
    found: list[list[list[Key]]] = []
    for table in reads:
        links = joined_on(item, table)
        by_item: dict[Key, set[Key]] = {}
        rows = rows_read[table.name]
        identities = keys_of(rows, [*table.identity, "status"])
        for key, identity in zip(keys_of(rows, links), identities, strict=True):
            by_item.setdefault(key, set()).add(identity)
        in_order = {key: sorted(those, key=repr) if len(those) > 1 else [*those] for key, those in by_item.items()}
        found.append([in_order.get(key, []) for key in keys_of(items, links)])
    return [
        _encoded([identity, [read[i] for read in found]]) for i, identity in enumerate(keys_of(items, item.identity))
    ]


_encoded = json.JSONEncoder(default=str).encode


def fingerprint(recipe: str, identities: str) -> str:
    """Of an item's rows in one table: 32 hexadecimal digits."""
    return hashlib.sha256(f"{recipe}{identities}".encode()).hexdigest()[:32]


def holding(
    items: pa.Table, fingerprints: Sequence[str], links: Sequence[str], kept: pa.Table | None, whatever: bool
) -> dict[int, list[int]]:
    """Places of stored rows by item index, for the items all of whose rows hold: none failed, all have the fingerprint.

    Args:
        links: the columns that items and rows share.
        whatever: rows that did not fail hold, whatever their fingerprint.
    """
    if kept is None or kept.num_rows == 0:
        return {}
    places: dict[Key, list[int]] = {}
    for index, key in enumerate(keys_of(kept, links)):
        places.setdefault(key, []).append(index)
    stored, status = kept["fingerprint"].to_pylist(), kept["status"].to_pylist()
    found: dict[int, list[int]] = {}
    for i, key in enumerate(keys_of(items, links)):
        rows = places.get(key, [])
        holds = all(status[row] != "failed" and (whatever or stored[row] == fingerprints[i]) for row in rows)
        if rows and holds:
            found[i] = rows
    return found
