"""The graph that this process runs: the video graph with the assets that other packages bring, or a graph of theirs."""

import os

from curate_assets.graph.discovery import ASSETS_GROUP, brought_assets, brought_graph, brought_graphs
from curate_assets.graph.graph import Graph
from curate_assets.graph.root_graph import CONFIG_FILE, VARIABLE, GraphChoice, graph_of
from curate_assets.graph.variants import with_variants
from curate_assets.video.graph import VIDEO
from curate_resources.suggestions import did_you_mean
from gpu_kernels.errors import UserError


def _chosen(name: str) -> Graph:
    if name == VIDEO.name:
        return VIDEO.extended(brought_assets(ASSETS_GROUP))
    graph = brought_graph(name)
    if graph is None:
        known = [VIDEO.name, *brought_graphs()]
        hint = did_you_mean(name, known) or f": there are {', '.join(known)}"
        raise UserError(
            f"there is no graph {name!r} here{hint}; `graph` in <root>/{CONFIG_FILE}, or {VARIABLE}, names one, "
            "and a package brings it by an entry point"
        )
    return graph


CHOICE = GraphChoice.decoded(named) if (named := os.environ.get(VARIABLE)) else graph_of()
"""What was chosen, by the environment or by the root."""

GRAPH = with_variants(_chosen(CHOICE.graph or VIDEO.name), CHOICE)

CurationConfig = GRAPH.config_model("CurationConfig", __name__)
ChecksConfig = CurationConfig.model_fields["checks"].annotation
"""Both are found here by the processes that settings are sent to."""
