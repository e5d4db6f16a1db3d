"""Which graph a root is curated by: read from its configuration before any graph is imported.

A process runs one graph. The environment names it, or the root does; else it is the video graph.
"""

import os

from curate_resources.storage.root import Storage, root_uri

CONFIG_FILE = "curate.yaml"
VARIABLE = "CURATE_GRAPH"


def graph_of(root: str | None = None) -> str | None:
    """The graph that `<root>/curate.yaml` names; None where it names none, or cannot be read: whoever reads it for its
    settings says what is wrong."""
    try:
        import yaml  # not in the core that workers have: they are sent their stages

        storage = Storage(root_uri(root))
        named = yaml.safe_load(storage.read(CONFIG_FILE)).get("graph")
    except Exception:
        return None
    return named if isinstance(named, str) else None


def choose_graph(root: str | None) -> None:
    """Have this process and those that it starts run the graph of a root, unless the environment names one."""
    if VARIABLE not in os.environ and (named := graph_of(root)) is not None:
        os.environ[VARIABLE] = named
