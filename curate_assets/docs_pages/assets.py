"""`docs/assets.md`: every asset with its grain, its keys, what it is made from, its columns and its checks."""

from typing import TYPE_CHECKING

from curate_assets.docs_pages.diagram import graph_diagram
from curate_assets.graph.shard_checks import Check
from curate_assets.graphs import GRAPH
from curate_resources.declarations.table import COMMON_COLUMNS, Column, Table

if TYPE_CHECKING:
    from dagster._core.definitions.assets.graph.asset_graph import AssetGraph  # what Definitions resolve to

_HEAD = """\
# Assets

Generated from the table declarations and the asset graph by `python -m curate_assets.docs_pages`; do not edit.

{diagram}

Blue: by shard of videos. Green: over all shards.

Each asset but {pages} is a Lance table, `<root>/tables/<asset>.lance`. Times are in nanoseconds and count from
zero of the file's clock; spans are half open, `[start, end)`. *Made from* is what an asset depends on in Dagster.
"""


def assets_page(graph: "AssetGraph") -> str:
    """The page."""
    tables = GRAPH.tables
    keys = {key.to_user_string(): key for key in graph.toposorted_asset_keys}
    order = [*tables, *(name for name in keys if name not in tables)]
    overview = ["| asset | grain | made from | partitioned |", "|---|---|---|---|"]
    parts: list[str] = []
    for name in order:
        node = graph.get(keys[name])
        parents = sorted(parent.to_user_string() for parent in node.parent_keys)
        made_from = ", ".join(f"`{parent}`" for parent in parents) or "the shard's manifest"
        partitioned = "by shard" if node.partitions_def is not None else "no"
        grain = tables[name].grain if name in tables else "dataset"
        overview.append(f"| [`{name}`](#{name}) | {grain} | {made_from} | {partitioned} |")
        parts.append(_asset(name, node.description or "", tables.get(name), made_from))
    pages = " and ".join(f"`{asset.name}`" for asset in GRAPH.assets if asset.name not in tables)
    return "\n".join([_HEAD.format(diagram=graph_diagram(graph), pages=pages), *overview, "", _common(), *parts])


def _common() -> str:
    rows = [f"| `{column.name}` | {column.meaning} |" for column in COMMON_COLUMNS]
    return "\n".join(["## Columns of every table", "", "| column | meaning |", "|---|---|", *rows, ""])


def _meaning(asset: str, column: Column) -> str:
    assert column.meaning, f"{asset}.{column.name}: say what the column means"
    return column.meaning


def _effect(check: Check) -> str:
    return " *Blocking.*" if check.blocking else " *Only warns.*" if check.warns else ""


def _asset(name: str, description: str, table: Table | None, made_from: str) -> str:
    lines = [f"## `{name}`", "", " ".join(description.split()), ""]
    if table is None:
        return "\n".join([*lines, f"- made from: {made_from}", ""])
    lines += [f"- grain: {table.grain}", f"- keys within a shard: {', '.join(f'`{key}`' for key in table.keys)}"]
    lines += [f"- made from: {made_from}", f"- code version: {table.version}"]
    sections = ", ".join(f"[`{section}`](configuration.md#{section})" for section in table.sections)
    lines += [f"- settings: {sections or 'none'}"]
    only_gates = sorted({gate for stage in GRAPH.stages if table in stage.writes for gate in stage.gates})
    if only_gates:
        gates = " and ".join(f"`{gate}`" for gate in only_gates)
        lines += [f"- {gates} only decide which rows are made, not what is in them"]
    lines += ["", "| column | type | meaning |", "|---|---|---|"]
    lines += [f"| `{column.name}` | {column.type} | {_meaning(name, column)} |" for column in table.columns]
    checks = [check for check in GRAPH.checks if check.table is table]
    if checks:
        lines += ["", "Checks:", "", *(f"- `{check.name}`: {check.description}{_effect(check)}" for check in checks)]
    return "\n".join([*lines, ""])
