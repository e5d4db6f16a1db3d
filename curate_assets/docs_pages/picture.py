"""`docs/images/graph.svg`: the asset graph, layered from left to right.

Edges that follow from others are left out. The layers and the order within them are those of Sugiyama et al. 1981: the
longest path from the start, and a few sweeps that put every node at the middle of its neighbours. Boxes bring their own
background and lines are a middle grey, so that the picture reads on light and dark pages alike.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING

from curate_assets.graphs import GRAPH

if TYPE_CHECKING:
    from dagster._core.definitions.assets.graph.asset_graph import AssetGraph

Edge = tuple[str, str]

_BOX_WIDTH, _BOX_HEIGHT, _COLUMN, _ROW, _MARGIN, _TOP = 98, 46, 126, 62, 10, 42
_PER_SHARD, _WHOLE, _LINE, _LABEL = ("#dbeafe", "#2563eb"), ("#dcfce7", "#15803d"), "#8b93a1", "#7a8290"
_DASHED = f"fill='none' stroke='{_LINE}' stroke-dasharray='4 3'"
_FONT = "font-family='ui-sans-serif, system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif'"
_SWEEPS = 8


def graph_picture(graph: "AssetGraph") -> str:
    """The picture as SVG."""
    names = [key.to_user_string() for key in graph.toposorted_asset_keys]
    parents = {
        key.to_user_string(): {parent.to_user_string() for parent in graph.get(key).parent_keys}
        for key in graph.toposorted_asset_keys
    }
    sharded = {key.to_user_string() for key in graph.toposorted_asset_keys if graph.get(key).partitions_def is not None}
    edges = _reduced(names, parents)
    chains, layers = _layered(names, edges)
    rows = _placed(layers, {edge for chain in chains for edge in pairwise(chain)})
    place = {
        node: (_MARGIN + column * _COLUMN, _TOP + rows[node] * _ROW)
        for column, layer in enumerate(layers)
        for node in layer
    }
    width = 2 * _MARGIN + (len(layers) - 1) * _COLUMN + _BOX_WIDTH
    height = _TOP + round((max(rows.values()) + 1) * _ROW) + 8
    body = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' role='img' {_FONT}>",
        "<title>The asset graph: from source_videos to training_dataset and dataset_report</title>",
        f"<defs><marker id='tip' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' orient='auto'>"
        f"<path d='M0 0.5 L7.5 4 L0 7.5 z' fill='{_LINE}'/></marker></defs>",
        *_legend(),
        *(_frame([place[table.name] for table in stage.writes]) for stage in GRAPH.stages if len(stage.writes) > 1),
        *(_path([place[node] for node in chain], {chain[0], chain[-1]}, chain) for chain in chains),
        *(_box(name, *place[name], *(_PER_SHARD if name in sharded else _WHOLE)) for name in names),
        "</svg>",
    ]
    return "\n".join(body) + "\n"


def _reduced(names: list[str], parents: dict[str, set[str]]) -> list[Edge]:
    """The edges that no longer path replaces."""
    above: dict[str, set[str]] = {}
    for name in names:
        above[name] = parents[name].union(*(above[parent] for parent in parents[name]))
    return [
        (parent, name)
        for name in names
        for parent in sorted(parents[name])
        if not any(parent in above[other] for other in parents[name])
    ]


def _layered(names: list[str], edges: list[Edge]) -> tuple[list[list[str]], list[list[str]]]:
    """Every edge as a chain through all layers that it spans, and the nodes of each layer, bends included."""
    level: dict[str, int] = {}
    for name in names:
        level[name] = max((level[parent] + 1 for parent, child in edges if child == name), default=0)
    layers: list[list[str]] = [[name for name in names if level[name] == at] for at in range(max(level.values()) + 1)]
    chains: list[list[str]] = []
    for parent, child in edges:
        bends = {at: f"{parent}>{child}@{at}" for at in range(level[parent] + 1, level[child])}
        for at, bend in bends.items():
            layers[at].append(bend)
        chains.append([parent, *bends.values(), child])
    return chains, layers


def _placed(layers: list[list[str]], links: set[Edge]) -> dict[str, float]:
    """A row for every node, in halves; layers are centred on each other."""
    order = {node: float(at) for layer in layers for at, node in enumerate(layer)}
    for sweep in range(_SWEEPS):
        forward = sweep % 2 == 0
        for layer in layers if forward else layers[::-1]:
            toward = {
                node: [(a if forward else b) for a, b in links if (b if forward else a) == node] for node in layer
            }
            middle = {
                node: sum(order[n] for n in near) / len(near) if near else order[node] for node, near in toward.items()
            }
            layer.sort(key=lambda node: (middle[node], order[node]))
            order |= {node: at - (len(layer) - 1) / 2 for at, node in enumerate(layer)}
    lowest = min(order.values())
    return {node: row - lowest for node, row in order.items()}


def _legend() -> Iterable[str]:
    words = ((_PER_SHARD, "per shard of videos"), (_WHOLE, "over all shards"))
    for index, ((fill, stroke), text) in enumerate(words):
        left = _MARGIN + index * 145
        yield f"<rect x='{left}' y='8' width='14' height='14' rx='3' fill='{fill}' stroke='{stroke}'/>"
        yield f"<text x='{left + 20}' y='19' font-size='12' fill='{_LABEL}'>{text}</text>"
    left = _MARGIN + len(words) * 145 - 20
    yield f"<rect x='{left}' y='8' width='14' height='14' rx='3' {_DASHED}/>"
    yield f"<text x='{left + 20}' y='19' font-size='12' fill='{_LABEL}'>one decode of the video</text>"


def _frame(places: list[tuple[float, float]]) -> str:
    left, top = (min(place[axis] for place in places) - 6 for axis in (0, 1))
    right, bottom = max(x for x, _ in places) + _BOX_WIDTH + 6, max(y for _, y in places) + _BOX_HEIGHT + 6
    return f"<rect x='{left:g}' y='{top:g}' width='{right - left:g}' height='{bottom - top:g}' rx='11' {_DASHED}/>"


def _box(name: str, left: float, top: float, fill: str, stroke: str) -> str:
    first, _, second = name.partition("_")
    middle = left + _BOX_WIDTH / 2
    text = f"font-size='12.5' font-weight='600' fill='#111827' text-anchor='middle' x='{middle:g}'"
    return (
        f"<g><rect x='{left:g}' y='{top:g}' width='{_BOX_WIDTH}' height='{_BOX_HEIGHT}' rx='8' fill='{fill}' "
        f"stroke='{stroke}' stroke-width='1.4'/>"
        + (
            f"<text {text} y='{top + 20:g}'>{first}_</text><text {text} y='{top + 35:g}'>{second}</text></g>"
            if second
            else f"<text {text} y='{top + 27:g}'>{name}</text></g>"
        )
    )


def _path(places: list[tuple[float, float]], ends: set[str], chain: list[str]) -> str:
    centre = _BOX_HEIGHT / 2
    left, top = places[0]
    x, y = left + _BOX_WIDTH, top + centre
    drawn = [f"M{x:g} {y:g}"]
    for node, (left, top) in zip(chain[1:], places[1:], strict=True):
        bend = (x + left) / 2
        drawn.append(f"C{bend:g} {y:g} {bend:g} {top + centre:g} {left:g} {top + centre:g}")
        x, y = left, top + centre
        if node not in ends:  # through the free place of a layer in between
            x += _BOX_WIDTH
            drawn.append(f"H{x:g}")
    return f"<path d='{' '.join(drawn)}' fill='none' stroke='{_LINE}' stroke-width='1.5' marker-end='url(#tip)'/>"
