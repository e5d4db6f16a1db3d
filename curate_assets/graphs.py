"""The graph that this installation runs: the video graph, with the assets that other packages bring."""

from curate_assets.graph.brought import BROUGHT
from curate_assets.video.graph import VIDEO

GRAPH = VIDEO.extended(BROUGHT)

CurationConfig = GRAPH.config_model("CurationConfig", __name__)
