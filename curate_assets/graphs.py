"""The graph that this installation runs: the video graph, with the assets that other packages bring."""

from curate_assets.graph.discovery import ASSETS_GROUP, brought_assets
from curate_assets.video.graph import VIDEO

GRAPH = VIDEO.extended(brought_assets(ASSETS_GROUP))

CurationConfig = GRAPH.config_model("CurationConfig", __name__)
