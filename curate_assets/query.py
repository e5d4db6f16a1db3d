"""SQL over the tables: DuckDB reads the Lance datasets, each under its asset's name."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, count
from typing import Any

import pyarrow as pa

from curate_assets.video.stages import TABLES
from curate_assets.video.training_dataset import TRAINING_DATASET
from curate_resources.manifests import MANIFEST
from curate_resources.storage import Storage
from curate_resources.suggestions import did_you_mean
from curate_resources.tables import Tables
from gpu_kernels.errors import UserError


class QueryError(UserError):
    """SQL that cannot be run, or is no query; with the tables that there are."""


def run_query(storage: Storage, sql: str) -> pa.Table:
    """The rows of one query.

    Besides the assets there is `source_outcomes`: one row per source file with its terminal outcome (ok, empty or
    failed), the table that decided it, and why.

    Raises:
        QueryError: the SQL is wrong, or a table was never materialized.
    """
    import duckdb

    tables = Tables(storage)
    known = [name for name in (*TABLES, TRAINING_DATASET.name) if name != MANIFEST.name]
    present = tables.names()
    with duckdb.connect(
        config={"enable_external_access": "false", "autoinstall_known_extensions": "false"}
    ) as connection:
        for name in present:
            connection.register(name, tables.dataset(name))
        if {"source_videos", "shot_signals", "clips"} <= set(present):
            connection.execute(f"CREATE VIEW source_outcomes AS {_OUTCOMES}")
        try:
            rows = _interruptible(connection, lambda: _rows(connection, sql))
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


def _interruptible(connection: Any, work: Callable[[], pa.Table]) -> pa.Table:
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


_OUTCOMES = """
SELECT v.shard, v.uri, v.video_id,
    CASE WHEN v.status <> 'ok' THEN v.status WHEN s.status = 'failed' THEN 'failed'
         WHEN c.failed > 0 THEN 'failed' WHEN coalesce(c.clips, 0) = 0 THEN 'empty' ELSE 'ok' END AS outcome,
    CASE WHEN v.status <> 'ok' THEN 'source_videos' WHEN s.status = 'failed' THEN 'shot_signals'
         ELSE 'clips' END AS decided_by,
    coalesce(v.error.message, s.error.message, c.message,
        CASE WHEN coalesce(c.clips, 0) = 0 THEN c.dropped END) AS reason,
    coalesce(c.clips, 0) AS clips
FROM source_videos v
LEFT JOIN shot_signals s ON s.shard = v.shard AND s.video_id = v.video_id
LEFT JOIN (
    SELECT shard, video_id, count(*) FILTER (status = 'ok') AS clips, count(*) FILTER (status = 'failed') AS failed,
        min(error.message) AS message, min(dropped) AS dropped
    FROM clips GROUP BY shard, video_id
) c ON c.shard = v.shard AND c.video_id = v.video_id
"""
