"""SQL over the tables of the graph that runs."""

import pyarrow as pa

from curate_assets.graph.graph import Graph
from curate_assets.graph.sql import QueryError, run_sql
from curate_assets.graphs import GRAPH
from curate_resources.storage.root import Storage

__all__ = ["QueryError", "run_query"]


def run_query(storage: Storage, sql: str, graph: Graph = GRAPH) -> pa.Table:
    """The rows of one query; see `run_sql`."""
    return run_sql(storage, sql, graph)
