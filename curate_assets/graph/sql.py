"""SQL over the tables: DuckDB reads the Lance datasets, each under its asset's name."""

import re
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import chain, count
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curate_assets.graph.graph import Graph
from curate_resources.storage.root import Storage
from curate_resources.suggestions import did_you_mean
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.errors import UserError

if TYPE_CHECKING:
    import duckdb

_CLOSED: dict[str, Any] = {"enable_external_access": "false", "autoinstall_known_extensions": "false"}


class QueryError(UserError):
    """SQL that cannot be run, or is no query; with the tables that there are."""


def run_sql(storage: Storage, sql: str, graph: Graph, names: Collection[str] | None = None) -> pa.Table:
    """The rows of one query.

    Besides the assets there are the views of the graph, such as `source_outcomes`.

    Args:
        names: of the tables and views that the query reads; None: any.

    Raises:
        QueryError: the SQL is wrong, or a table was never materialized.
    """
    import duckdb

    tables = Tables(storage)
    known = list(graph.tables)
    present = tables.names()
    with duckdb.connect(config=_CLOSED) as connection:
        views = {name: view for name, view in graph.views.items() if names is None or name in names}
        read = {*present} if names is None else {*names}.union(*(view.needs for view in views.values()))
        for name in (each for each in present if each in read):
            connection.register(name, tables.dataset(name))
        for name, view in views.items():
            if view.needs <= set(present):
                connection.execute(f"CREATE VIEW {name} AS {view.sql}")
        try:
            rows = interruptible(connection, lambda: _rows(connection, sql))
            return _named_apart(rows)
        except duckdb.Error as error:
            missing = sorted(set(known) - set(present))
            hint = f"tables: {', '.join(present) or 'none yet'}"
            hint += f"; not materialized: {', '.join(missing)}" if missing else ""
            meant = ""
            if column := re.search(r'does not have a column named "(\w+)"', str(error)):
                columns = {name for table in present for name in tables.dataset(table).schema.names}
                meant = did_you_mean(column[1], sorted(columns))
            raise QueryError(f"{error}{meant}\n{hint}") from error


def _rows(connection: Any, sql: str) -> pa.Table:
    result = connection.sql(sql)  # None if it is not a query, whatever its types say
    if result is None:
        raise QueryError("this SQL gives no rows: write a query, such as SELECT count(*) FROM clips")
    return result.to_arrow_table()


@cache
def _database() -> "duckdb.DuckDBPyConnection":
    import duckdb

    return duckdb.connect(config=_CLOSED)


def in_memory() -> "duckdb.DuckDBPyConnection":
    """A connection that has no tables but those that are registered with it. The first of a process takes some time."""
    return _database().cursor()


def interruptible(connection: Any, work: Callable[[], pa.Table]) -> pa.Table:
    """Do the work in a thread: DuckDB does not look for signals, so the main thread must be free to."""
    with ThreadPoolExecutor(1) as pool:
        rows = pool.submit(work)
        try:
            return rows.result()
        except KeyboardInterrupt:
            connection.interrupt()
            raise


def _named_apart(rows: pa.Table) -> pa.Table:
    """Rows whose columns have names of their own: `SELECT a.*, b.*` gives some names twice."""
    names: list[str] = []
    for name in rows.column_names:
        numbered = (f"{name}_{number}" for number in count(1))
        names.append(next(each for each in chain([name], numbered) if each not in names))
    return rows.rename_columns(names)
