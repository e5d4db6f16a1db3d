"""How much of what a search of vectors should find it finds, measured on the vectors that are stored."""

import time
from dataclasses import dataclass

import numpy as np

from curate_assets.graph.graph import Graph
from curate_assets.video.assets.caption_embeddings import CAPTION_EMBEDDINGS
from curate_assets.video.search.looked_for import vector_tables
from curate_resources.declarations.table import Table
from curate_resources.tables.indexes import index_of
from curate_resources.tables.lance_tables import Tables
from curate_resources.tables.searching import recall

_QUERIES = 50
_SEED = 0


@dataclass(frozen=True)
class MeasuredRecall:
    """Of one table.

    Attributes:
        vectors: how many are stored; `indexed` of them are in the index.
        queries: vectors that were looked for, taken at random from those that are stored.
        limit: neighbours of each.
        recall: share of the nearest that were found, the mean over the queries, and of the worst query.
        seconds: CPU time of a search by the index and of one by all vectors, together.
    """

    table: str
    vectors: int
    indexed: int
    queries: int
    limit: int
    recall: float
    worst: float
    seconds: float


def measured_recall(tables: Tables, graph: Graph, limit: int) -> list[MeasuredRecall]:
    """That of every table of vectors with rows. Without an index all vectors are compared, and it is 1."""
    known = [*vector_tables(graph).values(), CAPTION_EMBEDDINGS]
    return [found for table in known if tables.exists(table.name) and (found := _of(tables, table, limit)) is not None]


def _of(tables: Tables, table: Table, limit: int) -> MeasuredRecall | None:
    dataset = tables.dataset(table.name)
    rows = dataset.count_rows()
    places = np.sort(np.random.default_rng(_SEED).choice(rows, min(_QUERIES, rows), replace=False))
    sampled = dataset.take(places.tolist(), ["vector"])["vector"].to_pylist()
    queries = [np.array(vector, np.float32) for vector in sampled if vector]
    if not queries:
        return None
    name = index_of(dataset, "vector")
    indexed = dataset.stats.index_stats(name)["num_indexed_rows"] if name is not None else 0
    start = time.process_time()
    shares = recall(tables, table, "vector", queries, limit)
    seconds = (time.process_time() - start) / len(queries)
    return MeasuredRecall(
        table.name, rows, indexed, len(queries), limit, float(shares.mean()), float(shares.min()), seconds
    )
