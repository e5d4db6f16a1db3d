"""The asset graph as Mermaid, which GitHub draws. Edges that follow from others are left out."""

from typing import TYPE_CHECKING

from curate_assets.graphs import GRAPH

if TYPE_CHECKING:
    from dagster._core.definitions.assets.graph.asset_graph import AssetGraph  # what Definitions resolve to

_STYLE = "color:#111827,stroke-width:1.5px"
"""Boxes have their own background, so that they can be read on light and dark pages."""


def graph_diagram(graph: "AssetGraph") -> str:
    """A fenced block with the diagram: blue are assets by shard, green those over all shards."""
    names = [key.to_user_string() for key in graph.toposorted_asset_keys]
    parents = {
        key.to_user_string(): sorted(parent.to_user_string() for parent in graph.get(key).parent_keys)
        for key in graph.toposorted_asset_keys
    }
    whole = [key.to_user_string() for key in graph.toposorted_asset_keys if graph.get(key).partitions_def is None]
    together = {stage.name: [table.name for table in stage.writes] for stage in GRAPH.stages if len(stage.writes) > 1}
    lines = ["```mermaid", "flowchart LR"]
    for stage, made in together.items():
        lines += [f'  subgraph {stage}["{stage}: one decode"]', *(f"    {name}" for name in made), "  end"]
    above: dict[str, set[str]] = {}
    for name in names:
        above[name] = {*parents[name]}.union(*(above[parent] for parent in parents[name]))
        direct = [parent for parent in parents[name] if not any(parent in above[other] for other in parents[name])]
        lines += [f"  {parent} --> {name}" for parent in direct]
    lines += [f"  classDef shard fill:#dbeafe,stroke:#2563eb,{_STYLE}"]
    lines += [f"  classDef whole fill:#dcfce7,stroke:#15803d,{_STYLE}"]
    lines += [f"  class {','.join(name for name in names if name not in whole)} shard"]
    lines += [f"  class {','.join(whole)} whole", "```"]
    return "\n".join(lines)
