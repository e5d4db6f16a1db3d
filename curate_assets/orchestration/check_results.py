"""Checks as Dagster sees them: what it lists, and verdicts that lead to the rows that they are about."""

import re
import shlex
import warnings
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,  # Dagster exports all but this of an evaluation
)

from curate_assets.graph.graph import Asset, Graph
from curate_assets.graph.shard_checks import Check, Finding, Shard
from curate_assets.operations.query import QueryError, run_query
from curate_assets.orchestration.metadata import readable, shown_rows
from curate_assets.orchestration.partitions import SHARDS
from curate_resources.storage.root import Storage

_SHOWN = 20
"""Findings and rows in a check's metadata."""


def check_specs(graph: Graph, assets: Sequence[Asset]) -> list[dg.AssetCheckSpec]:
    """The checks of some assets, as Dagster lists them; those of per-shard assets are judged shard by shard."""
    partitioned = {asset.name: asset.partitioned for asset in assets}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)  # `partitions_def` is new
        return [
            dg.AssetCheckSpec(
                check.name,
                asset=check.table.name,
                description=check.description,
                blocking=check.blocking,
                partitions_def=SHARDS if partitioned[check.table.name] else None,
            )
            for check in graph.checks
            if check.table.name in partitioned
        ]


def judged(
    graph: Graph, table: str, shard: Shard, keys: Collection[dg.AssetCheckKey]
) -> Iterator[tuple[Check, Finding]]:
    """The checks of a table that were selected, with what they find in a shard."""
    selected = {key.name for key in keys if key.asset_key == dg.AssetKey(table)}
    for check in graph.checks:
        if check.table.name == table and check.name in selected:
            yield check, check.judge(shard)


def check_result(check: Check, found: Finding, shard: Shard) -> dg.AssetCheckResult:
    """A verdict on the only partition of a step, or on an asset of all shards."""
    sql = check.sql_of(shard.key)
    return dg.AssetCheckResult(
        passed=not found.problems,
        asset_key=check.table.name,
        check_name=check.name,
        severity=_severity(check, found),
        metadata=verdict_metadata(found, shard.tables.storage, sql),
    )


def check_evaluation(
    check: Check, found: Finding, shard: Shard, judged_rows: dg.EventLogRecord
) -> dg.AssetCheckEvaluation:
    """A verdict on one of several partitions of a step: a result would count for none of them.

    Args:
        judged_rows: the materialization that it is about; else the UI takes the partition for one without a verdict.
    """
    sql = check.sql_of(shard.key)
    return dg.AssetCheckEvaluation(
        passed=not found.problems,
        asset_key=dg.AssetKey(check.table.name),
        check_name=check.name,
        severity=_severity(check, found),
        metadata=verdict_metadata(found, shard.tables.storage, sql),
        target_materialization_data=AssetCheckEvaluationTargetMaterializationData(
            storage_id=judged_rows.storage_id, run_id=judged_rows.run_id, timestamp=judged_rows.timestamp
        ),
        blocking=check.blocking,
        partition=shard.key,
    )


def verdict_metadata(found: Finding, storage: Storage, sql: str) -> dict[str, Any]:
    """The numbers; and where something is wrong: what, the first rows to look at, and the command that shows all."""
    said = readable({"problems": len(found.problems), **found.numbers})
    if found.note:
        said["note"] = found.note
    if found.problems:
        said["findings"] = shown_rows(pa.table({"what is wrong": found.problems[:_SHOWN]}))
        said["rows"] = _first_rows(storage, sql)
        said["command"] = _query(storage.root, sql)
    return said


def _first_rows(storage: Storage, sql: str) -> dg.TableMetadataValue | str:
    try:
        return shown_rows(run_query(storage, f"select * from ({sql}) limit {_SHOWN}"))
    except QueryError as error:  # a verdict holds, whether or not its rows can be shown
        return str(error)


def _severity(check: Check, found: Finding) -> dg.AssetCheckSeverity:
    """A warning never blocks, whatever its check may do."""
    return dg.AssetCheckSeverity.WARN if check.warns or found.warns else dg.AssetCheckSeverity.ERROR


def _query(root: str, sql: str) -> str:
    """The command that shows the rows. In double quotes, because SQL has single ones."""
    escaped = re.sub(r'(["$`\\])', r"\\\1", sql)
    return f'curate query --root {shlex.quote(root)} "{escaped}"'
